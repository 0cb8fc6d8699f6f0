import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ImageRequest, TextEvent, TextRequest } from '../gpu/engines/engine.ts';
import { EngineHttp } from '../gpu/engines/http.ts';
import { relayCompletion, relayEmbeddings, relayText } from '../gpu/engines/openai-wire.ts';
import { chooseProfile } from '../gpu/engines/profiles.ts';
import { Webui } from '../gpu/engines/webui/adapter.ts';
import { processes } from '../gpu/supervisor/processes.ts';
import { Supervisor } from '../gpu/supervisor/supervisor.ts';
import { Replay } from './replay.ts';

/* What real servers answered, through the code that will read it. */
let replay: Replay;
let port = 0;
beforeEach(async () => {
  replay = new Replay();
  port = await replay.listen();
});
afterEach(() => replay.close());

const signal = new AbortController().signal;

describe('text, as KoboldCpp answers', () => {
  const model = 'koboldcpp/random-llama';
  const body = { messages: [{ role: 'user', content: 'Say hello.' }] };
  const through = async <T>(use: (http: EngineHttp) => Promise<T>): Promise<T> => {
    const http = new EngineHttp(`http://127.0.0.1:${port}`, {
      limits: { firstByteTimeoutMs: 1_500, idleTimeoutMs: 1_500 },
    });
    try {
      return await use(http);
    } finally {
      await http.close();
    }
  };
  const options = { signal, model, checkModel: true };
  const whole = () =>
    through((http) =>
      relayCompletion(http, { modelKey: model, endpoint: 'chat/completions', body }, options),
    );
  const streamed = (endpoint: TextRequest['endpoint'] = 'chat/completions') =>
    through(async (http) => {
      const events: TextEvent[] = [];
      for await (const event of relayText(http, { modelKey: model, endpoint, body }, options))
        events.push(event);
      return events;
    });

  test('case 2: its impossible usage (100/100/200) is counted instead, and the caller is told what is booked', async () => {
    replay.serve('koboldcpp/chat');
    const { body: text, usage } = await whole();
    expect(usage.counted).toBe(true);
    expect(usage.completionTokens).toBeLessThan(50);
    expect(JSON.parse(text)).toMatchObject({
      choices: [{ message: { role: 'assistant' } }],
      usage: {
        prompt_tokens: usage.promptTokens,
        completion_tokens: usage.completionTokens,
        total_tokens: usage.promptTokens + usage.completionTokens,
      },
    });
  });

  test.each(['koboldcpp/chat-stream', 'koboldcpp/chat-stream-stop'])(
    '%s: every event passes unchanged, and a [DONE] without its empty line counts',
    async (name) => {
      replay.serve(name);
      const events = await streamed();
      const text = events
        .map((event) => (event.type === 'event' ? Buffer.from(event.bytes).toString() : ''))
        .join('');
      expect(text).toContain('"finish_reason": "null"');
      expect(text.trimEnd().endsWith('data: [DONE]')).toBe(true);
      expect(events.at(-1)).toMatchObject({ type: 'end', usage: { counted: true } });
    },
  );

  test('a streamed completion', async () => {
    replay.serve('koboldcpp/completions-stream');
    expect((await streamed('completions')).at(-1)?.type).toBe('end');
  });

  test('busy is the engine’s trouble, not the caller’s', async () => {
    replay.serve('koboldcpp/chat-busy');
    await expect(whole()).rejects.toMatchObject({ kind: 'bad_answer', status: 503 });
  });

  test('200 with the body null is no answer', async () => {
    replay.serve('koboldcpp/chat-max-tokens-string');
    await expect(whole()).rejects.toMatchObject({ kind: 'bad_answer' });
  });

  test('P5: 200 and then nothing for ever is silence', async () => {
    replay.serve('koboldcpp/chat-stream-invalid');
    await expect(streamed()).rejects.toMatchObject({ kind: 'silent' });
  });

  test('a route that is not there', async () => {
    replay.serve('koboldcpp/embeddings');
    const http = new EngineHttp(`http://127.0.0.1:${port}`);
    const asked = relayEmbeddings(
      http,
      { modelKey: model, body: { input: 'x' } },
      { signal, model, checkModel: false },
    );
    await expect(asked).rejects.toMatchObject({ kind: 'rejected', status: 404 });
    await http.close();
  });
});

describe('images, as sd-server and KoboldCpp answer on A1111’s routes', () => {
  const request: Omit<ImageRequest, 'modelKey'> = {
    prompt: 'a cat',
    negativePrompt: '',
    width: 64,
    height: 64,
    steps: 2,
    guidance: 7,
    seed: 42,
    sampler: null,
    hires: null,
    previews: false,
    source: null,
  };
  const adapter = (): Webui => {
    const rosterFile = join(mkdtempSync(join(tmpdir(), 'kilnhouse-replay-')), 'roster.json');
    return new Webui({
      id: 'webui',
      port,
      flavour: 'automatic1111',
      launch: null,
      auth: null,
      profile: chooseProfile('webui', 8 * 1024 ** 3),
      supervisor: new Supervisor({ owner: 'replay', rosterFile, processes }),
      demo: false,
    });
  };
  const draw = async (modelKey: string, change: Partial<ImageRequest> = {}) => {
    for await (const event of adapter().image({ ...request, ...change, modelKey }, { signal })) {
      if (event.type === 'image') return event;
    }
    throw new Error('no image');
  };

  test('sd-server: ready, its model, and a picture with its seed from the JSON inside the JSON', async () => {
    replay.serve('sd-server/sdapi-options', 'sd-server/sdapi-sd-models', 'sd-server/txt2img');
    const engine = adapter();
    await engine.ensureReady(signal);
    expect(engine.describe().ownership).toBe('theirs');
    expect((await engine.models(signal)).map(({ name }) => name)).toEqual(['tiny-sd15']);
    expect(await draw('tiny-sd15')).toMatchObject({ type: 'image', seed: expect.any(Number) });
  });

  test('sd-server: a picture from a picture', async () => {
    replay.serve('sd-server/sdapi-sd-models', 'sd-server/img2img');
    const source = { image: new Uint8Array(8), mask: null, strength: 0.5 };
    expect((await draw('tiny-sd15', { source })).png.length).toBeGreaterThan(100);
  });

  test('KoboldCpp: a picture without any info keeps the seed that was asked for', async () => {
    replay.serve('koboldcpp/sdapi-options', 'koboldcpp/sdapi-sd-models', 'koboldcpp/sdapi-txt2img');
    expect((await draw('standard-sd15')).seed).toBe(42);
  });

  test('200 with one empty string as the picture is no picture', async () => {
    replay.serve('koboldcpp/sdapi-sd-models', 'koboldcpp/sdapi-txt2img-no-image-model');
    await expect(draw('x')).rejects.toMatchObject({ kind: 'bad_answer' });
  });

  test('a picture of another size than was asked for is refused', async () => {
    replay.serve('sd-server/sdapi-sd-models', 'sd-server/txt2img');
    await expect(draw('tiny-sd15', { width: 512, height: 512 })).rejects.toMatchObject({
      kind: 'bad_answer',
    });
  });

  test.each([
    ['sd-server/txt2img-4096', 500, 'bad_answer'],
    ['sd-server/txt2img-null-prompt', 500, 'bad_answer'],
    ['sd-server/txt2img-lora-missing', 400, 'rejected'],
  ])('%s: %i', async (name, status, kind) => {
    replay.serve('sd-server/sdapi-sd-models', name);
    await expect(draw('tiny-sd15')).rejects.toMatchObject({ kind, status });
  });
});
