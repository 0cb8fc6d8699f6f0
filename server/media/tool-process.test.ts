import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { ToolDied, ToolProcess, ToolRefusal } from './tool-process.ts';

const program = join(mkdtempSync(join(tmpdir(), 'kilnhouse-tool-')), 'tool.mjs');
const serveTool = new URL('serve-tool.ts', import.meta.url).href;
const toolProcess = new URL('tool-process.ts', import.meta.url).href;
writeFileSync(
  program,
  `import { serveTool } from '${serveTool}';
   import { ToolRefusal } from '${toolProcess}';
   serveTool(async (wish) => {
     if (wish === 'die') process.exit(1);
     if (wish === 'hang') await new Promise(() => setInterval(() => undefined, 1_000));
     if (wish === 'refuse') throw new ToolRefusal('not this one');
     if (wish === 'fail') throw new Error('a fault');
     return process.pid;
   });`,
);

let tool: ToolProcess;
function toolOf({ requestMs = 20_000, idleMs = 60_000 }): ToolProcess {
  tool = new ToolProcess({ program, env: { PATH: process.env['PATH'] ?? '' }, requestMs, idleMs });
  return tool;
}
afterEach(() => tool.close());

test('what one asks for that kills the program costs nobody else theirs', async () => {
  toolOf({});
  const asked = ['pid', 'die', 'pid'].map((wish) => tool.ask(wish, 'tenant'));
  const [before, fatal, after] = await Promise.allSettled(asked);
  expect(fatal).toMatchObject({ reason: expect.any(ToolDied) });
  expect([before?.status, after?.status]).toEqual(['fulfilled', 'fulfilled']);
});

test('one that takes too long is ended, and the next has a program of its own', async () => {
  toolOf({ requestMs: 1_500 });
  const first = await tool.ask('pid', 'tenant');
  const slow = expect(tool.ask('hang', 'tenant')).rejects.toThrow(ToolDied);
  const next = tool.ask('pid', 'tenant');
  await slow;
  expect(await next).not.toBe(first);
});

test('it ends when nobody asks, and whoever asks at that moment is answered by a new one', async () => {
  toolOf({ idleMs: 0 });
  const first = await tool.ask('pid', 'tenant');
  await vi.waitFor(async () => expect(await tool.ask('pid', 'tenant')).not.toBe(first), {
    timeout: 5_000,
    interval: 50,
  });
});

test('its refusals and its own faults are told apart', async () => {
  toolOf({});
  await expect(tool.ask('refuse', 'tenant')).rejects.toThrow(new ToolRefusal('not this one'));
  const fault: unknown = await tool.ask('fail', 'tenant').catch((error: unknown) => error);
  expect(fault).not.toBeInstanceOf(ToolRefusal);
  expect(String(fault)).toContain('a fault');
});
