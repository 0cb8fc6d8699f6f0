import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { NvidiaProbe } from '../gpu/probes/gpu-probe.ts';
import { prepareDemo } from '../server/demo/demo.ts';
import { TestAppliance } from './appliance.ts';

/* Each fault of the list in docs/reliability.md, begun while the whole appliance serves. */
let appliance: TestAppliance;
afterEach(() => appliance?.stop());

const chat = { model: 'demo-chat-3b', messages: [{ role: 'user', content: 'hello' }] };

async function serving(options: Parameters<typeof TestAppliance.start>[0] = {}): Promise<void> {
  appliance = await TestAppliance.start(options);
  await appliance.ready();
  // Loaded, so that what follows is about the work and not about the load.
  expect((await appliance.post('/v1/chat/completions', chat)).status).toBe(200);
}

/** Waits until the same request is served again, slowly enough for its rate limit. */
function recovered(path: string, body: object): Promise<void> {
  return appliance.until(async () => (await appliance.post(path, body)).status === 200, 90_000, 500);
}

/** The error of an answer. */
async function errorOf(response: Response): Promise<Record<string, unknown>> {
  return ((await response.json()) as { error: Record<string, unknown> }).error;
}

describe('an engine that answers badly', () => {
  test.each([
    ['status=500', 502, 'engine_error'],
    ['status=429', 502, 'engine_error'],
    ['html', 502, 'engine_error'],
    ['wrong_content_length', 502, 'engine_broken_stream'],
    ['wrong_model', 502, 'engine_error'],
    ['out_of_memory', 503, 'engine_out_of_memory'],
  ])('F19, F21, F22: %s gives %i %s, and the next request is served', async (fault, status, code) => {
    await serving();
    appliance.faults(fault);
    const response = await appliance.post('/v1/chat/completions', chat);
    expect(response.status).toBe(status);
    const error = await errorOf(response);
    expect(error).toMatchObject({ code, side: 'engine' });
    expect(JSON.stringify(error)).not.toContain('<html');
    appliance.faults('');
    await recovered('/v1/chat/completions', chat);
  });

  test.each([
    ['half_stream', 'engine_broken_stream'],
    ['no_terminator', 'engine_broken_stream'],
    ['chunk_garbage', 'engine_error'],
    ['long_line', 'engine_error'],
  ])('S3: F18, F20: a stream with %s ends in a typed error, never silently', async (fault, code) => {
    await serving();
    appliance.faults(fault);
    const text = await (await appliance.post('/v1/chat/completions', { ...chat, stream: true })).text();
    expect(text).not.toContain('[DONE]');
    const last = text.trim().split('\n\n').at(-1) ?? '';
    expect(JSON.parse(last.slice('data: '.length)).error).toMatchObject({ code, side: 'engine' });
  });

  test.each(['split_code_point', 'invalid_utf8', 'control_characters'])(
    'F20: %s passes unharmed',
    async (fault) => {
      await serving();
      appliance.faults(fault);
      const bytes = Buffer.from(
        await (await appliance.post('/v1/chat/completions', { ...chat, stream: true })).arrayBuffer(),
      );
      expect(bytes.includes('data: [DONE]')).toBe(true);
      if (fault === 'split_code_point') expect(bytes.toString()).toContain('dëmö🏺');
    },
  );

  test('F22: an engine that dies in its work: an error now, and the next request is served', async () => {
    await serving();
    const drawn = { prompt: 'x', model: 'demo-sd15', width: 128, height: 128, steps: 2 };
    expect((await appliance.post('/generate-image', drawn)).status).toBe(200);
    appliance.faults('die_in_work');
    const response = await appliance.post('/generate-image', drawn);
    expect([502, 503, 504]).toContain(response.status);
    appliance.faults('');
    await recovered('/generate-image', drawn);
  });

  test('F22: a load that fails for lack of memory is tried again, then refused with a time to come back', async () => {
    appliance = await TestAppliance.start();
    await appliance.ready();
    appliance.faults('out_of_memory_on_load');
    const response = await appliance.post('/v1/chat/completions', chat);
    expect(response.status).toBe(503);
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await errorOf(response))['code']).toBe('engine_out_of_memory');
    const decisions: { type: string }[] = await appliance.operator('/api/decisions');
    expect(decisions.filter(({ type }) => type === 'load_failed')).toHaveLength(2);
    appliance.faults('');
    await recovered('/v1/chat/completions', chat);
  });
});

test('F19: a stream that does not say it is one is refused with a status', async () => {
  await serving();
  appliance.faults('wrong_content_type');
  const response = await appliance.post('/v1/chat/completions', { ...chat, stream: true });
  expect([response.status, (await errorOf(response))['code']]).toEqual([502, 'engine_error']);
});

test('F30: what an engine calls its files is never taken for a path', async () => {
  await serving({ faults: 'path_names' });
  const drawn = { prompt: 'x', model: 'demo-sd15', width: 128, height: 128, steps: 2, format: 'url' };
  expect((await appliance.post('/generate-image', drawn)).status).toBe(200);
});

describe('V2, F24: memory that comes back late', () => {
  test('nothing is loaded before the release was measured', async () => {
    await serving();
    // The 3B fits beside an image; the 8B does not.
    expect((await appliance.post('/v1/chat/completions', { ...chat, model: 'demo-chat-8b' })).status).toBe(
      200,
    );
    appliance.faults('vram_lag=2000');
    const response = await appliance.post('/generate-image', {
      prompt: 'x',
      model: 'demo-sd15',
      width: 128,
      height: 128,
      steps: 2,
    });
    expect(response.status).toBe(200);
    const decisions: { type: string; modelId: string; at: number; note: string | null }[] =
      await appliance.operator('/api/decisions');
    const released = decisions.findLast(
      ({ type, modelId }) => type === 'released' && modelId === 'demo-chat-8b',
    );
    const load = decisions.findLast(({ type, modelId }) => type === 'load' && modelId === 'demo-sd15');
    expect(released?.note).toBeNull();
    expect(load?.at).toBeGreaterThanOrEqual(released?.at ?? Infinity);
    // The card says itself until when it held what the engine had let go of.
    const folder = join(appliance.folder, 'demo', 'vram');
    const name = readdirSync(folder).find((file) => file.endsWith('-demo-chat-8b.json')) ?? '';
    const { until } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as { until: number | null };
    expect(until).not.toBeNull();
    expect(load?.at).toBeGreaterThanOrEqual(until ?? Infinity);
  });
});

describe('V5, F25: nvidia-smi', () => {
  const probeIn = async (faults: string, timeoutMs = 10_000) => {
    const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-smi-'));
    const { binFolder } = await prepareDemo(folder, 1);
    writeFileSync(join(folder, 'faults'), faults);
    return { probe: new NvidiaProbe({ folders: [binFolder], timeoutMs }), folder };
  };

  test('a card is read through the real library', async () => {
    const { probe } = await probeIn('');
    expect(await probe.read()).toMatchObject({
      kind: 'card',
      card: { totalBytes: 8192 * 1024 ** 2, temperatureC: 48 },
    });
    probe.close();
  });

  test('one that hangs costs its time limit, and is then left alone for a while', async () => {
    const { probe, folder } = await probeIn('', 5_000);
    expect((await probe.read()).kind).toBe('card');
    writeFileSync(join(folder, 'faults'), 'smi_hang');
    expect(await probe.read()).toMatchObject({
      kind: 'lost',
      reason: expect.stringContaining('no answer in 5 s'),
    });
    // Not asked again: this answer is not that of a reading.
    expect(await probe.read()).toMatchObject({
      kind: 'lost',
      reason: expect.stringContaining('nvidia-smi hung'),
    });
    probe.close();
  });

  test.each([
    ['smi_fail', 'none'],
    ['smi_not_available', 'none'],
    ['smi_localised', 'card'],
  ])('%s: %s', async (faults, kind) => {
    const { probe } = await probeIn(faults);
    expect((await probe.read()).kind).toBe(kind);
    probe.close();
  });

  test('none at all: a declared budget', async () => {
    const probe = new NvidiaProbe({ path: mkdtempSync(join(tmpdir(), 'kilnhouse-empty-')) });
    expect((await probe.read()).kind).toBe('none');
    probe.close();
  });

  test('while it hangs, what is loaded serves, nothing new is loaded, and the waiter is told why', async () => {
    await serving();
    appliance.faults('smi_hang');
    await appliance.until(async () => !(await appliance.operator('/api/status')).gpu.readable, 45_000);
    const served = await appliance.post('/v1/chat/completions', chat);
    expect([served.status, served.ok ? '' : await served.text()]).toEqual([200, '']);
    const abort = new AbortController();
    const waiting = appliance.post('/generate-image', { prompt: 'x' }, { signal: abort.signal });
    waiting.catch(() => undefined);
    await vi.waitFor(
      async () => {
        const [item] = await appliance.operator('/api/queue');
        expect(item).toMatchObject({ model: 'demo-sd15', reason: 'gpu_unreadable' });
      },
      { timeout: 10_000 },
    );
    abort.abort();
  });
});

test('other programs’ memory is respected live: a game starts, an idle model leaves', async () => {
  await serving({ config: { gpu: { capMib: 8192 } } });
  expect((await appliance.post('/v1/chat/completions', { ...chat, model: 'demo-chat-8b' })).status).toBe(200);
  const phases = async (): Promise<string[]> =>
    (await appliance.operator('/api/models')).flatMap((m: { id: string; phase: string }) =>
      m.phase === 'absent' ? [] : [m.id],
    );
  expect(await phases()).toContain('demo-chat-8b');
  const game = { pid: process.pid, program: 'game.exe', mib: 2_300, until: null };
  writeFileSync(join(appliance.folder, 'demo', 'vram', `${process.pid}-game.json`), JSON.stringify(game));
  await appliance.until(async () => (await phases()).length === 0, 30_000);
  const machine = await appliance.operator('/api/status');
  expect(machine.machine.card.processes.map(({ name }: { name: string }) => name)).toContain('game.exe');
  const decisions: { cause: string }[] = await appliance.operator('/api/decisions');
  expect(decisions.some(({ cause }) => cause === 'over_budget')).toBe(true);
});
