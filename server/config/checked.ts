import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';

/** A file that people write holds something else than it should. The message names the file and the place. */
export class InvalidFile extends Error {
  override readonly name = 'InvalidFile';
}

/** JSON text as a value of the schema, with defaults filled in. Throws InvalidFile naming the first fault. */
export function parseChecked<S extends TSchema>(schema: S, text: string, file: string): Static<S> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new InvalidFile(`${file} is not complete JSON: ${detail}`, { cause });
  }
  return checked(schema, parsed, file);
}

export function checked<S extends TSchema>(schema: S, value: unknown, name: string): Static<S> {
  const filled: unknown = Value.Default(schema, value);
  if (Value.Check(schema, filled)) return filled;
  const [first] = Value.Errors(schema, filled);
  const place = first?.instancePath ? first.instancePath.slice(1).replaceAll('/', '.') : 'the top level';
  const allowed =
    first && 'additionalProperties' in first.params
      ? ` (${String(first.params['additionalProperties'])})`
      : '';
  throw new InvalidFile(`${name}: ${place} ${first?.message ?? 'is wrong'}${allowed}.`);
}
