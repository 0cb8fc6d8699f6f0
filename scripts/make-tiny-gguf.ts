import { writeFileSync } from 'node:fs';

/*
 * Writes a tiny GGUF file: a real llama model with random weights and a vocabulary of bytes, half a megabyte. It
 * babbles, but through the same native code as any other model, so tests run the real engine.
 *
 *   node scripts/make-tiny-gguf.ts <file>
 *
 * Format: GGUF version 3 (little-endian), tensors as 32-bit floats, aligned to 32 bytes.
 */
const shape = { context: 2048, embedding: 64, blocks: 2, feedForward: 128, heads: 4, alignment: 32 } as const;

type Value =
  | { type: 'uint16' | 'uint32' | 'int32' | 'float32'; value: number }
  | { type: 'string'; value: string }
  | { type: 'strings'; value: string[] }
  | { type: 'float32s' | 'int32s'; value: number[] };
const typeNumbers = { uint16: 2, uint32: 4, int32: 5, float32: 6, string: 8, array: 9 } as const;

/** Tokens: unknown, begin, end, then one for each byte (type 6) and the printable characters as text (type 1). */
function vocabulary(): { tokens: string[]; scores: number[]; types: number[] } {
  const tokens = ['<unk>', '<s>', '</s>'];
  const types = [2, 3, 3];
  for (let byte = 0; byte < 256; byte += 1) {
    tokens.push(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
    types.push(6);
  }
  for (const letter of '▁abcdefghijklmnopqrstuvwxyz') {
    tokens.push(letter);
    types.push(1);
  }
  return { tokens, types, scores: tokens.map((_, index) => -index) };
}

/** xorshift32: the same file every time. */
function randomWeights(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return ((state >>> 0) / 2 ** 32 - 0.5) * 0.2;
  });
}

type Metadata = readonly (readonly [string, Value])[];
interface Tensor {
  readonly name: string;
  readonly dimensions: readonly number[];
  readonly seed: number;
}

export function tinyGguf(seed = 20): Buffer {
  return gguf(metadata(), tensors(seed));
}

/** The same model in parts, as `gguf-split --no-tensor-first-split` writes them: the first holds the head alone. */
export function tinyGgufParts(seed = 20): Buffer[] {
  const all = tensors(seed);
  const half = Math.ceil(all.length / 2);
  const parts = [[], all.slice(0, half), all.slice(half)];
  return parts.map((own, no) => {
    const split: Metadata = [
      ['split.no', { type: 'uint16', value: no }],
      ['split.count', { type: 'uint16', value: parts.length }],
      ['split.tensors.count', { type: 'int32', value: all.length }],
    ];
    return gguf(no === 0 ? [...metadata(), ...split] : split, own);
  });
}

function metadata(): Metadata {
  const { tokens, scores, types } = vocabulary();
  return [
    ['general.architecture', { type: 'string', value: 'llama' }],
    ['general.name', { type: 'string', value: 'tiny random llama' }],
    ['llama.context_length', { type: 'uint32', value: shape.context }],
    ['llama.embedding_length', { type: 'uint32', value: shape.embedding }],
    ['llama.block_count', { type: 'uint32', value: shape.blocks }],
    ['llama.feed_forward_length', { type: 'uint32', value: shape.feedForward }],
    ['llama.attention.head_count', { type: 'uint32', value: shape.heads }],
    ['llama.attention.head_count_kv', { type: 'uint32', value: shape.heads }],
    ['llama.rope.dimension_count', { type: 'uint32', value: shape.embedding / shape.heads }],
    ['llama.attention.layer_norm_rms_epsilon', { type: 'float32', value: 1e-5 }],
    ['llama.vocab_size', { type: 'uint32', value: tokens.length }],
    ['tokenizer.ggml.model', { type: 'string', value: 'llama' }],
    ['tokenizer.ggml.tokens', { type: 'strings', value: tokens }],
    ['tokenizer.ggml.scores', { type: 'float32s', value: scores }],
    ['tokenizer.ggml.token_type', { type: 'int32s', value: types }],
    ['tokenizer.ggml.bos_token_id', { type: 'uint32', value: 1 }],
    ['tokenizer.ggml.eos_token_id', { type: 'uint32', value: 2 }],
    ['tokenizer.ggml.unknown_token_id', { type: 'uint32', value: 0 }],
  ];
}

function tensors(seed: number): Tensor[] {
  const { embedding: e, feedForward: f } = shape;
  const words = vocabulary().tokens.length;
  const list: [string, number[]][] = [['token_embd.weight', [e, words]]];
  for (let block = 0; block < shape.blocks; block += 1) {
    list.push(
      [`blk.${block}.attn_norm.weight`, [e]],
      [`blk.${block}.attn_q.weight`, [e, e]],
      [`blk.${block}.attn_k.weight`, [e, e]],
      [`blk.${block}.attn_v.weight`, [e, e]],
      [`blk.${block}.attn_output.weight`, [e, e]],
      [`blk.${block}.ffn_norm.weight`, [e]],
      [`blk.${block}.ffn_gate.weight`, [e, f]],
      [`blk.${block}.ffn_up.weight`, [e, f]],
      [`blk.${block}.ffn_down.weight`, [f, e]],
    );
  }
  list.push(['output_norm.weight', [e]], ['output.weight', [e, words]]);
  return list.map(([name, dimensions], index) => ({ name, dimensions, seed: seed + index }));
}

function gguf(facts: Metadata, weights: readonly Tensor[]): Buffer {
  const head: Buffer[] = [Buffer.from('GGUF'), uint32(3), uint64(weights.length), uint64(facts.length)];
  for (const [key, value] of facts) head.push(string(key), encode(value));
  const data: Buffer[] = [];
  let offset = 0;
  for (const { name, dimensions, seed } of weights) {
    const count = dimensions.reduce((a, b) => a * b, 1);
    const numbers = dimensions.length === 1 ? new Float32Array(count).fill(1) : randomWeights(count, seed);
    head.push(string(name), uint32(dimensions.length), ...dimensions.map(uint64), uint32(0), uint64(offset));
    const bytes = pad(Buffer.from(numbers.buffer));
    data.push(bytes);
    offset += bytes.length;
  }
  return Buffer.concat([pad(Buffer.concat(head)), ...data]);
}

function encode(value: Value): Buffer {
  switch (value.type) {
    case 'uint16':
      return Buffer.concat([uint32(typeNumbers.uint16), uint32(value.value).subarray(0, 2)]);
    case 'int32':
      return Buffer.concat([uint32(typeNumbers.int32), uint32(value.value)]);
    case 'uint32':
      return Buffer.concat([uint32(typeNumbers.uint32), uint32(value.value)]);
    case 'float32':
      return Buffer.concat([uint32(typeNumbers.float32), float32(value.value)]);
    case 'string':
      return Buffer.concat([uint32(typeNumbers.string), string(value.value)]);
    case 'strings':
      return array(typeNumbers.string, value.value.map(string));
    case 'float32s':
      return array(typeNumbers.float32, value.value.map(float32));
    case 'int32s':
      return array(typeNumbers.int32, value.value.map(uint32));
  }
}

function array(inner: number, items: Buffer[]): Buffer {
  return Buffer.concat([uint32(typeNumbers.array), uint32(inner), uint64(items.length), ...items]);
}

function string(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([uint64(bytes.length), bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function float32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

function pad(bytes: Buffer): Buffer {
  const rest = bytes.length % shape.alignment;
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(shape.alignment - rest)]);
}

if (import.meta.main) {
  const [file] = process.argv.slice(2);
  if (!file) throw new Error('usage: node scripts/make-tiny-gguf.ts <file>');
  writeFileSync(file, tinyGguf());
}
