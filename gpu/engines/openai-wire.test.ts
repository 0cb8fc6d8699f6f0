import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { EngineHttp } from './http.ts';
import { relayCompletion, relayEmbeddings, relayText } from './openai-wire.ts';
import type { Usage } from './usage.ts';

/* A server that answers as told, and all that is asked of it. */
let server: Server;
let http: EngineHttp;
let answer: { readonly type: string; readonly body: string };
let asked: Record<string, unknown> = {};

beforeAll(async () => {
  server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      asked = JSON.parse(Buffer.concat(pieces).toString());
      response.writeHead(200, { 'content-type': answer.type }).end(answer.body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  http = new EngineHttp(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
afterEach(() => (asked = {}));
afterAll(async () => {
  await http.close();
  await new Promise((resolve) => server.close(resolve));
});

const options = { signal: new AbortController().signal, model: 'm', checkModel: true };
const head = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'm' };
const json = (body: object): void => {
  answer = { type: 'application/json', body: JSON.stringify(body) };
};
const eventsOf = (...chunks: readonly object[]): string =>
  chunks.map((chunk) => `data: ${JSON.stringify({ ...head, ...chunk })}\n\n`).join('');
const stream = (...chunks: readonly object[]): void => {
  answer = { type: 'text/event-stream', body: `${eventsOf(...chunks)}data: [DONE]\n\n` };
};

const request = (body: object) =>
  ({
    modelKey: 'm',
    endpoint: 'chat/completions',
    body: { messages: [{ role: 'user', content: 'hi' }], ...body },
  }) as const;

interface Outcome {
  readonly usage: Usage;
  /** What the caller reads of it. */
  readonly told: unknown;
  readonly text: string;
}

async function whole(body: object = {}): Promise<Outcome> {
  const { body: text, usage } = await relayCompletion(http, request(body), options);
  return { usage, told: JSON.parse(text).usage, text };
}

async function streamed(body: object = { stream_options: { include_usage: true } }): Promise<Outcome> {
  let text = '';
  for await (const event of relayText(http, request(body), options)) {
    if (event.type === 'event') text += Buffer.from(event.bytes).toString();
    else return { usage: event.usage, told: lastUsage(text), text };
  }
  throw new Error('no end');
}

function lastUsage(text: string): unknown {
  const told = text
    .split('\n\n')
    .filter((event) => event.startsWith('data: {'))
    .map((event) => JSON.parse(event.slice(6)).usage)
    .filter((usage) => typeof usage === 'object' && usage !== null);
  expect(told.length).toBeLessThanOrEqual(1);
  return told[0];
}

const figures = (promptTokens: number, completionTokens: number) => ({
  prompt_tokens: promptTokens,
  completion_tokens: completionTokens,
  total_tokens: promptTokens + completionTokens,
});

describe('case 2: usage', () => {
  const thinking = 'Let me think about it. '.repeat(80);
  const call = {
    id: '1',
    type: 'function',
    function: { name: 'save', arguments: JSON.stringify({ text: 'word '.repeat(300) }) },
  };
  const picture = `data:image/png;base64,${'A'.repeat(400_000)}`;
  const looking = { role: 'user', content: [{ type: 'image_url', image_url: { url: picture } }] };

  test.each([
    ['a plain answer', { content: 'Yes.' }, figures(9, 2), {}],
    ['a tool call beside an empty content', { content: '', tool_calls: [call] }, figures(90, 320), {}],
    ['thinking', { content: 'Yes.', reasoning_content: thinking }, figures(9, 482), {}],
    ['thinking under its other name', { content: 'Yes.', reasoning: thinking }, figures(9, 482), {}],
    [
      'thinking about a picture of 400 kB',
      { content: 'Yes.', reasoning_content: thinking },
      figures(9, 482),
      { messages: [looking] },
    ],
  ])('%s: what the engine says is booked and told, streamed and whole', async (_, message, usage, body) => {
    const booked = { promptTokens: usage.prompt_tokens, completionTokens: usage.completion_tokens };
    json({ ...head, choices: [{ index: 0, message, finish_reason: 'stop' }], usage });
    expect(await whole(body)).toMatchObject({ usage: { ...booked, counted: false }, told: usage });
    stream({ choices: [{ index: 0, delta: message, finish_reason: null }] }, { choices: [], usage });
    const asksForUsage = { ...body, stream_options: { include_usage: true } };
    expect(await streamed(asksForUsage)).toMatchObject({ usage: { ...booked, counted: false }, told: usage });
  });

  test('a whole answer whose figures are believed passes byte for byte', async () => {
    json({ ...head, choices: [{ index: 0, message: { content: 'Yes.' } }], usage: figures(9, 2) });
    expect((await whole()).text).toBe(answer.body);
  });

  test('figures that cannot be true are replaced for the caller, too', async () => {
    json({ ...head, choices: [{ index: 0, message: { content: 'Yes.' } }], usage: figures(9, 9_000) });
    const { usage, told } = await whole();
    expect(usage).toEqual({ promptTokens: 9, completionTokens: 1, counted: true });
    expect(told).toEqual(figures(9, 1));
  });

  test.each([
    [
      'in the last piece of text',
      [{ choices: [{ delta: { content: 'Ja' }, finish_reason: 'stop' }], usage: figures(9, 1) }],
    ],
    ['in every piece', [1, 2].map((n) => ({ choices: [{ delta: { content: 'J' } }], usage: figures(9, n) }))],
    ['nowhere', [{ choices: [{ delta: { content: 'Ja' } }] }]],
  ])(
    'a stream that has its usage %s tells it once, at the end, and only to those who asked',
    async (_, chunks) => {
      stream(...chunks);
      const { usage, told, text } = await streamed();
      expect(told).toEqual(figures(usage.promptTokens, usage.completionTokens));
      expect(text).toContain(`"usage":${JSON.stringify(told)}}\n\ndata: [DONE]`);
      expect((await streamed({})).text).not.toContain('prompt_tokens');
      expect(asked).toMatchObject({ stream_options: { include_usage: true } });
    },
  );

  test('a whole answer is not asked for with the options of a stream', async () => {
    json({ ...head, choices: [{ message: { content: 'Yes.' } }] });
    await whole({ stream_options: { include_usage: true } });
    expect(asked).not.toHaveProperty('stream_options');
  });

  const text = fc.string({ unit: 'grapheme', maxLength: 200 });
  const message = fc.record(
    {
      content: fc.option(text),
      refusal: fc.option(text),
      reasoning_content: text,
      reasoning: text,
      thinking: text,
      function_call: fc.record({ name: text, arguments: text }),
      tool_calls: fc.array(
        fc.record({
          id: text,
          type: fc.constant('function'),
          function: fc.record({ name: text, arguments: text }),
        }),
        { maxLength: 3 },
      ),
    },
    { requiredKeys: ['content'] },
  );
  const figure = fc.oneof(fc.nat(2_000), fc.constant(100), fc.constant(-1), fc.constant('many'));
  const claim = fc.option(
    fc.record({ prompt_tokens: figure, completion_tokens: figure }, { requiredKeys: [] }),
  );

  test('for any message, cut anywhere, streamed and whole give the same usage, and the caller the same figures', async () => {
    await fc.assert(
      fc.asyncProperty(
        message,
        claim,
        fc.infiniteStream(fc.integer({ min: 1, max: 40 })),
        async (made, usage, cuts) => {
          json({ ...head, choices: [{ index: 0, message: made }], ...(usage && { usage }) });
          const one = await whole();
          stream(...piecesOf(made, cuts), ...(usage ? [{ choices: [], usage }] : []));
          const other = await streamed();
          expect(other.usage).toEqual(one.usage);
          const { prompt_tokens, completion_tokens } = one.told as ReturnType<typeof figures>;
          expect(other.told).toMatchObject({ prompt_tokens, completion_tokens });
          expect([prompt_tokens, completion_tokens]).toEqual([
            one.usage.promptTokens,
            one.usage.completionTokens,
          ]);
        },
      ),
      { numRuns: 200 },
    );
  });
});

/** A message as a stream of deltas: every text in it in pieces. */
function piecesOf(message: object, cuts: Iterator<number>): object[] {
  const deltas: object[] = [{ role: 'assistant', content: '' }];
  const inPieces = (text: string, delta: (piece: string) => object): void => {
    for (let at = 0; at < text.length;) {
      const length = Number(cuts.next().value);
      deltas.push(delta(text.slice(at, at + length)));
      at += length;
    }
  };
  for (const [name, value] of Object.entries(message)) {
    if (typeof value === 'string') inPieces(value, (piece) => ({ [name]: piece }));
    else if (name === 'function_call') {
      deltas.push({ function_call: { name: value.name, arguments: '' } });
      inPieces(value.arguments, (piece) => ({ function_call: { arguments: piece } }));
    } else if (Array.isArray(value)) {
      for (const [index, call] of value.entries()) {
        deltas.push({
          tool_calls: [{ ...call, index, function: { name: call.function.name, arguments: '' } }],
        });
        inPieces(call.function.arguments, (piece) => ({
          tool_calls: [{ index, function: { arguments: piece } }],
        }));
      }
    }
  }
  return deltas.map((delta) => ({ choices: [{ index: 0, delta, finish_reason: null }] }));
}

describe('S4: what a stream has come to', () => {
  test('is told with every event, and never falls', async () => {
    stream(...['Ha', ' ha', ' ha'].map((content) => ({ choices: [{ delta: { content } }] })));
    const soFar: number[] = [];
    for await (const event of relayText(http, request({}), options)) {
      if (event.type === 'event') soFar.push(event.tokensSoFar);
    }
    expect(soFar).toEqual([1, 2, 3, 3]);
  });
});

describe('case 24: an error in an answer with a good status', () => {
  const signal = options;
  test.each([
    ['a text', { error: 'the model died' }, 'bad_answer', /the model died/],
    ['a message', { error: { message: 'the model died' } }, 'bad_answer', /the model died/],
    ['a lack of memory', { error: { message: 'CUDA out of memory' } }, 'out_of_memory', /CUDA/],
    [
      'one beside choices',
      { error: 'the model died', choices: [{ message: {} }] },
      'bad_answer',
      /the model died/,
    ],
  ])(
    '%s is kept in the engine’s words, whole, as a stream and for embeddings',
    async (_, body, kind, message) => {
      json(body);
      const error = { kind, message: expect.stringMatching(message) };
      await expect(whole()).rejects.toMatchObject(error);
      await expect(streamed()).rejects.toMatchObject(error);
      const embedding = { modelKey: 'm', body: { input: 'x' } };
      await expect(relayEmbeddings(http, embedding, signal)).rejects.toMatchObject(error);
    },
  );

  test('in the middle of a stream it is told in those words, too', async () => {
    stream({ choices: [{ delta: { content: 'Ha' } }] }, { error: 'the model died' });
    await expect(streamed()).rejects.toMatchObject({
      kind: 'bad_answer',
      message: expect.stringMatching(/the model died/),
    });
  });
});

test('a byte order mark is no part of an answer', async () => {
  json({ ...head, choices: [{ message: { content: 'Yes.' } }] });
  answer = { ...answer, body: `\uFEFF${answer.body}` };
  expect((await whole()).usage.completionTokens).toBe(1);
  stream({ choices: [{ delta: { content: 'Yes.' } }] });
  const plain = await streamed();
  answer = { ...answer, body: `\uFEFF${answer.body}` };
  expect(await streamed()).toEqual(plain);
});

describe('case 3: embeddings are in the form that was asked for', () => {
  const vector = [0.5, -0.25, 1e-3];
  const base64 = Buffer.from(Float32Array.from(vector).buffer).toString('base64');
  const embed = async (body: object = {}) => {
    const asking = { modelKey: 'm', body: { input: ['a', 'bb'], ...body } };
    const relayed = await relayEmbeddings(http, asking, { ...options, checkModel: false });
    return { ...JSON.parse(relayed.body), booked: relayed.usage };
  };
  const vectors = (...embeddings: unknown[]) =>
    json({
      object: 'list',
      data: embeddings.map((embedding, index) => ({ object: 'embedding', index, embedding })),
      usage: { prompt_tokens: 0, total_tokens: 0 },
    });

  test.each([
    ['numbers for base64 (LM Studio)', vector, 'base64', base64],
    ['base64 for base64', base64, 'base64', base64],
    ['numbers for numbers', vector, 'float', vector],
    ['base64 for numbers', base64, 'float', [...Float32Array.from(vector)]],
    ['base64 where nothing was said', base64, undefined, [...Float32Array.from(vector)]],
  ])('%s', async (_, sent, format, expected) => {
    vectors(sent, sent);
    const { data } = await embed(format === undefined ? {} : { encoding_format: format });
    expect(data).toEqual([0, 1].map((index) => ({ object: 'embedding', index, embedding: expected })));
  });

  test('a usage of nothing is counted, and told as it is booked', async () => {
    vectors(vector, vector);
    const { usage, booked } = await embed();
    expect(usage).toEqual({ prompt_tokens: 1, total_tokens: 1 });
    expect(booked).toMatchObject({ promptTokens: 1, completionTokens: 0 });
  });

  test('vectors in another order are put into that of the inputs', async () => {
    json({
      data: [
        { index: 1, embedding: [2] },
        { index: 0, embedding: [1] },
      ],
    });
    expect((await embed()).data).toMatchObject([{ embedding: [1] }, { embedding: [2] }]);
  });

  test.each([
    ['null in a vector', [0.5, null], [0.5, 1], 'bad_answer'],
    ['a number that no float holds', [0.5, 1e300], [0.5, 1], 'bad_answer'],
    [
      'NaN in base64',
      base64,
      Buffer.from(Float32Array.of(NaN, 0, 0).buffer).toString('base64'),
      'bad_answer',
    ],
    ['half a float', 'AAAA', 'AAAA', 'bad_answer'],
    ['an empty vector', [], [], 'bad_answer'],
    ['vectors that differ in length', [1, 2], [1], 'bad_answer'],
    ['no vector', null, null, 'bad_answer'],
  ])('an engine’s error: %s', async (_, first, second, kind) => {
    vectors(first, second);
    await expect(embed()).rejects.toMatchObject({ kind });
  });

  test('too few vectors, and one twice', async () => {
    vectors(vector);
    await expect(embed()).rejects.toMatchObject({ kind: 'bad_answer' });
    json({ data: [1, 1, 0].map((index) => ({ index, embedding: vector })) });
    await expect(embed({ input: ['a', 'b', 'c'] })).rejects.toMatchObject({ kind: 'bad_answer' });
  });

  test('dimensions that the model does not have are refused with what it has', async () => {
    vectors(vector, vector);
    await expect(embed({ dimensions: 2 })).rejects.toMatchObject({
      kind: 'unsupported',
      message: expect.stringContaining('have 3 numbers, and 2 were asked for'),
    });
    expect((await embed({ dimensions: 3 })).data).toHaveLength(2);
  });
});
