import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { headBytes, type OpenedFile, openFile, seal } from './sealed-file.ts';

const key = randomBytes(32);
const sealedOf = (bytes: Uint8Array, about = 'a'): Buffer =>
  Buffer.concat([...seal(() => key, about, bytes)]);
const opened = (file: Buffer, about = 'a', other = key): Promise<OpenedFile> =>
  openFile(
    async (place, bytes) => file.subarray(place, place + bytes),
    file.length,
    () => other,
    about,
  );
async function part(file: OpenedFile, start = 0, end = file.bytes): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of file.read(start, end)) pieces.push(piece);
  return Buffer.concat(pieces);
}

test('S8: what is sealed comes back, whole and in any part', async () => {
  const length = fc.oneof(
    fc.integer({ min: 0, max: 300 }),
    fc.constantFrom(65_535, 65_536, 65_537, 131_072, 200_000),
  );
  await fc.assert(
    fc.asyncProperty(length, fc.nat(), fc.nat(), async (bytes, one, other) => {
      const content = randomBytes(bytes);
      const file = await opened(sealedOf(content));
      expect([file.isSealed, file.bytes]).toEqual([true, bytes]);
      expect((await part(file)).equals(content)).toBe(true);
      const [start = 0, end = 0] = [one % (bytes + 1), other % (bytes + 1)].toSorted((a, b) => a - b);
      expect((await part(file, start, end)).equals(content.subarray(start, end))).toBe(true);
    }),
    { numRuns: 60 },
  );
});

test('nothing of it can be read in the file', () => {
  expect(sealedOf(Buffer.from('parameters: a secret kiln')).includes('secret')).toBe(false);
});

test.each<[string, (file: Buffer) => Buffer]>([
  ['a byte changed', (file) => file.with(headBytes + 5, (file[headBytes + 5] ?? 0) ^ 1) as Buffer],
  ['cut off within a piece', (file) => file.subarray(0, -1)],
  ['cut off between two pieces', (file) => file.subarray(0, headBytes + 65_552)],
  ['pieces in another order', (file) => swapped(file)],
  ['another salt', (file) => Buffer.concat([file.subarray(0, 8), randomBytes(16), file.subarray(24)])],
])('with %s it does not open', async (what, change) => {
  const file = Buffer.from(change(sealedOf(randomBytes(131_072))));
  const other = what === 'another salt' ? randomBytes(32) : key;
  await expect(opened(file, 'a', other).then((one) => part(one))).rejects.toThrow();
});

test('under another name, or with another key, it does not open', async () => {
  const file = sealedOf(Buffer.from('a picture'));
  await expect(opened(file, 'b').then((one) => part(one))).rejects.toThrow();
  await expect(opened(file, 'a', randomBytes(32)).then((one) => part(one))).rejects.toThrow();
});

test('one that was written before files were sealed is read as it is', async () => {
  for (const content of [Buffer.alloc(0), Buffer.from('short'), randomBytes(100_000)]) {
    const file = await opened(content);
    expect([file.isSealed, file.bytes]).toEqual([false, content.length]);
    expect((await part(file)).equals(content)).toBe(true);
    expect((await part(file, 2, 4)).equals(content.subarray(2, 4))).toBe(true);
  }
});

function swapped(file: Buffer): Buffer {
  const piece = 65_552;
  const [head, first, second] = [
    file.subarray(0, headBytes),
    file.subarray(headBytes, headBytes + piece),
    file.subarray(headBytes + piece),
  ];
  return Buffer.concat([head, second, first]);
}
