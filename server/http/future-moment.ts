import { ApiError } from './api-error.ts';

/** A date and time that a person wrote, which has to lie ahead. */
export function futureMoment(text: string, param: string): number {
  const at = Date.parse(text);
  if (at > Date.now()) return at;
  throw new ApiError('invalid_request', `"${param}" is no date and time that lies ahead.`, { param });
}
