import { open } from 'node:fs/promises';
import { EngineError } from '../engine-error.ts';

export interface GgufHeader {
  /** `general.type`: model, adapter, imatrix, mmproj; null where it does not say. */
  readonly type: string | null;
  /** Null in the later parts of a split, which do not repeat it. */
  readonly architecture: string | null;
  readonly name: string | null;
  readonly contextLength: number | null;
  /** How vectors are made of tokens, as llama.cpp numbers it. */
  readonly poolingType: number | null;
  /** True where it has labels to choose from: rerankers and classifiers. */
  readonly isClassifier: boolean;
  /** Facts under the architecture's own name: what llama.cpp needs to run it. */
  readonly ownKeys: number;
  /** Which part of how many it is, from 0; null where it is whole. */
  readonly split: { readonly no: number; readonly count: number } | null;
  /** None in a file that holds a vocabulary alone, or the head of a split. */
  readonly tensors: number;
}

/** No real model comes near these; a damaged or hostile file does. */
const limits = { headerBytes: 64 * 1024 * 1024, entries: 10_000, tensors: 100_000, keyBytes: 1_000 } as const;

/** Sizes of GGUF's scalar value types, by their number; 8 is a string and 9 an array. */
const scalarBytes: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};

/**
 * Reads and checks the head of a GGUF file (format versions 2 and 3): every length in it is compared with the size
 * of the file before anything is believed, because llama.cpp is not the place to find out.
 */
export async function readGgufHeader(path: string): Promise<GgufHeader> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const buffer = Buffer.alloc(Math.min(size, limits.headerBytes));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
    return parse(new Reader(buffer.subarray(0, bytesRead)), size);
  } finally {
    await file.close();
  }
}

function parse(reader: Reader, fileBytes: number): GgufHeader {
  if (fileBytes < 24 || reader.text(4) !== 'GGUF') throw invalid('It is not a GGUF file.');
  const version = reader.uint32();
  if (version !== 2 && version !== 3) throw invalid(`Its version is ${version}, not 2 or 3.`);
  const tensors = reader.uint64();
  const entries = reader.uint64();
  if (entries > limits.entries || tensors > limits.tensors) throw invalid('Its counts are absurd.');
  const facts = new Map<string, string | number>();
  const keys = new Set<string>();
  for (let i = 0; i < entries; i += 1) {
    const key = reader.string(limits.keyBytes);
    keys.add(key);
    const value = reader.value(reader.uint32());
    if (value !== null) facts.set(key, value);
  }
  const text = (key: string): string | null => {
    const value = facts.get(key);
    return typeof value === 'string' ? value : null;
  };
  const number = (key: string): number | null => {
    const value = facts.get(key);
    return typeof value === 'number' ? value : null;
  };
  // Each tensor takes at least its own description in the header and one byte of data.
  if (tensors * 33 > fileBytes) throw invalid('It is shorter than its own list of tensors.');
  const architecture = text('general.architecture');
  const own = `${architecture}.`;
  const count = number('split.count');
  return {
    type: text('general.type'),
    architecture,
    name: text('general.name'),
    contextLength: number(`${own}context_length`),
    poolingType: number(`${own}pooling_type`),
    isClassifier: keys.has(`${own}classifier.output_labels`),
    ownKeys: architecture === null ? 0 : [...keys].filter((key) => key.startsWith(own)).length,
    split: count !== null && count > 1 ? { no: number('split.no') ?? 0, count } : null,
    tensors,
  };
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  #take(length: number): number {
    const at = this.#at;
    if (length < 0 || length > this.#bytes.length - at) throw invalid('It ends in the middle of its header.');
    this.#at += length;
    return at;
  }

  uint32(): number {
    return this.#bytes.readUInt32LE(this.#take(4));
  }

  uint64(): number {
    const value = this.#bytes.readBigUInt64LE(this.#take(8));
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid('A length in it is absurd.');
    return Number(value);
  }

  text(length: number): string {
    const at = this.#take(length);
    return this.#bytes.toString('utf8', at, at + length);
  }

  string(maxBytes: number): string {
    const length = this.uint64();
    if (length > maxBytes) throw invalid('A name in it is absurdly long.');
    return this.text(length);
  }

  /** A value of the given type; null for what nobody asks for, which is only stepped over. */
  value(type: number): string | number | null {
    if (type === 8) {
      const length = this.uint64();
      const at = this.#take(length);
      return length <= 4_096 ? this.#bytes.toString('utf8', at, at + length) : null;
    }
    if (type === 9) {
      const inner = this.uint32();
      const count = this.uint64();
      const bytes = scalarBytes[inner];
      if (bytes !== undefined) this.#take(count * bytes);
      else if (inner === 8) for (let i = 0; i < count; i += 1) this.#take(this.uint64());
      else throw invalid('It holds a value of an unknown type.');
      return null;
    }
    const bytes = scalarBytes[type];
    if (bytes === undefined) throw invalid('It holds a value of an unknown type.');
    const at = this.#take(bytes);
    if (type === 0) return this.#bytes.readUInt8(at);
    if (type === 1) return this.#bytes.readInt8(at);
    if (type === 2) return this.#bytes.readUInt16LE(at);
    if (type === 3) return this.#bytes.readInt16LE(at);
    if (type === 4) return this.#bytes.readUInt32LE(at);
    if (type === 5) return this.#bytes.readInt32LE(at);
    if (type === 10) return Number(this.#bytes.readBigUInt64LE(at));
    return null;
  }
}

function invalid(detail: string): EngineError {
  return new EngineError('model_invalid', detail);
}
