import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { expect, test } from 'vitest';
import { tinyGguf, tinyGgufParts } from '../scripts/make-tiny-gguf.ts';
import { survivorsOf, TestAppliance } from './appliance.ts';

test('a machine with no engine and one GGUF file serves real text from it, and nothing is a demonstration', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-gguf-'));
  mkdirSync(join(folder, 'models'));
  writeFileSync(join(folder, 'models', 'tiny.gguf'), tinyGguf());
  for (const [no, part] of tinyGgufParts(9).entries())
    writeFileSync(join(folder, 'models', `parts-0000${no + 1}-of-00003.gguf`), part);
  writeFileSync(join(folder, 'models', 'broken.gguf'), 'GGUF and nothing behind it');
  // Ports nobody listens on, so that no engine of this machine is found.
  const config = { lmStudio: { enabled: false }, webui: { enabled: false }, llamaCpp: { slots: 2 } };
  const appliance = await TestAppliance.start({ folder, config, env: { KILNHOUSE_DEMO: '' } });
  try {
    expect(appliance.output).not.toContain('DEMO');
    await appliance.ready();
    const openai = new OpenAI({ baseURL: `${appliance.tenantUrl}/v1`, apiKey: appliance.key, maxRetries: 0 });
    expect((await openai.models.list()).data.map(({ id }) => id)).toEqual(['parts', 'tiny']);
    const inParts = { model: 'parts', prompt: 'x', max_tokens: 3 };
    expect((await openai.completions.create(inParts)).usage?.completion_tokens).toBeGreaterThan(0);
    expect(await appliance.operator('/api/models/left-out')).toEqual([
      { engineId: 'llama-cpp', file: 'broken.gguf', reason: expect.stringContaining('damaged') },
    ]);
    const request = {
      model: 'tiny',
      messages: [{ role: 'user' as const, content: 'hello' }],
      max_tokens: 12,
      seed: 4,
    };
    const whole = await openai.chat.completions.create(request);
    expect(whole.usage?.completion_tokens).toBeGreaterThan(0);
    let streamed = '';
    for await (const chunk of await openai.chat.completions.create({ ...request, stream: true })) {
      streamed += chunk.choices[0]?.delta.content ?? '';
    }
    expect(streamed.length).toBeGreaterThan(0);
    const { data } = await openai.embeddings.create({ model: 'tiny', input: 'hello' });
    expect(data[0]?.embedding.length).toBeGreaterThan(8);
    const [engine] = await appliance.operator('/api/engines');
    expect(engine).toMatchObject({ id: 'llama-cpp', demo: false, ownership: 'ours', health: 'ready' });
    // Files come and go: by a download, and by hand.
    const names = async (): Promise<string[]> =>
      (await appliance.operator('/api/models')).map(({ id }: { id: string }) => id).toSorted();
    const bytes = tinyGguf(7);
    const host = createServer((_, response) => response.end(bytes));
    await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve));
    const { port } = host.address() as AddressInfo;
    const wanted = {
      kind: 'gguf',
      url: `http://127.0.0.1:${port}/second.gguf`,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    };
    expect(await appliance.operator('/api/downloads', 'POST', wanted)).toMatchObject({ name: 'second.gguf' });
    await appliance.until(async () => (await names()).join() === 'parts,second,tiny');
    expect((await appliance.operator('/api/downloads'))[0]).toMatchObject({
      state: 'done',
      sha256: wanted.sha256,
    });
    host.close();
    rmSync(join(folder, 'models', 'second.gguf'));
    await appliance.until(async () => (await names()).join() === 'parts,tiny');
    appliance.process.kill('SIGKILL');
    await appliance.until(async () => (await survivorsOf(appliance)).length === 0, 3_000);
  } finally {
    await appliance.stop();
  }
});
