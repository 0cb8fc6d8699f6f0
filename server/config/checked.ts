import { Ajv, type ErrorObject, type Options } from 'ajv';
import type { Static, TSchema } from 'typebox';
import { schemaFault } from '../contract/schema-faults.ts';

/** A value that people or callers wrote holds something else than it should. The message names the place. */
export class InvalidValue extends Error {
  override readonly name = 'InvalidValue';
  /** Where, as a dotted path; empty for the whole. */
  readonly place: string;

  constructor(name: string, place: string, fault: string, options?: ErrorOptions) {
    super(`${name}: ${place === '' ? 'the top level' : place} ${fault}.`, options);
    this.place = place;
  }
}

const common: Options = { useDefaults: true, allErrors: false, strict: false, verbose: true };
const asWritten = new Ajv(common);
/** For forms, where everything is text. */
const fromText = new Ajv({ ...common, coerceTypes: true });

/** JSON text as a value of the schema, with defaults filled in. Throws InvalidValue naming the first fault. */
export function parseChecked<S extends TSchema>(schema: S, text: string, file: string): Static<S> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new InvalidValue(file, '', `is not valid JSON: ${detailOf(cause, text)}`, { cause });
  }
  return checked(schema, parsed, file);
}

/** What the parser says, which names line and column, and what people who write JSON by hand meant most often. */
function detailOf(cause: unknown, text: string): string {
  const detail = cause instanceof Error ? cause.message : String(cause);
  if (/escaped|Bad Unicode escape/i.test(detail))
    return `${detail}. In JSON a backslash is written twice: "C:\\\\models"`;
  if (/^\s*\/[/*]/m.test(text)) return `${detail}. Comments are not allowed in JSON`;
  if (/,\s*[\]}]/.test(text)) return `${detail}. No comma may stand before a closing bracket`;
  return detail;
}

/** The value itself, if it fits the schema; its missing parts are filled in with the defaults. */
export function checked<S extends TSchema>(
  schema: S,
  value: unknown,
  name: string,
  { isForm = false } = {},
): Static<S> {
  const validate = (isForm ? fromText : asWritten).compile<Static<S>>(schema);
  if (validate(value)) return value;
  throw invalid(name, validate.errors ?? []);
}

function invalid(name: string, errors: readonly ErrorObject[]): InvalidValue {
  const { place, says, why } = schemaFault(errors);
  return new InvalidValue(name, place, why === '' ? says : `${says}. ${why.replace(/\.$/, '')}`);
}
