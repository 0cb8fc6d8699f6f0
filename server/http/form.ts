import type { Multipart } from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import { ApiError } from './api-error.ts';

/** Errors of the form itself, which come out of the file that is being read. */
const broken = new WeakSet<Error>();

/**
 * The parts of a form, in order. A form that ends too early, or has another boundary than its Content-Type says, is the
 * caller's mistake, wherever in it that shows: use `isBrokenForm` for errors of reading a part.
 *
 * @param wanted what to send instead, for those who send no form at all
 */
export async function* formParts(request: FastifyRequest, wanted: string): AsyncGenerator<Multipart> {
  if (!request.isMultipart()) throw new ApiError('unsupported_media_type', wanted);
  try {
    for await (const part of request.parts()) {
      if (part.type === 'file') part.file.on('error', mark);
      yield part;
    }
  } catch (error) {
    if (error instanceof Error) mark(error);
    throw error;
  }
}

/** Whether an error says that a form cannot be read. */
export function isBrokenForm(error: Error): boolean {
  return broken.has(error);
}

/** What a file could not be written to has a code; what is wrong with the form has none. */
function mark(error: Error): void {
  if (!('code' in error)) broken.add(error);
}
