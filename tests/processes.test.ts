import { spawn } from 'node:child_process';
import { createServer as createHttp } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { engineRestart } from '../gpu/supervisor/backoff.ts';
import { logLimits } from '../gpu/supervisor/log-ring.ts';
import { processes } from '../gpu/supervisor/processes.ts';
import { Roster } from '../gpu/supervisor/roster.ts';
import { type ChildSpec, Supervisor } from '../gpu/supervisor/supervisor.ts';
import { survivorsOf, TestAppliance } from './appliance.ts';

const appliances: TestAppliance[] = [];
const supervisors: Supervisor[] = [];
afterEach(async () => {
  await Promise.all(supervisors.splice(0).map((supervisor) => supervisor.close()));
  await Promise.all(appliances.splice(0).map((appliance) => appliance.stop()));
});

async function start(...options: Parameters<typeof TestAppliance.start>): Promise<TestAppliance> {
  const appliance = await TestAppliance.start(...options);
  appliances.push(appliance);
  return appliance;
}

const never = new AbortController().signal;
const node = process.execPath;

function supervise(spec: Partial<ChildSpec> & { args: readonly string[] }) {
  const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-sup-'));
  const supervisor = new Supervisor({
    owner: `test-${folder}`,
    rosterFile: join(folder, 'processes.json'),
    processes,
  });
  supervisors.push(supervisor);
  const child = supervisor.child({
    id: 'engine',
    command: node,
    port: null,
    readyTimeoutMs: 20_000,
    graceMs: 300,
    probe: () => Promise.resolve(),
    restart: engineRestart,
    ...spec,
  });
  return { supervisor, child, folder };
}

const gone = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
  }
};

test('P1: killed with engines running, and their stubborn children, the appliance leaves nothing behind', async () => {
  const appliance = await start({ faults: 'fork,daemonise,ignore_term' });
  await appliance.ready();
  expect((await appliance.post('/generate-text', { prompt: 'hi', model: 'demo-chat-3b' })).status).toBe(200);
  // The server, two engines, and the children that each of them forked and daemonised.
  const before = await survivorsOf(appliance);
  expect(before.length).toBeGreaterThanOrEqual(6);
  appliance.process.kill('SIGKILL');
  await vi.waitFor(async () => expect(await survivorsOf(appliance)).toEqual([]));
});

test('P1, P7: asked to end while everything hangs, it ends within 10 s and leaves nothing behind', async () => {
  const appliance = await start({ faults: 'ignore_term,fork' });
  await appliance.ready();
  appliance.faults('hang_first_byte');
  const hanging = appliance.post('/v1/chat/completions', {
    model: 'demo-chat-3b',
    messages: [{ role: 'user', content: 'x' }],
  });
  hanging.catch(() => undefined);
  await appliance.until(async () =>
    (await appliance.operator('/api/models')).some((m: { running: number }) => m.running > 0),
  );
  // The hanging programs would never end by themselves: the time of this test holds the promise of 10 s.
  await appliance.stop();
  await vi.waitFor(async () => expect(await survivorsOf(appliance)).toEqual([]), {
    timeout: 3_000,
    interval: 50,
  });
});

test('F5: an error nobody expected ends it in order, with a code, and leaves nothing behind', async () => {
  const appliance = await start({
    env: {
      NODE_OPTIONS: `--import=data:text/javascript,process.on('SIGUSR2',()=>{throw%20new%20Error('planted')})`,
    },
  });
  await appliance.ready();
  appliance.process.kill('SIGUSR2');
  await appliance.until(() => appliance.process.exitCode !== null);
  expect(appliance.process.exitCode).toBe(1);
  expect(appliance.output).toContain('planted');
  await vi.waitFor(async () => expect(await survivorsOf(appliance)).toEqual([]), {
    timeout: 3_000,
    interval: 50,
  });
});

test('P2: what a crash left is ended at the next start by its mark, and a stranger with a recycled pid lives', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-reap-'));
  const file = join(folder, 'processes.json');
  const decoy = spawn(node, ['-e', 'setInterval(()=>{},1000)'], { stdio: 'ignore' });
  const orphan = spawn(node, ['-e', 'setInterval(()=>{},1000)'], { stdio: 'ignore', detached: true });
  const identity = await processes.identity(orphan.pid ?? 0);
  const roster = new Roster(file);
  roster.add({
    pid: orphan.pid ?? 0,
    child: 'engine:1',
    startTime: identity?.startTime ?? '',
    executable: identity?.executable ?? '',
  });
  roster.add({
    pid: decoy.pid ?? 0,
    child: 'engine:2',
    startTime: '12345',
    executable: identity?.executable ?? '',
  });
  const reaped = await new Roster(file).reap(processes, 'nobody');
  expect(reaped.map(({ pid }) => pid)).toEqual([orphan.pid]);
  await vi.waitFor(() => expect(orphan.signalCode).toBe('SIGKILL'), { timeout: 2_000 });
  expect(decoy.exitCode ?? decoy.signalCode).toBeNull();
  decoy.kill('SIGKILL');
});

test('P2: a second installation that ends takes nothing of the first with it', async () => {
  const [first, second] = await Promise.all([start(), start()]);
  await Promise.all([first.ready(), second.ready()]);
  const running = await survivorsOf(first);
  await second.stop();
  expect(await survivorsOf(second)).toEqual([]);
  expect(await survivorsOf(first)).toEqual(running);
});

test('P2: a marked process that no file knows is ended too', async () => {
  const stray = spawn(node, ['-e', 'setInterval(()=>{},1000)'], {
    stdio: 'ignore',
    detached: true,
    env: { KILNHOUSE_OWNER: 'reap-me' },
  });
  await vi.waitFor(async () => expect(await processes.marked({ owner: 'reap-me' })).toEqual([stray.pid]));
  await new Roster(join(mkdtempSync(join(tmpdir(), 'kilnhouse-reap-')), 'none.json')).reap(
    processes,
    'reap-me',
  );
  await vi.waitFor(() => expect(stray.signalCode).toBe('SIGKILL'), { timeout: 2_000 });
});

test('P3: a stranger on the port is reported and not spoken to', async () => {
  const stranger = createServer();
  await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve));
  const { port } = stranger.address() as AddressInfo;
  const { child } = supervise({ args: ['-e', 'setInterval(()=>{},1000)'], port });
  await expect(child.ensureReady(never)).rejects.toMatchObject({ kind: 'port_taken' });
  expect(child.state).toBe('failed');
  expect(child.failure).toContain(`${process.pid}`);
  stranger.close();
});

test('P3: an impostor that answers in our child’s place is found out', async () => {
  const impostor = createHttp((_, response) => response.end('ok'));
  const free = createServer();
  await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve));
  const { port } = free.address() as AddressInfo;
  await new Promise((resolve) => free.close(resolve));
  const { child } = supervise({
    args: ['-e', 'setInterval(()=>{},1000)'],
    port,
    probe: async () => {
      if (!impostor.listening)
        await new Promise<void>((resolve) => impostor.listen(port, '127.0.0.1', resolve));
    },
  });
  await expect(child.ensureReady(never)).rejects.toMatchObject({ kind: 'port_taken' });
  impostor.close();
});

test.each([
  ['F16: ends at once with 0', 'process.exit(0)'],
  ['F16: ends at once with 139', 'process.exit(139)'],
])('P4: %s: given up after five deaths, with the reason, and restarted when asked to', async (_, script) => {
  const { child } = supervise({ args: ['-e', script], probe: () => Promise.reject(new Error('not yet')) });
  for (let tries = 0; child.state !== 'failed' && tries < 10; tries += 1) {
    await child.ensureReady(never).catch(() => undefined);
  }
  expect(child.state).toBe('failed');
  expect(child.failure).toContain('given up');
  const starts = (): number => child.logs().filter(({ text }) => text.startsWith('started')).length;
  const before = starts();
  await expect(child.ensureReady(never)).rejects.toMatchObject({ name: 'ChildError', kind: 'given_up' });
  expect(starts()).toBe(before);
  await child.stop();
  await expect(child.ensureReady(never)).rejects.toMatchObject({ kind: 'ended' });
  expect(starts()).toBe(before + 1);
});

test('P4: what was serving and died comes back by itself', async () => {
  const { child } = supervise({ args: ['-e', 'setInterval(()=>{},1000)'] });
  await child.ensureReady(never);
  const first = child.pid ?? 0;
  const lost = new Promise<string>((resolve) => child.onExit(resolve));
  process.kill(first, 'SIGKILL');
  expect(await lost).toContain('SIGKILL');
  await vi.waitFor(() => expect(child.state).toBe('ready'), { timeout: 3_000 });
  expect(child.pid).not.toBe(first);
});

test('F16: what never gets ready is ended at its time', async () => {
  const { child } = supervise({
    args: ['-e', 'setInterval(()=>{},1000)'],
    readyTimeoutMs: 500,
    probe: () => Promise.reject(new Error('not yet')),
  });
  const started = child.ensureReady(never);
  await vi.waitFor(() => expect(child.pid).not.toBeNull());
  const pid = child.pid ?? 0;
  await expect(started).rejects.toMatchObject({ kind: 'not_ready' });
  expect(gone(pid)).toBe(true);
});

test('P6, F23: stop is polite, then forced, then confirmed, with every descendant', async () => {
  const stubborn = 'process.on("SIGTERM",()=>{});setInterval(()=>{},1000)';
  const script = `
    const { spawn } = require('child_process');
    for (const detached of [false, true]) spawn(process.execPath, ['-e', ${JSON.stringify(stubborn)}], { detached, stdio: 'ignore' }).unref();
    ${stubborn}; console.log('up');`;
  const { child } = supervise({
    args: ['-e', script],
    probe: () =>
      child.logs().some(({ text }) => text === 'up')
        ? Promise.resolve()
        : Promise.reject(new Error('not yet')),
  });
  await child.ensureReady(never);
  const environ = readFileSync(`/proc/${child.pid}/environ`, 'latin1');
  const [owner = '', name = ''] = ['OWNER', 'CHILD'].map(
    (word) => new RegExp(`KILNHOUSE_${word}=([^\\0]*)`).exec(environ)?.[1],
  );
  await vi.waitFor(async () => expect(await processes.marked({ owner, child: name })).toHaveLength(3));
  await child.stop();
  expect(await processes.marked({ owner, child: name })).toEqual([]);
  expect(child.state).toBe('stopped');
});

test('concurrent starts and stops join', async () => {
  const { child } = supervise({ args: ['-e', 'setInterval(()=>{},1000)'] });
  await Promise.all([child.ensureReady(never), child.ensureReady(never), child.ensureReady(never)]);
  const pid = child.pid;
  await Promise.all([child.stop(), child.stop()]);
  expect(child.state).toBe('stopped');
  expect(gone(pid ?? 0)).toBe(true);
});

test('a stop in the middle of a start leaves nothing', async () => {
  const { child } = supervise({
    args: ['-e', 'setInterval(()=>{},1000)'],
    probe: () => Promise.reject(new Error('not yet')),
  });
  const started = child.ensureReady(never).catch((error: unknown) => error);
  await vi.waitFor(() => expect(child.pid).not.toBeNull());
  const pid = child.pid ?? 0;
  await child.stop();
  expect(await started).toMatchObject({ name: 'ChildError', kind: 'stopped' });
  expect(child.state).toBe('stopped');
  // Its number is free once its exit was read.
  await vi.waitFor(() => expect(gone(pid)).toBe(true));
});

test('P8: a program that floods its log waits for its pipe, and costs no memory', async () => {
  const flood =
    'const b="x".repeat(1<<16)+"\\n";(function w(){while(process.stdout.write(b));process.stdout.once("drain",w)})()';
  const { child } = supervise({ args: ['-e', flood] });
  await child.ensureReady(never);
  const written = (): number =>
    Number(/wchar: (\d+)/.exec(readFileSync(`/proc/${child.pid}/io`, 'utf8'))?.[1]);
  const { lines, lineBytes } = logLimits;
  // Ten times what is ever kept.
  await vi.waitFor(() => expect(written()).toBeGreaterThan(10 * lines * lineBytes), { timeout: 50_000 });
  const kept = child.logs();
  expect(kept.length).toBeLessThanOrEqual(lines);
  expect(kept.filter(({ text }) => text.length > lineBytes + 1)).toEqual([]);
});

test('F8: a second appliance on the same data ends with a message, and the first does not notice', async () => {
  const first = await start();
  const second = TestAppliance.launch({ folder: first.folder });
  await second.until(() => second.process.exitCode !== null);
  expect(second.process.exitCode).toBe(78);
  expect(second.output).toContain('already runs');
  expect((await first.get('/health')).status).toBe(200);
});

test('a port of the tenant API that is taken is said, the console is there, and it opens once the port is free', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as AddressInfo;
  const appliance = TestAppliance.launch({ env: { KILNHOUSE_TENANT_PORT: String(port) } });
  appliances.push(appliance);
  await appliance.serving();
  expect(appliance.output).toContain(`NOT OPEN: Port ${port} is taken`);
  expect(appliance.output).toContain('KILNHOUSE_TENANT_PORT');
  const live = (await appliance.operator('/api/alerts')) as { id: string }[];
  expect(live.map(({ id }) => id)).toEqual(['tenant:listener']);
  taken.close();
  await appliance.until(async () => (await appliance.operator('/api/alerts')).length === 0);
  expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200);
});

test('a port of the console that is taken ends the start, with what to do', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as AddressInfo;
  const appliance = TestAppliance.launch({ env: { KILNHOUSE_OPERATOR_PORT: String(port) } });
  await appliance.until(() => appliance.process.exitCode !== null);
  expect(appliance.output).toContain(`Port ${port} is taken`);
  expect(appliance.output).toContain('KILNHOUSE_OPERATOR_PORT');
  await vi.waitFor(async () => expect(await survivorsOf(appliance)).toEqual([]), { timeout: 3_000 });
  taken.close();
});

test('F62: a mistake in the settings is refused at start with its place', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-bad-'));
  writeFileSync(join(folder, 'config.json'), '{"gpu": {"capMib": "lots"}}');
  const appliance = TestAppliance.launch({ folder });
  await appliance.until(() => appliance.process.exitCode !== null);
  expect(appliance.process.exitCode).toBe(78);
  expect(appliance.output).toContain('gpu.capMib');
});
