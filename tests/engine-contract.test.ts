import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { EngineError } from '../gpu/engines/engine-error.ts';
import type {
  Engine,
  EngineModel,
  ImageEvent,
  ImageRequest,
  TextEvent,
  TextRequest,
} from '../gpu/engines/engine.ts';
import { testMachine, type TestMachine } from './engines.ts';

/* What every engine must do, whoever made it: the port's promises, over all adapters. */
const never = new AbortController().signal;

const cases: [string, (machine: TestMachine) => Engine][] = [
  ['lm-studio', (machine) => machine.lmStudio()],
  ['automatic1111', (machine) => machine.webui('automatic1111')],
  ['forge', (machine) => machine.webui('forge')],
  ['sdnext', (machine) => machine.webui('sdnext')],
  ['llama-cpp, real', (machine) => machine.llamaCpp()],
];

function imageOf(model: EngineModel): ImageRequest {
  return {
    modelKey: model.key,
    prompt: 'a kiln',
    negativePrompt: '',
    width: 128,
    height: 128,
    steps: 40,
    guidance: 7,
    seed: 11,
    sampler: null,
    hires: null,
    previews: false,
    source: null,
  };
}

function chatOf(model: EngineModel, words = 40): TextRequest {
  const body = { messages: [{ role: 'user', content: 'hello' }], max_tokens: words, temperature: 0 };
  return { modelKey: model.key, endpoint: 'chat/completions', body };
}

async function all<T>(events: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const event of events) list.push(event);
  return list;
}

/** One piece of the engine's work, to its end. */
function work(engine: Engine, model: EngineModel, signal: AbortSignal): Promise<(TextEvent | ImageEvent)[]> {
  return model.modality === 'image'
    ? all(engine.image(imageOf(model), { signal }))
    : all(engine.stream(chatOf(model), { signal }));
}

describe.each(cases)('%s', (name, make) => {
  let machine: TestMachine;
  let engine: Engine;
  let model: EngineModel;

  beforeAll(async () => {
    machine = await testMachine();
    engine = make(machine);
    await Promise.all([engine.ensureReady(never), engine.ensureReady(never)]);
    const found = (await engine.models(never)).find(({ modality }) => modality !== 'embedding');
    if (!found) throw new Error('no model');
    model = found;
  });
  afterAll(async () => {
    await engine.stop();
    await machine.close();
  });
  beforeEach(() => engine.load(model.key, never));
  afterEach(() => machine.faults(''));

  test('describes itself', () => {
    const { id, kind, title, ownership, demo } = engine.describe();
    expect({ id, ownership }).toMatchObject({ ownership: 'ours' });
    expect(name).toContain(kind);
    // A person must never take a stand-in for the real thing.
    expect(demo).toBe(title.includes('demo'));
  });

  test('lists models with a name, a kind and a footprint', async () => {
    const models = await engine.models(never);
    expect(new Set(models.map(({ key }) => key)).size).toBe(models.length);
    for (const one of models) expect(engine.estimate(one)).toBeGreaterThan(1024 ** 2);
  });

  test('a loaded model is listed as loaded; loading it again changes nothing', async () => {
    expect((await engine.loaded(never)).map(({ key }) => key)).toEqual([model.key]);
    await engine.load(model.key, never);
    expect(await engine.loaded(never)).toHaveLength(1);
  });

  test('an unloaded model is not listed, and loads again', async () => {
    await engine.unload(model.key, never);
    expect(await engine.loaded(never)).toEqual([]);
    await engine.load(model.key, never);
    expect((await work(engine, model, never)).length).toBeGreaterThan(0);
  });

  test('an unknown model is refused, and nothing else is loaded instead', async () => {
    await expect(engine.load('no-such-model', never)).rejects.toMatchObject({ kind: 'model_missing' });
    expect((await engine.loaded(never)).map(({ key }) => key)).toEqual([model.key]);
  });

  test('does its work, and ends it with a result', async () => {
    const events = await work(engine, model, never);
    expect(['end', 'image']).toContain(events.at(-1)?.type);
  });

  test('S1: work that nobody wants any more stops, and the engine is free for the next', async () => {
    const abort = new AbortController();
    const slow =
      model.modality === 'image' ? { ...imageOf(model), width: 1024, height: 1024, steps: 100 } : null;
    const seen = new Set<string>();
    const given = async (): Promise<void> => {
      const events: AsyncIterable<{ type: string }> = slow
        ? engine.image(slow, { signal: abort.signal })
        : engine.stream(chatOf(model, 400), { signal: abort.signal });
      // Hung up on after its first sign of life.
      for await (const { type } of events) {
        seen.add(type);
        abort.abort(new Error('nobody waits'));
      }
    };
    await expect(given()).rejects.toMatchObject({ kind: 'aborted' });
    expect([...seen].filter((type) => type === 'end' || type === 'image')).toEqual([]);
    expect((await work(engine, model, never)).length).toBeGreaterThan(0);
  });

  test('work that was given up before it began is not done', async () => {
    const events = work(engine, model, AbortSignal.abort(new Error('too late')));
    await expect(events).rejects.toBeInstanceOf(EngineError);
  });

  test('its health is a real generation', async () => {
    await engine.health(model.key, never);
  });

  test('what it cannot do it says', () => {
    if (model.modality === 'image')
      expect(() => engine.stream(chatOf(model), { signal: never })).toThrow(EngineError);
    else expect(() => engine.image(imageOf(model), { signal: never })).toThrow(EngineError);
  });
});

describe.each(cases.filter(([name]) => name === 'lm-studio' || name.startsWith('llama')))(
  'text: %s',
  (_, make) => {
    let machine: TestMachine;
    let engine: Engine;
    let model: EngineModel;
    beforeAll(async () => {
      machine = await testMachine();
      engine = make(machine);
      await engine.ensureReady(never);
      model = (await engine.models(never)).find(({ modality }) => modality === 'text')!;
      await engine.load(model.key, never);
    });
    afterAll(async () => {
      await engine.stop();
      await machine.close();
    });

    test('streamed and whole answers say the same, with usage either way', async () => {
      const whole = await engine.complete(chatOf(model), { signal: never });
      const streamed = await all(engine.stream(chatOf(model), { signal: never }));
      expect(whole.usage).toMatchObject({ counted: false });
      const end = streamed.at(-1);
      expect(end?.type === 'end' && end.usage.completionTokens).toBe(whole.usage.completionTokens);
      const text = streamed
        .flatMap((event) => (event.type === 'event' ? [Buffer.from(event.bytes).toString()] : []))
        .filter((event) => !event.includes('[DONE]'))
        .map((event) => JSON.parse(event.slice('data: '.length)).choices[0]?.delta?.content ?? '')
        .join('');
      expect(text).toBe(JSON.parse(whole.body).choices[0].message.content);
    });

    test('JSON by schema', async () => {
      const schema = {
        type: 'object',
        properties: { kind: { enum: ['x', 'y'] }, ok: { type: 'boolean' } },
        required: ['kind', 'ok'],
        additionalProperties: false,
      };
      const request = chatOf(model, 400);
      const body = {
        ...request.body,
        response_format: { type: 'json_schema', json_schema: { name: 'x', schema } },
      };
      const answer = await engine.complete({ ...request, body }, { signal: never });
      const content = JSON.parse(answer.body).choices[0].message.content;
      expect(JSON.parse(content)).toEqual({ kind: expect.stringMatching(/^[xy]$/), ok: expect.any(Boolean) });
    });

    test('several requests at once, each with its own answer', async () => {
      const answers = await Promise.all(
        [1, 2].map(() => engine.complete(chatOf(model, 8), { signal: never })),
      );
      expect(answers.every(({ body }) => body.includes('choices'))).toBe(true);
    });

    test('embeddings: one vector a text, the same for the same', async () => {
      const embedder = (await engine.models(never)).find(({ embeds }) => embeds)!;
      await engine.load(embedder.key, never);
      const { body, usage } = await engine.embed(
        { modelKey: embedder.key, body: { input: ['a', 'b', 'a'] } },
        { signal: never },
      );
      const vectors = JSON.parse(body).data.map(({ embedding }: { embedding: number[] }) => embedding);
      expect(vectors[0]).toEqual(vectors[2]);
      expect(vectors[0]).not.toEqual(vectors[1]);
      expect(usage.promptTokens).toBeGreaterThan(0);
    });
  },
);

describe('adopted engines', () => {
  test('what already runs is used and never ended', async () => {
    const machine = await testMachine();
    const [ownText, ownImages] = [machine.lmStudio(), machine.webui()];
    await Promise.all([ownText.ensureReady(never), ownImages.ensureReady(never)]);
    const [text, images] = [machine.lmStudio(false), machine.webui('automatic1111', false)];
    await Promise.all([text.ensureReady(never), images.ensureReady(never)]);
    expect([text, images].map((engine) => engine.describe().ownership)).toEqual(['theirs', 'theirs']);
    await Promise.all([text.stop(), images.stop()]);
    await Promise.all([ownText.models(never), ownImages.models(never)]);
    await Promise.all([ownText.stop(), ownImages.stop()]);
    await machine.close();
  });

  test('flavours are told apart', async () => {
    for (const flavour of ['automatic1111', 'forge', 'sdnext']) {
      const machine = await testMachine();
      const engine = machine.webui(flavour);
      await engine.ensureReady(never);
      expect(engine.describe().kind).toBe(flavour);
      await engine.stop();
      await machine.close();
    }
  });
});

test('weights that leave the card wait in system memory, and come back from there, not from disk', async () => {
  const machine = await testMachine();
  const engine = machine.webui();
  await engine.ensureReady(never);
  const [model] = await engine.models(never);
  await engine.load(model!.key, never);
  await engine.unload(model!.key, never);
  await engine.load(model!.key, never);
  const from = (): string[] =>
    engine.logs().flatMap(({ text }) => /Loading weights from (.*)/.exec(text)?.[1] ?? []);
  await vi.waitFor(() => expect(from()).toEqual(['disk', 'system memory']));
  await engine.stop();
  await machine.close();
});

test('LM Studio: what only its command can say (slots, offload) is said by it, for the exact model', async () => {
  const machine = await testMachine();
  const engine = machine.lmStudio(true, 2);
  await engine.ensureReady(never);
  // The command takes the first model that contains the word; an inexact name must not get that far.
  await expect(engine.load('demo-chat', never)).rejects.toMatchObject({ kind: 'model_missing' });
  expect(await engine.load('demo-chat-3b', never)).toEqual({ key: 'demo-chat-3b', slots: 2 });
  await engine.unload('demo-chat-3b', never);
  expect(await engine.loaded(never)).toEqual([]);
  await engine.stop();
  await machine.close();
});
