import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { GgufFolder } from './gguf-folder.ts';
import { type GgufFile, ggufModels } from './gguf-models.ts';

/* Files as publishers give them, written with their real heads and next to nothing behind. */
type Facts = Readonly<Record<string, string | number | readonly string[]>>;

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function text(value: string): Buffer {
  return Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
}

/** gguf-split writes its numbers with 16 bits, everybody else with 32. */
function valueOf(key: string, value: Facts[string]): Buffer {
  if (typeof value === 'string') return Buffer.concat([u32(8), text(value)]);
  if (typeof value !== 'number') {
    return Buffer.concat([u32(9), u32(8), u64(value.length), ...value.map(text)]);
  }
  return key === 'split.no' || key === 'split.count'
    ? Buffer.concat([u32(2), u32(value).subarray(0, 2)])
    : Buffer.concat([u32(4), u32(value)]);
}

function gguf(facts: Facts, { tensors = 10, bytes = 4_096 } = {}): Buffer {
  const entries = Object.entries(facts);
  const file = Buffer.alloc(bytes);
  const head = [
    Buffer.from('GGUF'),
    u32(3),
    u64(tensors),
    u64(entries.length),
    ...entries.map(([key, value]) => Buffer.concat([text(key), valueOf(key, value)])),
  ];
  Buffer.concat(head).copy(file);
  return file;
}

const llama = { 'general.architecture': 'llama', 'llama.context_length': 4_096 };
const part = (no: number, count: number) => ({ 'split.no': no, 'split.count': count });

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'kilnhouse-gguf-'))));

function put(path: string, bytes: Buffer | string): void {
  mkdirSync(join(folder, path, '..'), { recursive: true });
  writeFileSync(join(folder, path), bytes);
}

const seen = async () => ggufModels(await new GgufFolder(folder).files());
const names = async () => (await seen()).models.map(({ name, modality }) => [name, modality]);

describe('case 14: a model in parts', () => {
  test('weighs what its parts weigh together, and the later ones need no architecture', async () => {
    put('big-q4-00001-of-00003.gguf', gguf({ ...llama, ...part(0, 3) }, { bytes: 5_000 }));
    put('big-q4-00002-of-00003.gguf', gguf(part(1, 3), { bytes: 6_000 }));
    put('big-q4-00003-of-00003.gguf', gguf(part(2, 3), { bytes: 7_000 }));
    const { models, leftOut } = await seen();
    expect(leftOut).toEqual([]);
    expect(models).toEqual([
      {
        name: 'big-q4',
        modality: 'text',
        paths: [1, 2, 3].map((n) => `big-q4-0000${n}-of-00003.gguf`),
        bytes: 18_000,
        contextLength: 4_096,
      },
    ]);
  });

  test('is listed where its first part holds the head alone (--no-tensor-first-split)', async () => {
    put('a/nts-00001-of-00002.gguf', gguf({ ...llama, ...part(0, 2) }, { tensors: 0 }));
    put('a/nts-00002-of-00002.gguf', gguf(part(1, 2)));
    expect(await names()).toEqual([['nts', 'text']]);
  });

  test.each([
    ['a part is missing', [1, 3], 'Part 2 of 3 is missing.'],
    ['parts are missing', [2], 'Parts 1, 3 of 3 are missing.'],
  ])('is left out once where %s', async (_, there, reason) => {
    for (const n of there) put(`x-0000${n}-of-00003.gguf`, gguf({ ...llama, ...part(n - 1, 3) }));
    expect(await seen()).toEqual({
      models: [],
      leftOut: [{ file: `x-0000${there[0]}-of-00003.gguf`, reason }],
    });
  });

  test.each([
    ['renamed', { 'x.gguf': gguf({ ...llama, ...part(0, 2) }) }, /one of 2 parts, but is not named/],
    [
      'mixed up',
      {
        'x-00001-of-00002.gguf': gguf({ ...llama, ...part(1, 2) }),
        'x-00002-of-00002.gguf': gguf({ ...llama, ...part(0, 2) }),
      },
      /is part 2, whatever its name says/,
    ],
    [
      'damaged',
      { 'x-00001-of-00002.gguf': gguf({ ...llama, ...part(0, 2) }), 'x-00002-of-00002.gguf': 'GGUF' },
      /^x-00002-of-00002\.gguf: .*not a GGUF file/,
    ],
  ])('is left out where a part is %s', async (_, files, reason) => {
    for (const [path, bytes] of Object.entries(files)) put(path, bytes);
    const { models, leftOut } = await seen();
    expect(models).toEqual([]);
    expect(leftOut).toEqual([{ file: expect.any(String), reason: expect.stringMatching(reason) }]);
  });
});

describe('case 15: what only looks like a text model', () => {
  test.each([
    ['a LoRA', { 'general.type': 'adapter', ...llama }, /adapter/],
    ['an importance matrix', { 'general.type': 'imatrix' }, /importance matrix/],
    ['a projector by its type', { 'general.type': 'mmproj', 'general.architecture': 'clip' }, /projector/],
    ['a projector by its architecture', { 'general.architecture': 'clip', 'clip.x': 1 }, /projector/],
    ['an image model', { 'general.architecture': 'flux' }, /images or videos/],
    ['a video model', { 'general.architecture': 'wan', 'wan.block_count': 3 }, /images or videos/],
    ['a speech model', { 'general.architecture': 'wavtokenizer-dec', 'wavtokenizer-dec.x': 1 }, /sound/],
    ['an image model we do not know', { 'general.architecture': 'dreamer' }, /of another program/],
    ['a reranker', { 'general.architecture': 'bert', 'bert.pooling_type': 4 }, /reranker/],
    ['a classifier', { ...llama, 'llama.classifier.output_labels': ['no', 'yes'] }, /classifier/],
    [
      'a text encoder of image models',
      { 'general.architecture': 't5encoder', 't5encoder.context_length': 512 },
      /text encoder/,
    ],
    ['a type we do not know', { 'general.type': 'dataset', ...llama }, /"dataset"/],
    ['one without an architecture', { 'general.name': 'x' }, /does not name its architecture/],
  ])('%s is left out, with why', async (_, facts, reason) => {
    put('x.gguf', gguf(facts));
    expect(await seen()).toEqual({
      models: [],
      leftOut: [{ file: 'x.gguf', reason: expect.stringMatching(reason) }],
    });
  });

  test.each([
    ['a vocabulary', gguf(llama, { tensors: 0 }), /vocabulary and no weights/],
    ['a web page', '<html></html>'.padEnd(64), /not a GGUF file/],
  ])('%s is left out, with why', async (_, bytes, reason) => {
    put('x.gguf', bytes);
    expect((await seen()).leftOut).toEqual([{ file: 'x.gguf', reason: expect.stringMatching(reason) }]);
  });

  test.each([
    ['writes', { 'general.type': 'model', ...llama }, 'text'],
    [
      'embeds by its architecture',
      { 'general.architecture': 'nomic-bert', 'nomic-bert.context_length': 1 },
      'embedding',
    ],
    ['embeds by how it pools', { 'general.architecture': 'qwen3', 'qwen3.pooling_type': 3 }, 'embedding'],
    ['writes, and pools nothing', { 'general.architecture': 'qwen3', 'qwen3.pooling_type': 0 }, 'text'],
    [
      'writes, in an architecture we do not know',
      { 'general.architecture': 'novel', 'novel.block_count': 1 },
      'text',
    ],
  ])('what %s is offered', async (_, facts, modality) => {
    put('mmproj-in-its-name.gguf', gguf(facts));
    expect(await names()).toEqual([['mmproj-in-its-name', modality]]);
  });
});

test('two files of one name in two folders are two models; one beside a split of it, too', async () => {
  for (const path of ['x.gguf', 'a/x.gguf', 'b/x.gguf', 'c/y.gguf']) put(path, gguf(llama));
  put('x-00001-of-00001.gguf', gguf(llama));
  expect((await names()).map(([name]) => name)).toEqual(['a/x', 'b/x', 'y', 'x-00001-of-00001', 'x']);
});

test('a file is looked at again when it has changed, and forgotten when it is gone', async () => {
  const watched = new GgufFolder(folder);
  put('x.gguf', 'half of it');
  expect(await watched.files()).toMatchObject([{ header: { problem: expect.any(String) } }]);
  put('x.gguf', gguf(llama));
  expect(await watched.files()).toMatchObject([{ header: { architecture: 'llama' } }]);
  rmSync(join(folder, 'x.gguf'));
  expect(await watched.files()).toEqual([]);
});

test('for any files, each is in one model or left out, no two models have a name, and no bytes are lost', () => {
  const header = fc.record({
    type: fc.constantFrom(null, 'model', 'adapter'),
    architecture: fc.constantFrom(null, 'llama', 'bert', 'flux'),
    name: fc.constant(null),
    contextLength: fc.constant(null),
    poolingType: fc.constantFrom(null, 0, 4),
    isClassifier: fc.constant(false),
    ownKeys: fc.nat(2),
    split: fc.option(fc.record({ no: fc.nat(3), count: fc.nat(70_000) })),
    tensors: fc.nat(2),
  });
  const file: fc.Arbitrary<GgufFile> = fc.record({
    path: fc.stringMatching(/^(a\/|b\/)?[xy](-0000[1-3]-of-0000[23])?\.gguf$/),
    bytes: fc.nat(100),
    header: fc.oneof(header, fc.record({ problem: fc.constant('It is damaged.') })),
  });
  fc.assert(
    fc.property(fc.uniqueArray(file, { selector: ({ path }) => path, maxLength: 12 }), (files) => {
      const { models, leftOut } = ggufModels(files);
      const used = models.flatMap(({ paths }) => paths);
      expect(new Set(used).size).toBe(used.length);
      expect(new Set(models.map(({ name }) => name)).size).toBe(models.length);
      expect(leftOut.every(({ file: path }) => !used.includes(path))).toBe(true);
      for (const { paths, bytes } of models) {
        const own = files.filter(({ path }) => paths.includes(path));
        expect(own.reduce((sum, one) => sum + one.bytes, 0)).toBe(bytes);
      }
      if (files.length > 0) expect(models.length + leftOut.length).toBeGreaterThan(0);
    }),
  );
});
