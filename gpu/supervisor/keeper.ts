import { createInterface } from 'node:readline';
import { endProcess } from './end-process.ts';
import { processes } from './processes.ts';

/*
 * The keeper: a small process that outlives the appliance by a moment. It reads lines from its standard input
 * ("+<pid> <child mark>" and "-<pid>"); when that ends, because the appliance closed it or died in any way, it
 * ends every process it was told of and everything that carries their marks (P1).
 *
 * It runs in a group of its own and ignores the signals that end the appliance, so that both cannot die together.
 */
const owner = process.argv[2];
const tracked = new Map<number, string>();

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const [, sign, pid, child] = /^([+-])(\d+) ?(.*)$/.exec(line) ?? [];
    if (sign === '+' && child) tracked.set(Number(pid), child);
    else if (sign === '-') tracked.delete(Number(pid));
  })
  .on('close', () => void endAll());

async function endAll(): Promise<void> {
  const limits = { graceMs: 800, deadlineMs: 2_500 };
  if (owner) {
    await Promise.all(
      [...tracked].map(([pid, child]) => endProcess(processes, { pid, mark: { owner, child } }, limits)),
    );
    const strays = (await processes.marked({ owner })).filter((pid) => pid !== process.pid);
    await Promise.all(strays.map((pid) => processes.kill(pid, true)));
  }
  process.exit(0);
}
