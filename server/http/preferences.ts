const token = String.raw`[!#$%&'*+.^\x60|~\w-]+`;
/** One preference with its parameters; commas and semicolons in quotes belong to it. */
const entry = /(?:[^,"]|"(?:[^"\\]|\\.)*")+/g;
const named = new RegExp(String.raw`^\s*(${token})\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|(${token})))?\s*(?:;|$)`);

/** The value of a preference in a `Prefer` header (RFC 7240); the first one counts. Null where it is not there. */
export function preferenceOf(header: string | readonly string[] | undefined, name: string): string | null {
  for (const [part] of [header ?? []].flat().join(',').matchAll(entry)) {
    const [, given, quoted, plain] = named.exec(part) ?? [];
    if (given?.toLowerCase() === name) return quoted?.replaceAll(/\\(.)/g, '$1') ?? plain ?? '';
  }
  return null;
}
