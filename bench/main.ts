import { setTimeout as delay } from 'node:timers/promises';
import { cpuSeconds, type Program, residentMib, start, startAppliance, stop } from './gateway/programs.ts';
import { requestsPerSecond } from './gateway/requests.ts';
import { type StreamFigures, streams } from './gateway/streams.ts';
import { printTable } from './table.ts';

/* npm run bench [<word>...]: ratios against a baseline of the same run, as tables; all of them without a word. */
const benches: Readonly<Record<string, () => Promise<void>>> = {
  scheduler: async () => (await import('./scheduler/report.ts')).reportScheduler(),
  requests: benchRequests,
  streams: benchStreams,
  idle: benchIdle,
  money: benchMoney,
  jobs: benchJobs,
  console: async () => (await import('./console/console.ts')).benchConsole(),
};
const known = Object.keys(benches);
const wanted = process.argv.slice(2);
const unknown = wanted.filter((word) => !known.includes(word));

if (unknown.length > 0) {
  console.error(`There is no benchmark "${unknown.join('", "')}". These can be run: ${known.join(', ')}.`);
  process.exitCode = 1;
} else {
  for (const [name, run] of Object.entries(benches))
    if (wanted.length === 0 || wanted.includes(name)) await run();
}

/** Upstream, bare proxy and appliance side by side; each program a process of its own. */
async function withPrograms(
  run: (programs: { upstream: Program; bare: Program; appliance: Program }) => Promise<void>,
): Promise<void> {
  const upstream = await start('bench/gateway/upstream.ts', [], /port (\d+)/);
  const port = new URL(upstream.url).port;
  const bare = await start('bench/gateway/bare-proxy.ts', [port], /port (\d+)/);
  const appliance = await startAppliance(Number(port));
  try {
    await served(appliance);
    await run({ upstream, bare, appliance });
  } finally {
    await Promise.all([upstream, bare, appliance].map(stop));
  }
}

async function served({ url }: Program): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) {
    if ((await fetch(`${url}/ready`)).ok) return;
    await delay(50);
  }
  throw new Error('the appliance did not get ready');
}

async function benchRequests(): Promise<void> {
  await withPrograms(async ({ upstream, bare, appliance }) => {
    const contestants = {
      'the upstream itself': upstream,
      'bare Fastify + undici proxy': bare,
      Kilnhouse: appliance,
    };
    for (const program of Object.values(contestants)) await requestsPerSecond(program, 3);
    const samples = new Map<string, { perSecond: number; p99Ms: number; failed: number }[]>();
    // In turns, so that what else the machine does falls on all alike.
    for (let round = 0; round < 3; round += 1) {
      for (const [name, program] of Object.entries(contestants)) {
        samples.set(name, [...(samples.get(name) ?? []), await requestsPerSecond(program, 5)]);
      }
    }
    const medians = [...samples].map(([name, list]) => {
      const middle = list.toSorted((a, b) => a.perSecond - b.perSecond)[1];
      return {
        name,
        perSecond: middle?.perSecond ?? 0,
        p99Ms: middle?.p99Ms ?? 0,
        failed: list.reduce((sum, { failed }) => sum + failed, 0),
      };
    });
    const base = medians[1]?.perSecond ?? 1;
    printTable(
      'Chat, not streamed, an upstream that answers at once (32 connections, median of 3 x 5 s)',
      medians.map(({ name, perSecond, p99Ms, failed }) => ({
        program: name,
        'requests/s': perSecond,
        'relative to bare': perSecond / base,
        'p99 ms': p99Ms,
        failed,
      })),
    );
  });
}

async function benchStreams(): Promise<void> {
  await withPrograms(async ({ upstream, bare, appliance }) => {
    const count = 100;
    await streams(appliance, 20, 20);
    const idleMib = residentMib(appliance);
    let peakMib = idleMib;
    const timer = setInterval(() => (peakMib = Math.max(peakMib, residentMib(appliance))), 100);
    const contestants = { 'the upstream itself': upstream, 'bare proxy': bare, Kilnhouse: appliance };
    const rounds: Record<string, StreamFigures[]> = {};
    for (let round = 0; round < 3; round += 1) {
      for (const [name, program] of Object.entries(contestants)) {
        (rounds[name] ??= []).push(await streams(program, count, 200));
      }
    }
    clearInterval(timer);
    const figures = Object.entries(rounds).map(([program, list]) => ({ program, ...medianOf(list) }));
    const direct = figures[0];
    printTable(
      `${count} streams at once, 50 tokens/s each, 200 tokens (median of 3 rounds)`,
      figures.map(({ program, firstP99Ms, chunkP50Ms, chunkP99Ms }) => ({
        program,
        'first byte p99 ms': firstP99Ms,
        'added ms': firstP99Ms - (direct?.firstP99Ms ?? 0),
        'chunk p50 ms': chunkP50Ms,
        'chunk p99 ms': chunkP99Ms,
        'added p99 ms': chunkP99Ms - (direct?.chunkP99Ms ?? 0),
      })),
    );
    console.log(
      `\nMemory: ${idleMib.toFixed(0)} MiB before, ${peakMib.toFixed(0)} MiB at most: ${(((peakMib - idleMib) * 1024) / count).toFixed(0)} kB a stream.`,
    );
  });
}

async function benchJobs(): Promise<void> {
  const [{ benchJobStore }, { benchManyJobs, benchWatchers }] = await Promise.all([
    import('./jobs/store.ts'),
    import('./jobs/served.ts'),
  ]);
  benchJobStore();
  await benchManyJobs();
  await benchWatchers();
}

async function benchMoney(): Promise<void> {
  const [{ benchKeys, benchPairs, benchProof }, { benchPriced }] = await Promise.all([
    import('./money/ledger.ts'),
    import('./money/priced.ts'),
  ]);
  benchPairs();
  benchKeys();
  benchProof();
  await withPrograms(({ appliance }) => benchPriced(appliance));
}

/** The middle of three for each figure. */
function medianOf(list: readonly StreamFigures[]): StreamFigures {
  const middle = (pick: (figures: StreamFigures) => number): number =>
    list.map(pick).toSorted((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN;
  return {
    firstP99Ms: middle((figures) => figures.firstP99Ms),
    chunkP50Ms: middle((figures) => figures.chunkP50Ms),
    chunkP99Ms: middle((figures) => figures.chunkP99Ms),
  };
}

async function benchIdle(): Promise<void> {
  const starts: number[] = [];
  for (let i = 0; i < 5; i += 1) {
    const appliance = await startAppliance(null);
    starts.push(appliance.startedMs);
    await stop(appliance);
  }
  const appliance = await startAppliance(null);
  await delay(5_000);
  const before = cpuSeconds(appliance);
  const seconds = 20;
  await delay(seconds * 1000);
  const share = (cpuSeconds(appliance) - before) / seconds;
  const mib = residentMib(appliance);
  await stop(appliance);
  const sorted = starts.toSorted((a, b) => a - b);
  printTable('Without engines', [
    {
      'boot to serving p50 ms': sorted[2] ?? 0,
      'slowest ms': sorted[4] ?? 0,
      'idle: % of a core': share * 100,
      'idle: MiB': mib,
    },
  ]);
}
