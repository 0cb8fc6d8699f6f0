import { EngineError } from './engine-error.ts';
import { field } from './http.ts';

/** What a request for embeddings says of the vectors that it wants. */
interface Wanted {
  readonly input?: unknown;
  readonly encoding_format?: unknown;
  readonly dimensions?: unknown;
}

const floatBytes = 4;

/**
 * The vectors of an answer in the order of the inputs and in the form that was asked for: numbers, or base64 of
 * little-endian 32-bit floats. LM Studio sends numbers whatever it is asked for, and the official client, which asks
 * for base64 of its own accord, then reads zeros. `isChanged` is false where the engine did as asked.
 */
export function vectorsAsAsked(
  data: unknown,
  wanted: Wanted,
): { readonly data: readonly object[]; readonly isChanged: boolean } {
  const { input, dimensions } = wanted;
  const expected = Array.isArray(input) && typeof input[0] !== 'number' ? input.length : 1;
  if (!Array.isArray(data) || data.length !== expected) {
    throw new EngineError('bad_answer', `It was asked for ${expected} embeddings.`);
  }
  const asBase64 = wanted.encoding_format === 'base64';
  let isChanged = false;
  let length: number | null = null;
  // Servers that number nothing, or everything alike, list in order.
  const isNumbered = new Set(data.map((item: unknown) => field(item, 'index'))).size > 1;
  const vectors = data.map((item: unknown, position) => {
    const index = isNumbered ? field(item, 'index') : position;
    if (field(item, 'index') !== position) isChanged = true;
    const sent = field(item, 'embedding');
    const numbers = numbersOf(sent);
    length ??= numbers.length;
    if (numbers.length !== length) {
      throw new EngineError('bad_answer', 'Its vectors differ in length.');
    }
    if ((typeof sent === 'string') !== asBase64) isChanged = true;
    const embedding =
      (typeof sent === 'string') === asBase64 ? sent : asBase64 ? encode(numbers) : [...numbers];
    return { ...(typeof item === 'object' && item), object: 'embedding', index, embedding };
  });
  if (typeof dimensions === 'number' && length !== dimensions) {
    throw new EngineError(
      'unsupported',
      `The model’s vectors have ${length} numbers, and ${dimensions} were asked for. Leave "dimensions" out.`,
    );
  }
  return { data: inOrder(vectors), isChanged };
}

/** Clients take the first vector for the first input, whatever its index says. */
function inOrder<Item extends { readonly index: unknown }>(items: readonly Item[]): Item[] {
  const sorted = items.toSorted((a, b) => Number(a.index) - Number(b.index));
  if (sorted.some(({ index }, position) => index !== position)) {
    throw new EngineError('bad_answer', 'The indices of its vectors are not those of the inputs.');
  }
  return sorted;
}

/** A vector's numbers, each of them one that a 32-bit float can hold. */
function numbersOf(vector: unknown): readonly number[] {
  const numbers = typeof vector === 'string' ? decode(vector) : vector;
  if (!Array.isArray(numbers) || numbers.length === 0) {
    throw new EngineError('bad_answer', 'A vector in it is empty or no vector.');
  }
  if (!numbers.every(isFloat)) {
    throw new EngineError('bad_answer', 'A vector in it holds something that is no number.');
  }
  return numbers;
}

function isFloat(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(Math.fround(value));
}

function decode(base64: string): number[] {
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.length % floatBytes !== 0) {
    throw new EngineError('bad_answer', 'A vector in it is cut off.');
  }
  return Array.from({ length: bytes.length / floatBytes }, (_, i) => bytes.readFloatLE(i * floatBytes));
}

function encode(numbers: readonly number[]): string {
  const bytes = Buffer.alloc(numbers.length * floatBytes);
  for (const [i, number] of numbers.entries()) bytes.writeFloatLE(number, i * floatBytes);
  return bytes.toString('base64');
}
