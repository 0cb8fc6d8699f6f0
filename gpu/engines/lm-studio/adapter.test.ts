import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { chooseProfile } from '../profiles.ts';
import { isNameOf, LmStudio } from './adapter.ts';

/* LM Studio as far as its names go: what it lists, which instances it holds, and in whose name it answers. */
let server: Server;
let instances: string[];
let listed: boolean;
let onLoad: () => void;
let answersAs: (asked: string) => string;
let asked: Record<string, unknown>;
let status: number;
let engine: LmStudio;
const never = new AbortController().signal;
const key = 'qwen/qwen3-4b';

beforeEach(async () => {
  [instances, listed, asked, status] = [[], true, {}, 200];
  answersAs = (name) => name;
  onLoad = () => undefined;
  server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const body = pieces.length === 0 ? {} : JSON.parse(Buffer.concat(pieces).toString());
      const reply = (code: number, answer: object): void => {
        response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
      };
      if (request.url === '/api/v1/models') {
        const loaded_instances = instances.map((id) => ({ id, config: { parallel: 4 } }));
        return reply(200, { models: listed ? [{ type: 'llm', key, loaded_instances }] : [] });
      }
      if (request.url === '/api/v1/models/load') {
        instances = [body.model];
        onLoad();
        return reply(200, { status: 'loaded', instance_id: body.model });
      }
      asked = body;
      if (status !== 200)
        return reply(status, { error: { message: 'No models loaded. Please load a model' } });
      reply(200, { model: answersAs(body.model), choices: [{ message: { content: 'Yes.' } }] });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  engine = new LmStudio({
    id: 'lm-studio',
    port: (server.address() as AddressInfo).port,
    lms: null,
    apiToken: null,
    profile: chooseProfile('text', 8 * 1024 ** 3),
    loadsByCli: false,
    demo: false,
  });
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const chat = (body: object = {}) => {
  const messages = [{ role: 'user', content: 'hi' }];
  const request = { modelKey: key, endpoint: 'chat/completions', body: { messages, ...body } } as const;
  return engine.complete(request, { signal: never });
};

describe('case 1, brothers: one model under several names', () => {
  test.each([
    [['qwen/qwen3-4b:2'], 'qwen/qwen3-4b:2'],
    [['my-own-name'], 'my-own-name'],
    [['qwen/qwen3-4b:2', 'qwen/qwen3-4b'], 'qwen/qwen3-4b'],
  ])(
    'instances %j: an instance that is there is asked, so that no second one is loaded',
    async (held, name) => {
      instances = held;
      expect(await engine.load(key, never)).toEqual({ key, slots: 4 });
      await chat();
      expect(asked['model']).toBe(name);
    },
  );

  test.each(['qwen/qwen3-4b:2', 'qwen/qwen3-4b@q4_k_m', 'Qwen/Qwen3-4B', 'qwen3-4b'])(
    'an answer in the name of "%s" is this model’s',
    async (name) => {
      await engine.load(key, never);
      answersAs = () => name;
      expect((await chat()).body).toContain('Yes.');
    },
  );

  test('an answer in the name of another model is refused', async () => {
    await engine.load(key, never);
    answersAs = () => 'qwen/qwen3-8b';
    await expect(chat()).rejects.toMatchObject({ kind: 'wrong_model' });
  });

  test('a model that is gone from the list after our own load is LM Studio’s failure', async () => {
    onLoad = () => (listed = false);
    await expect(engine.load(key, never)).rejects.toMatchObject({ kind: 'load_failed', retryable: true });
    // It is no longer listed, so it is no longer loaded; and who asks for it now has the wrong name.
    await engine.unload(key, never);
    await expect(engine.load(key, never)).rejects.toMatchObject({ kind: 'model_missing' });
  });

  test('a model that somebody else unloaded is not the caller’s wrong name', async () => {
    await engine.load(key, never);
    status = 404;
    await expect(chat()).rejects.toMatchObject({ kind: 'model_gone', retryable: true, status: 404 });
  });
});

describe('case 10: JSON mode', () => {
  test('is asked for as a schema of any object', async () => {
    await chat({ response_format: { type: 'json_object' } });
    expect(asked['response_format']).toEqual({
      type: 'json_schema',
      json_schema: { name: 'json_object', schema: { type: 'object' } },
    });
  });

  test.each([
    { type: 'text' },
    { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'array' } } },
  ])('%j goes as it came', async (format) => {
    await chat({ response_format: format });
    expect(asked['response_format']).toEqual(format);
  });
});

test.each([
  ['qwen3-4b', 'qwen3-4b', true],
  ['a/x', 'b/x', false],
  ['x', 'y/x', true],
  ['x', 'xx', false],
  ['phi-3', 'phi-3:12', true],
])('%s, answered as %s: %s', (asking, named, isSame) => expect(isNameOf(asking, named)).toBe(isSame));
