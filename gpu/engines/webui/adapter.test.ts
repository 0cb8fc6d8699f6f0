import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { processes } from '../../supervisor/processes.ts';
import { Supervisor } from '../../supervisor/supervisor.ts';
import { chooseProfile } from '../profiles.ts';
import { Webui } from './adapter.ts';

/* A web UI as far as its names go: which checkpoints it lists, and which it says that it has chosen. */
interface Named {
  title: string;
  model_name: string;
  hash: string | null;
}
let server: Server;
let list: Named[];
let selected: string;
/** What it does when it is told to load a title. */
let onLoad: (title: string) => void;
let loads: string[];
/** What it answers when it is asked for a picture. */
let picture: object | null;
let engine: Webui;
const never = new AbortController().signal;

beforeEach(async () => {
  list = [
    { title: 'old.safetensors [aaaaaaaaaa]', model_name: 'old', hash: 'aaaaaaaaaa' },
    { title: 'fresh.safetensors', model_name: 'fresh', hash: null },
  ];
  selected = 'old.safetensors [aaaaaaaaaa]';
  [loads, picture] = [[], null];
  onLoad = (title) => (selected = title);
  server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const path = request.url?.split('/').at(-1);
      if (path === 'options' && request.method === 'POST') {
        const { sd_model_checkpoint: title } = JSON.parse(Buffer.concat(pieces).toString());
        loads.push(title);
        onLoad(title);
      }
      const body =
        path === 'txt2img' && picture !== null
          ? picture
          : path === 'sd-models'
            ? list
            : path === 'options'
              ? { sd_model_checkpoint: selected, sd_checkpoint_hash: '' }
              : path === 'memory'
                ? { cuda: { allocated: { current: 2 ** 31 } } }
                : {};
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const rosterFile = join(mkdtempSync(join(tmpdir(), 'kilnhouse-webui-')), 'roster.json');
  engine = new Webui({
    id: 'webui',
    port: (server.address() as AddressInfo).port,
    flavour: 'automatic1111',
    launch: null,
    auth: null,
    profile: chooseProfile('webui', 8 * 1024 ** 3),
    supervisor: new Supervisor({ owner: 'webui-names', rosterFile, processes }),
    demo: false,
  });
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

/** A1111 at a first load: the hash is read with the weights, and the title is another one from then on. */
const getsHash = (): void => {
  const renamed = { title: 'fresh.safetensors [bbbbbbbbbb]', model_name: 'fresh', hash: 'bbbbbbbbbb' };
  list = [...list.slice(0, 1), renamed];
  selected = renamed.title;
};

test('case 1: a first load that renames the checkpoint is a load', async () => {
  const before = await engine.models(never);
  onLoad = getsHash;
  expect(await engine.load('fresh.safetensors', never)).toEqual({ key: 'fresh.safetensors', slots: 1 });
  expect(await engine.models(never)).toEqual(before);
  expect(await engine.loaded(never)).toEqual([{ key: 'fresh.safetensors', slots: 1 }]);
  await engine.load('fresh.safetensors', never);
  expect(loads).toEqual(['fresh.safetensors', 'fresh.safetensors [bbbbbbbbbb]']);
});

test.each(['fresh', 'fresh.safetensors', '/models/fresh.safetensors'])(
  'case 1: "%s", chosen in the engine’s own window, is the same checkpoint',
  async (alias) => {
    getsHash();
    selected = alias;
    expect(await engine.loaded(never)).toEqual([{ key: 'fresh.safetensors', slots: 1 }]);
    onLoad = () => (selected = alias);
    expect((await engine.load('fresh.safetensors', never)).key).toBe('fresh.safetensors');
  },
);

test('case 1: a checkpoint that is gone from the list after our own load was loaded', async () => {
  onLoad = (title) => {
    selected = title;
    list = list.slice(0, 1);
  };
  expect((await engine.load('fresh.safetensors', never)).key).toBe('fresh.safetensors');
});

test('case 1: a load that chose another is the engine’s failure, not the caller’s wrong name', async () => {
  onLoad = () => undefined;
  await expect(engine.load('fresh.safetensors', never)).rejects.toMatchObject({
    kind: 'load_failed',
    retryable: true,
  });
  await expect(engine.load('nobody.safetensors', never)).rejects.toMatchObject({ kind: 'model_missing' });
});

test('another checkpoint that was chosen in the window is what is loaded now', async () => {
  await engine.load('fresh.safetensors', never);
  selected = 'old.safetensors [aaaaaaaaaa]';
  expect(await engine.loaded(never)).toEqual([{ key: 'old.safetensors', slots: 1 }]);
});

const size = { width: 64, height: 64, steps: 1, guidance: 1, seed: 1 };
const rest = { negativePrompt: '', sampler: null, hires: null, previews: false, source: null };
const request = { modelKey: 'fresh.safetensors', prompt: 'x', ...size, ...rest };

test('a picture is made with its own checkpoint, whatever was chosen in the window since', async () => {
  await engine.load('fresh.safetensors', never);
  selected = 'old.safetensors [aaaaaaaaaa]';
  await expect(engine.image(request, { signal: never }).next()).rejects.toMatchObject({ kind: 'bad_answer' });
  expect([loads.length, selected]).toEqual([2, 'fresh.safetensors']);
});

test.each([
  ['with its checkpoint', 'bbbbbbbbbb', { type: 'image', seed: 77 }],
  ['with another checkpoint', 'aaaaaaaaaa', 'wrong_model'],
])('what a picture was made with is read past the NaN that Python writes: %s', async (_, hash, expected) => {
  getsHash();
  const create = { width: 64, height: 64, channels: 3, background: '#336699' } as const;
  const image = (await sharp({ create }).png().toBuffer()).toString('base64');
  const info = `{"prompt": "a \\"NaN\\"", "cfg_rescale": NaN, "eta": -Infinity, "seed": 77, "sd_model_hash": "${hash}"}`;
  picture = { images: [image], parameters: {}, info };
  const drawn = engine.image(request, { signal: never }).next();
  if (typeof expected === 'string') await expect(drawn).rejects.toMatchObject({ kind: expected });
  else expect(await drawn).toMatchObject({ value: expected });
});
