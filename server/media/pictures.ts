import { open } from 'node:fs/promises';
import { limits } from '../contract/limits.ts';
import { ApiError } from '../http/api-error.ts';
import type { PictureResult, PictureSource, PictureWork } from './picture-work.ts';
import { ToolDied, ToolProcess, ToolRefusal } from './tool-process.ts';
import { programBeside } from '../../gpu/program.ts';

/** Pictures that came from outside, made harmless and fit for use by a process that can die of them. */
export class Pictures {
  readonly #tool: ToolProcess;

  constructor(env: Readonly<Record<string, string>>) {
    const { requestMs, idleMs } = limits.pictureProcess;
    const program = programBeside(import.meta.url, 'picture-process');
    this.#tool = new ToolProcess({ program, env, requestMs, idleMs });
  }

  /** Rejects with an ApiError that names the parameter the picture came in. Tenants take turns. */
  async work(work: PictureWork, param: string, tenant: string): Promise<PictureResult> {
    const refused = (why: string, cause: unknown): ApiError =>
      new ApiError('invalid_image', `The ${param} ${why}`, { param, cause });
    if (!isPicture(await headOf(work.bytes))) throw refused('is not a PNG, JPEG or WebP picture.', null);
    try {
      return (await this.#tool.ask(work, tenant)) as PictureResult;
    } catch (error) {
      if (error instanceof ToolRefusal) throw refused(error.message, error);
      if (error instanceof ToolDied)
        throw refused('could not be read: it takes too much memory or time.', error);
      throw error;
    }
  }

  close(): void {
    this.#tool.close();
  }
}

const headBytes = 12;

async function headOf(source: PictureSource): Promise<Uint8Array> {
  if (typeof source !== 'string') return source.subarray(0, headBytes);
  const file = await open(source);
  try {
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(headBytes), position: 0 });
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** By its first bytes, whatever it is said to be. */
function isPicture(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes).toString('latin1');
  return (
    head.startsWith('\x89PNG\r\n\x1a\n') ||
    head.startsWith('\xff\xd8\xff') ||
    (head.startsWith('RIFF') && head.endsWith('WEBP'))
  );
}
