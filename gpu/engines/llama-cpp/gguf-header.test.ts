import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { tinyGguf } from '../../../scripts/make-tiny-gguf.ts';
import { EngineError } from '../engine-error.ts';
import { readGgufHeader } from './gguf-header.ts';

const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-gguf-'));
const genuine = tinyGguf();

function file(bytes: Uint8Array): string {
  const path = join(folder, 'model.gguf');
  writeFileSync(path, bytes);
  return path;
}

test('a genuine file is read', async () => {
  expect(await readGgufHeader(file(genuine))).toEqual({
    type: null,
    architecture: 'llama',
    name: 'tiny random llama',
    contextLength: 2048,
    poolingType: null,
    isClassifier: false,
    ownKeys: 9,
    split: null,
    tensors: 21,
  });
});

test.each([
  ['0 bytes', Buffer.alloc(0)],
  ['another format', Buffer.from('PK\u0003\u0004'.padEnd(64, 'x'))],
  ['truncated in the header', genuine.subarray(0, 200)],
  [
    'a count beyond all reason',
    Buffer.concat([genuine.subarray(0, 8), Buffer.alloc(16, 0xff), genuine.subarray(24)]),
  ],
])('F29: %s is refused', async (_, bytes) => {
  await expect(readGgufHeader(file(bytes))).rejects.toThrow(EngineError);
});

test('F29: any damage to the head is either harmless or refused, never a crash or a hang', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(4_000), fc.uint8Array({ minLength: 1, maxLength: 16 }), async (at, damage) => {
      const bytes = Buffer.from(genuine.subarray(0, 16_000));
      bytes.set(damage, at);
      await readGgufHeader(file(bytes)).catch((error: unknown) => expect(error).toBeInstanceOf(EngineError));
    }),
    { numRuns: 300 },
  );
});
