import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Agent } from 'undici';
import { cpuSeconds, key, type Program, start, startAppliance, stop } from '../gateway/programs.ts';
import { measureAsync, summary } from '../measure.ts';
import { printTable } from '../table.ts';
import { fill } from './crowd.ts';
import { freePorts } from '../../server/free-ports.ts';

const chat = { model: 'bench-model', messages: [{ role: 'user', content: 'hello' }] };

/** The real server with a long life behind it. */
export async function benchManyJobs(jobs = 100_000, requests = 1_000_000): Promise<void> {
  const upstream = await start('bench/gateway/upstream.ts', [], /port (\d+)/);
  const port = Number(new URL(upstream.url).port);
  const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-bench-jobs-'));
  const empty: number[] = [];
  for (let i = 0; i < 5; i += 1) await again(() => startAppliance(port), empty);
  fill(folder, 'file:bench', { jobs, requests });
  const full: number[] = [];
  for (let i = 0; i < 5; i += 1) await again(() => startAppliance(port, { folder }), full);
  const boots = [empty, full].map((times) => times.toSorted((a, b) => a - b));
  printTable(`Boot to serving, with ${jobs} jobs and ${requests} requests of one tenant`, [
    { database: 'empty', 'p50 ms': boots[0]?.[2] ?? NaN, 'slowest ms': boots[0]?.[4] ?? NaN },
    { database: 'full', 'p50 ms': boots[1]?.[2] ?? NaN, 'slowest ms': boots[1]?.[4] ?? NaN },
  ]);

  let appliance = await startAppliance(port, { folder });
  await ready(appliance);
  const lists = {
    'nothing: GET /health': '/health',
    'history, first page': '/api/v1/history?limit=20',
    'history by a model that is rare': '/api/v1/history?limit=20&model=nobody',
    'history of what failed, by key': '/api/v1/history?limit=20&status=failed&key=key-3',
    'history of one day': `/api/v1/history?limit=20&to=${new Date(Date.now() - 10 * 86_400_000).toISOString().slice(0, 10)}`,
    'jobs, first page': '/api/v1/jobs?limit=20',
    'jobs that failed': '/api/v1/jobs?limit=20&state=failed',
    'jobs that expired: none': '/api/v1/jobs?limit=20&state=expired',
    'statistics of 30 days': '/api/v1/usage?days=30',
  };
  const rows = [];
  await lagMs(appliance);
  for (const [what, path] of Object.entries(lists))
    rows.push({ what, ...(await measureAsync(300, () => get(appliance, path))) });
  printTable('Lists and filters, over HTTP', rows);

  const delays: number[] = [];
  const posts = await measureAsync(300, async () => {
    const { data } = await post(appliance, '/api/v1/inference', chat);
    let job = data;
    while (job.finishedAt === null) job = (await get(appliance, `/api/v1/jobs/${job.id}`)).data;
    delays.push(Date.parse(job.startedAt) - Date.parse(job.createdAt));
  });
  const items = Array.from({ length: 50 }, () => ({ feature: 'inference', input: chat }));
  const batches = await measureAsync(20, async () => {
    const { data } = await post(appliance, '/api/v1/jobs/batch', { items });
    let { states } = data;
    while (states.succeeded !== 50)
      ({ states } = (await get(appliance, `/api/v1/jobs/batch/${data.id}`)).data);
  });
  printTable('Jobs, one after the other, an engine that answers at once', [
    { what: 'put down, begun (ms of the clock)', ...summary(delays) },
    { what: 'asked for, done, seen to be done', ...posts },
    { what: 'fifty with one receipt, all done', ...batches },
  ]);

  console.log(`\nDelay of the loop in all of this: p99 ${(await lagMs(appliance)).toFixed(1)} ms.`);

  const resumed: number[] = [];
  for (let i = 0; i < 5; i += 1) {
    await operator(appliance, '/api/pause', { unload: false });
    const stuck = await Promise.all(
      Array.from({ length: 16 }, () => post(appliance, '/api/v1/inference', chat)),
    );
    const ids = stuck.map(({ data }) => data.id as string);
    const states = async (): Promise<string[]> =>
      Promise.all(ids.map(async (id) => (await get(appliance, `/api/v1/jobs/${id}`)).data.state as string));
    while ((await states()).some((state) => state !== 'processing')) await delay(5);
    appliance.process.kill('SIGKILL');
    await new Promise((resolve) => appliance.process.once('exit', resolve));
    appliance = await startAppliance(port, { folder });
    const began = performance.now();
    while ((await states()).some((state) => state !== 'succeeded')) await delay(5);
    resumed.push(performance.now() - began);
  }
  printTable('Killed with sixteen jobs in work: from serving again to all of them done', [
    { what: 'five times', 'p50 ms': summary(resumed)['p50 ms'] ?? NaN, 'slowest ms': Math.max(...resumed) },
  ]);
  await Promise.all([stop(appliance), stop(upstream)]);
}

/** A thousand people who watch a picture being made. */
export async function benchWatchers(count = 1_000): Promise<void> {
  const upstream = await start('bench/gateway/upstream.ts', [], /port (\d+)/);
  const webuiPort = (await freePorts(1))[0] ?? 0;
  const env = { STANDIN_DIR: mkdtempSync(join(tmpdir(), 'kilnhouse-bench-webui-')), STANDIN_SPEED: '1' };
  const webui = await start('gpu/stand-ins/webui/server.ts', ['--port', String(webuiPort)], /(Startup)/, env);
  const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-bench-watchers-'));
  const appliance = await startAppliance(Number(new URL(upstream.url).port), { folder, webuiPort });
  await ready(appliance);
  const body = { prompt: 'a kiln', model: 'demo-sd15', steps: 100, n: 4, previews: false };
  const { data } = await post(appliance, '/api/v1/jobs/image-generation', body);
  while ((await get(appliance, `/api/v1/jobs/${data.id}`)).data.progress === 0) await delay(50);
  const seconds = 10;
  const alone = await load(appliance, seconds);
  const agent = new Agent({ connections: count, pipelining: 1 });
  let events = 0;
  const abort = new AbortController();
  for (let i = 0; i < count; i += 1) {
    void agent
      .request({
        origin: appliance.url,
        path: `/api/v1/jobs/${data.id}/events`,
        method: 'GET',
        headers: { authorization: `Bearer ${key}` },
        signal: abort.signal,
      })
      .then(async (response) => {
        for await (const piece of response.body) events += String(piece).split('\n\n').length - 1;
      })
      .catch(() => undefined);
  }
  await delay(3_000);
  const before = events;
  const watched = await load(appliance, seconds);
  const told = (events - before) / seconds;
  abort.abort();
  await Promise.all([stop(appliance), stop(upstream), stop(webui)]);
  printTable(`A picture being made, and ${count} who watch its events`, [
    { watchers: 0, 'events/s': 0, '% of a core': alone.share * 100, 'loop delay p99 ms': alone.lagMs },
    {
      watchers: count,
      'events/s': told,
      '% of a core': watched.share * 100,
      'loop delay p99 ms': watched.lagMs,
    },
  ]);
}

async function load(appliance: Program, seconds: number): Promise<{ share: number; lagMs: number }> {
  // The figure is of the time since it was asked for last.
  await lagMs(appliance);
  const before = cpuSeconds(appliance);
  await delay(seconds * 1000);
  return { share: (cpuSeconds(appliance) - before) / seconds, lagMs: await lagMs(appliance) };
}

async function lagMs(appliance: Program): Promise<number> {
  const text = await (await operatorFetch(appliance, '/metrics')).text();
  return Number(/^kilnhouse_nodejs_eventloop_lag_p99_seconds\S* (\S+)/m.exec(text)?.[1]) * 1000;
}

async function again(begin: () => Promise<Program>, times: number[]): Promise<void> {
  const appliance = await begin();
  times.push(appliance.startedMs);
  await stop(appliance);
}

async function ready({ url }: Program): Promise<void> {
  while (!(await fetch(`${url}/ready`)).ok) await delay(20);
}

// oxlint-disable typescript/no-explicit-any -- the shape of each answer is the business of whoever asks
async function get({ url }: Program, path: string): Promise<any> {
  const response = await fetch(url + path, { headers: { authorization: `Bearer ${key}` } });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

async function post({ url }: Program, path: string, body: object): Promise<any> {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}
// oxlint-enable typescript/no-explicit-any

function operatorFetch({ output }: Program, path: string, init: RequestInit = {}): Promise<Response> {
  const address = /Operator API\s+(\S+)/.exec(output)?.[1] ?? '';
  const file = /token in ([^)]+)\)/.exec(output)?.[1] ?? '';
  const authorization = `Bearer ${readFileSync(file, 'utf8').trim()}`;
  return fetch(address + path, { ...init, headers: { authorization, 'content-type': 'application/json' } });
}

async function operator(appliance: Program, path: string, body: object): Promise<void> {
  await operatorFetch(appliance, path, { method: 'POST', body: JSON.stringify(body) });
}
