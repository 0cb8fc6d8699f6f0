/**
 * What a schema says of fields beside the rules of JSON Schema:
 * - `x-absent`: values that mean "not given", beside null.
 * - `x-no-effect`: the field is taken, and nothing here depends on it.
 * - `x-unknown-fields: 'ignored'`, on the schema of a body: fields it does not name are left out, not refused.
 */
interface FieldSchema {
  readonly type?: string;
  readonly anyOf?: readonly FieldSchema[];
  readonly properties?: Readonly<Record<string, FieldSchema>>;
  readonly required?: readonly string[];
  readonly items?: FieldSchema;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly not?: unknown;
  readonly 'x-absent'?: readonly unknown[];
  readonly 'x-no-effect'?: boolean;
  readonly 'x-unknown-fields'?: string;
}

/**
 * Takes what means "not given" out of a value, in place, at every depth: null where the schema has no use for it, and
 * whatever `x-absent` names. Clients in many languages write null for what is not set. What must be given stays, so
 * that the check that follows names it.
 */
export function dropAbsent(schema: object, value: unknown): void {
  drop([schema], value);
}

function drop(schemas: readonly FieldSchema[], value: unknown): void {
  const forms = schemas.flatMap(formsOf);
  if (Array.isArray(value)) {
    const items = forms.flatMap(({ items: each }) => each ?? []);
    if (items.length > 0) for (const item of value) drop(items, item);
    return;
  }
  if (!isRecord(value)) return;
  for (const [name, member] of Object.entries(value)) {
    const found = forms.flatMap(({ properties }) => properties?.[name] ?? []);
    if (found.length === 0) continue;
    const isNeeded = forms.some(({ required }) => required?.includes(name));
    if (!isNeeded && isAbsent(found.flatMap(formsOf), member)) delete value[name];
    else if (typeof member === 'object' && member !== null) drop(found, member);
  }
}

function isAbsent(forms: readonly FieldSchema[], value: unknown): boolean {
  if (forms.some(({ 'x-absent': absent }) => absent?.some((one) => isSame(one, value)))) return true;
  return value === null && !forms.some(takesNull);
}

/** Scalars, and the empty list. */
function isSame(one: unknown, other: unknown): boolean {
  return one === other || (Array.isArray(one) && Array.isArray(other) && other.length === 0);
}

function takesNull({ type, not, ...form }: FieldSchema): boolean {
  if (type !== undefined) return type === 'null';
  if ('const' in form) return form.const === null;
  return form.enum ? form.enum.includes(null) : not === undefined;
}

/**
 * Takes the fields that have no effect here out of a body, in place: those the schema says it of, and, where it says
 * so, those it does not name. Returns their names.
 */
export function dropIgnored(schema: object, body: unknown): string[] {
  if (!isRecord(body)) return [];
  const { properties = {}, 'x-unknown-fields': unknown } = schema as FieldSchema;
  const ignored: string[] = [];
  for (const [name, value] of Object.entries(body)) {
    const isKnown = Object.hasOwn(properties, name);
    const isIgnored = isKnown ? properties[name]?.['x-no-effect'] === true : unknown === 'ignored';
    if (!isIgnored) continue;
    delete body[name];
    // Null asks for nothing.
    if (value !== null) ignored.push(name);
  }
  return ignored;
}

const most = { names: 20, characters: 64 } as const;

/** Names of fields as the value of a header: at most twenty, what a header cannot hold in percent-encoding. */
export function fieldNamesHeader(names: readonly string[]): string {
  const shown = names
    .slice(0, most.names)
    .map((name) => encodeURIComponent(name.slice(0, most.characters).toWellFormed()));
  return [...shown, ...(names.length > most.names ? ['...'] : [])].join(', ');
}

function formsOf(schema: FieldSchema): readonly FieldSchema[] {
  // A union's own notes count as well as those of its forms.
  return schema.anyOf ? [...schema.anyOf.flatMap(formsOf), ...notesOf(schema)] : [schema];
}

function notesOf({ 'x-absent': absent }: FieldSchema): readonly FieldSchema[] {
  return absent ? [{ not: {}, 'x-absent': absent }] : [];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
