import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { TestAppliance } from './appliance.ts';

/* Whoever starts the appliance starts it again when it dies. */
const root = fileURLToPath(new URL('..', import.meta.url));
const launched: { child: ChildProcess; pids: () => number[] }[] = [];
afterEach(() => {
  for (const { child, pids } of launched.splice(0)) {
    // The launcher first, so that it starts nothing any more.
    if (child.exitCode !== null) continue;
    child.kill('SIGKILL');
    try {
      const pid = pids().at(-1);
      if (pid !== undefined) process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
});

/** Keeps a program running as `npm start` does, with shorter waits; what it and the program wrote. */
function keep(
  program: readonly string[],
  env: Record<string, string> = {},
  timing = '{ firstMs: 20, longestMs: 100, soonMs: 60_000, tries: 5 }',
) {
  const driver = `import { spawn } from 'node:child_process';
    import { keepRunning } from ${JSON.stringify(join(root, 'scripts/keep-running.mjs'))};
    process.exitCode = await keepRunning(() => {
      const child = spawn(process.execPath, ${JSON.stringify(program)}, { stdio: 'inherit' });
      console.log('pid ' + child.pid);
      return child;
    }, ${timing});`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', driver], {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += String(text)));
  const pids = (): number[] => [...output.matchAll(/^pid (\d+)$/gm)].map(([, pid]) => Number(pid));
  launched.push({ child, pids });
  return {
    child,
    output: () => output,
    pids,
    ended: async () => {
      await vi.waitFor(() => expect(child.exitCode ?? child.signalCode).not.toBeNull(), { timeout: 20_000 });
      return child.exitCode;
    },
  };
}
const program = (code: string): string[] => ['-e', code];
const lives = 'setInterval(() => 0, 1_000); console.log("up");';

describe('a program that is kept running', () => {
  test('npm start keeps it', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    expect(scripts.start).toMatch(/^node scripts\/bootstrap\.mjs --keep node .*server\/main\.ts$/);
  });

  test('F1, F6: one that is killed, or aborts for want of memory, is started again', async () => {
    const kept = keep(program(lives));
    for (const [round, signal] of (['SIGKILL', 'SIGABRT', 'SIGSEGV'] as const).entries()) {
      await vi.waitFor(() => expect(kept.output().match(/^up$/gm)).toHaveLength(round + 1), {
        timeout: 10_000,
      });
      process.kill(kept.pids().at(-1) ?? Number.NaN, signal);
      await vi.waitFor(() => expect(kept.pids()).toHaveLength(round + 2), { timeout: 10_000 });
      expect(kept.output()).toContain(`died of ${signal}. It is started again`);
    }
  });

  test('one that dies at once, again and again, is given up with a message', async () => {
    const kept = keep(program('process.exit(7)'));
    expect(await kept.ended()).toBe(7);
    expect(kept.pids()).toHaveLength(5);
    expect(kept.output()).toMatch(
      /died with code 7, for the 5th time soon after its start. It is not started again/,
    );
  });

  test('one that lives for a while each time is never given up', async () => {
    const kept = keep(program('process.exit(7)'), {}, '{ firstMs: 1, longestMs: 1, soonMs: 0, tries: 5 }');
    await vi.waitFor(() => expect(kept.pids().length).toBeGreaterThan(8), { timeout: 20_000 });
  });

  test.each([
    [0, 0],
    [78, 78],
  ])('one that ends with %i is not started again', async (code, expected) => {
    const kept = keep(program(`process.exit(${code})`));
    expect(await kept.ended()).toBe(expected);
    expect(kept.pids()).toHaveLength(1);
  });

  test('one that wants to be is started again at once, however often', async () => {
    const kept = keep(
      program('process.exit(75)'),
      {},
      '{ firstMs: 1e6, longestMs: 1e6, soonMs: 1e6, tries: 2 }',
    );
    await vi.waitFor(() => expect(kept.pids().length).toBeGreaterThan(3), { timeout: 20_000 });
  });

  test.each(['SIGTERM', 'SIGINT'] as const)('%s ends it, whatever it ends with', async (signal) => {
    const kept = keep(program(`process.on('${signal}', () => process.exit(3)); ${lives}`));
    await vi.waitFor(() => expect(kept.output()).toContain('up'), { timeout: 10_000 });
    kept.child.kill(signal);
    expect(await kept.ended()).toBe(3);
    expect(kept.pids()).toHaveLength(1);
  });

  test('SIGTERM ends it while it waits to start again', async () => {
    const kept = keep(
      program('process.exit(7)'),
      {},
      '{ firstMs: 1e6, longestMs: 1e6, soonMs: 1e6, tries: 5 }',
    );
    await vi.waitFor(() => expect(kept.output()).toContain('started again in'), { timeout: 10_000 });
    kept.child.kill('SIGTERM');
    expect(await kept.ended()).toBe(0);
  });
});

test('F1: the appliance serves again after it was killed, and ends when it is told to', async () => {
  const kept = keep([join(root, 'server/main.ts')], {
    HOME: mkdtempSync(join(tmpdir(), 'kilnhouse-')),
    KILNHOUSE_DATA: mkdtempSync(join(tmpdir(), 'kilnhouse-')),
    KILNHOUSE_TENANT_PORT: '0',
    KILNHOUSE_OPERATOR_PORT: '0',
    KILNHOUSE_DEMO: '0',
    KILNHOUSE_LM_STUDIO_ENABLED: 'false',
    KILNHOUSE_WEBUI_ENABLED: 'false',
  });
  const addresses = (): string[] =>
    [...kept.output().matchAll(/Tenant API\s+(\S+)/g)].map(([, url]) => url ?? '');
  await vi.waitFor(() => expect(addresses()).toHaveLength(1), { timeout: 30_000 });
  process.kill(kept.pids()[0] ?? Number.NaN, 'SIGKILL');
  await vi.waitFor(() => expect(addresses()).toHaveLength(2), { timeout: 30_000 });
  expect((await fetch(`${addresses()[1]}/health`)).status).toBe(200);
  kept.child.kill('SIGTERM');
  expect(await kept.ended()).toBe(0);
  expect(kept.pids()).toHaveLength(2);
});

test.skipIf(process.platform === 'win32')(
  'F62: a data folder that was there before, and all in it, is read by its owner alone',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-open-'));
    chmodSync(folder, 0o755);
    const before = process.umask(0o022);
    const appliance = await TestAppliance.start({ folder });
    process.umask(before);
    const open = (name: string): number => statSync(join(folder, name)).mode & 0o077;
    for (const name of ['.', 'kilnhouse.db', 'kilnhouse.db-wal', 'run', 'operator-token', 'logs'])
      expect([name, open(name)]).toEqual([name, 0]);
    await appliance.stop();
  },
);
