import { type FileHandle, open } from 'node:fs/promises';
import type { DownloadKind } from './downloads.ts';

/** What came is not a model file of its kind. The message says why. */
export class NotAModel extends Error {
  override readonly name = 'NotAModel';
}

const headBytes = 24;
/** The format's own bound of its header: https://github.com/huggingface/safetensors#format */
const safetensorsHeaderBytes = 100_000_000;
/** A name, a number of dimensions, a type and an offset: the least that a GGUF header says of a tensor. */
const ggufTensorBytes = 32;

/**
 * Looks at the head and the size of a file that was downloaded. Throws NotAModel for a page, a pointer of Git LFS, a
 * file that was cut off, and whatever else is not a model of the kind.
 */
export async function demandModel(path: string, name: string, kind: DownloadKind): Promise<void> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const head = Buffer.alloc(headBytes);
    const { bytesRead } = await file.read(head, 0, headBytes, 0);
    const about = { file, size, head: head.subarray(0, bytesRead) };
    if (kind === 'gguf') demandGguf(about);
    else if (/\.safetensors$/i.test(name)) await demandSafetensors(about);
    else demandCkpt(about);
  } finally {
    await file.close();
  }
}

interface Head {
  readonly file: FileHandle;
  readonly size: number;
  readonly head: Buffer;
}

/** Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */
function demandGguf({ size, head }: Head): void {
  if (head.length < headBytes || head.toString('latin1', 0, 4) !== 'GGUF')
    throw new NotAModel(`What came (${size} bytes) is not a GGUF file.`);
  const version = head.readUInt32LE(4);
  if (version !== 2 && version !== 3)
    throw new NotAModel(`The GGUF file has version ${version}; only 2 and 3 can be served.`);
  const tensors = head.readBigUInt64LE(8);
  const entries = head.readBigUInt64LE(16);
  if (entries === 0n || tensors * BigInt(ggufTensorBytes) > BigInt(size))
    throw new NotAModel(`The GGUF file is cut off: ${size} bytes are too few for its ${tensors} tensors.`);
}

async function demandSafetensors({ file, size, head }: Head): Promise<void> {
  const length = head.length < 8 ? 0n : head.readBigUInt64LE(0);
  if (length < 2n || length > BigInt(Math.min(safetensorsHeaderBytes, size - 8)))
    throw new NotAModel(`What came (${size} bytes) is not a safetensors file.`);
  const text = Buffer.alloc(Number(length));
  await file.read(text, 0, text.length, 8);
  let end = 0;
  try {
    const tensors = JSON.parse(text.toString()) as Record<string, { data_offsets?: [number, number] } | null>;
    for (const tensor of Object.values(tensors)) end = Math.max(end, tensor?.data_offsets?.[1] ?? 0);
  } catch {
    throw new NotAModel('The header of the safetensors file cannot be read.');
  }
  const wanted = 8 + text.length + end;
  if (wanted !== size)
    throw new NotAModel(
      `The safetensors file is damaged: it has ${size} bytes, and its header says ${wanted}.`,
    );
}

/** PyTorch's files are ZIP archives, or pickles where they are old. */
function demandCkpt({ size, head }: Head): void {
  const isZip = head.toString('latin1', 0, 4) === 'PK\x03\x04';
  if (size < 1_024 || !(isZip || head[0] === 0x80))
    throw new NotAModel(`What came (${size} bytes) is not a checkpoint of PyTorch.`);
}
