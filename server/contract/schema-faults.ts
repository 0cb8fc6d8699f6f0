import type { ErrorObject } from 'ajv';

/**
 * What a schema says beside the rules of JSON Schema, for people:
 * - `x-form`: what a text with a `pattern` must look like, after "must be": "a data URL of a PNG".
 * - `x-why`: a sentence that is added to the error: why a value cannot be taken, and what to do instead.
 */
interface Noted {
  readonly 'x-form'?: string;
  readonly 'x-why'?: string;
}

type Schema = Noted & Readonly<Record<string, unknown>>;

/** The first fault of a value, for people. */
export interface SchemaFault {
  readonly kind: 'unknown' | 'missing' | 'wrong';
  /** The parameter, as a dotted path; empty for the whole value. */
  readonly place: string;
  /** What it must be, after its name: "must be a whole number from 1 to 4". */
  readonly says: string;
  /** A sentence with the reason; empty where the schema gives none. */
  readonly why: string;
}

/**
 * The fault that helps most among those that ajv found. Where a value fits none of several forms, this is the fault
 * inside the form that was probably meant. Needs ajv's `verbose`.
 */
export function schemaFault(errors: readonly ErrorObject[]): SchemaFault {
  const error = mostTelling(errors);
  if (!error) return { kind: 'wrong', place: '', says: 'is not as it must be', why: '' };
  const place = dotted(error.instancePath);
  const why = notesOf(error)['x-why'] ?? '';
  const inside = (name: unknown): string => [place, String(name)].filter(Boolean).join('.');
  if (error.keyword === 'additionalProperties')
    return {
      kind: 'unknown',
      place: inside(error.params['additionalProperty']),
      says: 'is not known here',
      why,
    };
  if (error.keyword === 'required')
    return { kind: 'missing', place: inside(error.params['missingProperty']), says: 'is missing', why };
  return { kind: 'wrong', place, says: requirement(error), why };
}

/** With allErrors off, the last error is the outermost one, and an `anyOf` is preceded by the faults of its branches. */
function mostTelling(errors: readonly ErrorObject[]): ErrorObject | undefined {
  const outer = errors.at(-1);
  if (outer?.keyword !== 'anyOf') return outer;
  const branches = outer.schema as readonly Schema[];
  const fitting = (closeness: number): number[] =>
    branches.flatMap((branch, index) => (couldBe(branch, outer.data, closeness) ? [index] : []));
  const [only, ...others] = [3, 2, 1, 0].map(fitting).find(({ length }) => length > 0) ?? [];
  if (only === undefined || others.length > 0) return byMark(outer, branches) ?? outer;
  const inside = errors.filter(({ schemaPath }) => schemaPath.startsWith(`${outer.schemaPath}/${only}/`));
  return mostTelling(inside) ?? outer;
}

/** Of forms that are told apart by a mark (`type: 'text'`), none has the mark that was given: the mark is at fault. */
function byMark(outer: ErrorObject, branches: readonly Schema[]): ErrorObject | undefined {
  const objects = branches.filter(({ type }) => type === 'object').map(propertiesOf);
  if (objects.length < 2 || !isObject(outer.data)) return undefined;
  const name = Object.keys(objects[0] ?? {}).find((key) =>
    objects.every((one) => 'const' in (one[key] ?? {})),
  );
  if (name === undefined) return undefined;
  if (!(name in outer.data)) return { ...outer, keyword: 'required', params: { missingProperty: name } };
  const marks = objects.flatMap((one): Schema[] => (one[name] ? [one[name]] : []));
  if (marks.some((mark) => mark['const'] === (outer.data as Record<string, unknown>)[name])) return undefined;
  const instancePath = `${outer.instancePath}/${name}`;
  return { ...outer, instancePath, schema: marks, parentSchema: { anyOf: marks } };
}

/**
 * Whether a value fits a schema closely enough: is of its type (0), as is the first entry of a list (1), has the marks of
 * an object (2), and all that it needs (3).
 */
function couldBe(schema: Schema, value: unknown, closeness: number): boolean {
  if ('const' in schema) return schema['const'] === value;
  const forms = branchesOf(schema);
  if (forms) return forms.some((form) => couldBe(form, value, closeness));
  switch (schema['type']) {
    case 'object':
      return (
        isObject(value) &&
        (closeness < 2 || hasMarks(schema, value)) &&
        (closeness < 3 || hasAll(schema, value))
      );
    case 'array':
      return (
        Array.isArray(value) && (closeness < 1 || value.length === 0 || itemFits(schema, value[0], closeness))
      );
    case 'integer':
    case 'number':
      return typeof value === 'number';
    case 'null':
      return value === null;
    case undefined:
      return true;
    default:
      return typeof value === schema['type'];
  }
}

function hasMarks(schema: Schema, value: Readonly<Record<string, unknown>>): boolean {
  return Object.entries(propertiesOf(schema)).every(
    ([key, one]) => !('const' in one) || one['const'] === value[key],
  );
}

function hasAll({ required }: Schema, value: Readonly<Record<string, unknown>>): boolean {
  return !Array.isArray(required) || required.every((name) => String(name) in value);
}

function itemFits({ items }: Schema, value: unknown, closeness: number): boolean {
  return !isObject(items) || couldBe(items, value, closeness);
}

/** What was demanded, from "must" on. */
function requirement({ keyword, params, parentSchema, message }: ErrorObject): string {
  const limit = Number(params['limit']);
  switch (keyword) {
    case 'minLength':
      return limit === 1 ? 'must not be empty' : `must have at least ${limit} characters`;
    case 'maxLength':
      return `must have at most ${limit} characters`;
    case 'minItems':
    case 'minProperties':
      return limit === 1 ? 'must not be empty' : `must hold at least ${count(limit)}`;
    case 'maxItems':
    case 'maxProperties':
      return `must hold at most ${count(limit)}`;
    case 'uniqueItems':
      return 'must not hold the same entry twice';
    case 'multipleOf':
      return `must be a multiple of ${params['multipleOf']}`;
    case 'not':
    case 'false schema':
      return 'cannot be used here';
    case 'type':
    case 'const':
    case 'enum':
    case 'anyOf':
    case 'pattern':
    case 'format':
    case 'minimum':
    case 'maximum':
    case 'exclusiveMinimum':
    case 'exclusiveMaximum':
      return `must be ${phraseOf(parentSchema ?? {})}`;
    default:
      return message ?? 'is not as it must be';
  }
}

/** What fits a schema, as a noun phrase: "a whole number from 1 to 4", "one of \"a\", \"b\"". */
function phraseOf(schema: Schema): string {
  const form = schema['x-form'];
  if (form !== undefined) return form;
  if ('const' in schema) return JSON.stringify(schema['const']);
  const listed = schema['enum'];
  if (Array.isArray(listed)) return oneOf(listed.map((value) => JSON.stringify(value)));
  const forms = branchesOf(schema);
  if (forms) {
    const phrases = [...new Set(forms.map(phraseOf))];
    const areValues = forms.every((one) => 'const' in one || one['type'] === 'null');
    return areValues ? oneOf(phrases) : joined(phrases, 'or');
  }
  switch (schema['type']) {
    case 'integer':
      return numberPhrase('a whole number', schema);
    case 'number':
      return numberPhrase('a number', schema);
    case 'boolean':
      return 'true or false';
    case 'array':
      return listPhrase(schema['items']);
    case 'object':
      return objectPhrase(schema);
    case 'null':
      return 'null';
    case 'string':
      return 'a string';
    default:
      return 'another value';
  }
}

function objectPhrase({ required }: Schema): string {
  const names = Array.isArray(required) ? required.map((name) => JSON.stringify(name)) : [];
  return names.length === 0 ? 'a JSON object' : `a JSON object with ${joined(names, 'and')}`;
}

function listPhrase(items: unknown): string {
  if (!isObject(items)) return 'a list';
  const plurals: Readonly<Record<string, string>> = {
    string: 'strings',
    integer: 'whole numbers',
    number: 'numbers',
    object: 'JSON objects',
    array: 'lists',
  };
  const plural = 'const' in items ? undefined : plurals[String(items['type'])];
  return plural === undefined ? 'a list' : `a list of ${plural}`;
}

function numberPhrase(noun: string, schema: Schema): string {
  const bound = (...names: string[]): number | undefined =>
    names.map((name) => schema[name]).find((value) => typeof value === 'number');
  const least = bound('minimum', 'exclusiveMinimum');
  const most = bound('maximum', 'exclusiveMaximum');
  if (least === undefined) return most === undefined ? noun : `${noun} of at most ${most}`;
  if (most === undefined) return `${noun} of at least ${least}`;
  return least === most ? String(least) : `${noun} from ${least} to ${most}`;
}

function count(entries: number): string {
  return entries === 1 ? '1 entry' : `${entries} entries`;
}

function oneOf(phrases: readonly string[]): string {
  return phrases.length === 1 ? String(phrases[0]) : `one of ${joined(phrases, 'or')}`;
}

function joined(phrases: readonly string[], word: string): string {
  if (phrases.length < 2) return phrases.join('');
  return `${phrases.slice(0, -1).join(', ')} ${word} ${phrases.at(-1)}`;
}

/** A reason is given for a wrong kind of value, not for one that is too long. */
const aboutLength = new Set(['minLength', 'maxLength', 'minItems']);

function notesOf({ parentSchema, keyword, schema }: ErrorObject): Noted {
  const notes = (parentSchema ?? {}) as Noted;
  if (aboutLength.has(keyword)) return {};
  if (notes['x-why'] !== undefined || keyword !== 'anyOf') return notes;
  // A union says why where one of its forms does.
  return (schema as readonly Noted[]).find((one) => one['x-why'] !== undefined) ?? notes;
}

function branchesOf(schema: Schema): readonly Schema[] | null {
  const forms = schema['anyOf'];
  return Array.isArray(forms) ? (forms as readonly Schema[]) : null;
}

function propertiesOf(schema: Schema): Readonly<Record<string, Schema>> {
  return (schema['properties'] ?? {}) as Readonly<Record<string, Schema>>;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A JSON pointer as people write it. */
function dotted(pointer: string): string {
  return pointer
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .join('.');
}
