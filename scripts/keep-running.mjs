// Keeps a program running: whoever it serves must not wait for somebody to notice that it died. Uses only built-ins that
// Node 20 has.

/** What a program ends with that wants to be started again, and one that another start would not help. */
const codes = { again: 75, cannotStart: 78 };
const timing = { firstMs: 500, longestMs: 30_000, soonMs: 10_000, tries: 5 };
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * Starts a program, and starts it again when it dies: after a wait that doubles while it dies soon after its start. Gives
 * up after five such deaths in a row. A program that ends with 0, says that it cannot start, or was told to end by a
 * signal to us is not started again. Resolves to the code to end with.
 *
 * @param {() => import('node:child_process').ChildProcess} start
 * @param {{ firstMs: number, longestMs: number, soonMs: number, tries: number }} [limits]
 * @returns {Promise<number>}
 */
export async function keepRunning(start, { firstMs, longestMs, soonMs, tries } = timing) {
  let child = null;
  let isEnding = false;
  let wake = () => undefined;
  const end = (signal) => {
    isEnding = true;
    child?.kill(signal);
    wake();
  };
  for (const signal of signals) process.on(signal, end);
  try {
    for (let diedSoon = 0; ;) {
      const began = Date.now();
      child = start();
      const { code, signal } = await ended(child);
      child = null;
      if (isEnding || code === 0 || code === codes.cannotStart) return code ?? 1;
      if (code === codes.again) continue;
      diedSoon = Date.now() - began < soonMs ? diedSoon + 1 : 1;
      const how = signal ? `died of ${signal}` : `died with code ${code}`;
      if (diedSoon >= tries) {
        console.error(
          `\nKilnhouse ${how}, for the ${tries}th time soon after its start. It is not started again.\n` +
            'What it wrote above and the newest file in the folder logs of its data say why.',
        );
        return code ?? 1;
      }
      const waitMs = Math.min(longestMs, firstMs * 2 ** (diedSoon - 1));
      console.error(`\nKilnhouse ${how}. It is started again in ${waitMs / 1000} s.`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, waitMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      if (isEnding) return 0;
    }
  } finally {
    for (const signal of signals) process.removeListener(signal, end);
  }
}

/** How a child ended; one that could not be started has ended, too. */
function ended(child) {
  return new Promise((resolve) => {
    child.once('error', (error) => {
      console.error(`\nIt could not be started: ${error.message}`);
      resolve({ code: codes.cannotStart, signal: null });
    });
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
}
