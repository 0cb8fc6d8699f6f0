/** How a setting is asked for, from what it may be. */
export type SettingKind =
  | { readonly kind: 'flag' }
  | {
      readonly kind: 'number';
      readonly min: number | null;
      readonly max: number | null;
      readonly isWhole: boolean;
    }
  | { readonly kind: 'text' }
  | { readonly kind: 'secret' }
  | { readonly kind: 'list' }
  | { readonly kind: 'choice'; readonly choices: readonly string[] };

interface Schema {
  readonly type?: string;
  readonly anyOf?: readonly Schema[];
  readonly const?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
}

/** The control for a setting, and whether it may be left empty (null). Pure. */
export function kindOf(given: unknown, isSecret: boolean): SettingKind & { readonly isOptional: boolean } {
  const schema = given as Schema;
  const parts = schema.anyOf ?? [schema];
  const isOptional = parts.some(({ type }) => type === 'null');
  const real = parts.filter(({ type }) => type !== 'null').flatMap((part) => part.anyOf ?? [part]);
  if (isSecret) return { kind: 'secret', isOptional };
  if (real.length > 0 && real.every((part) => part.const !== undefined))
    return { kind: 'choice', choices: real.map((part) => String(part.const)), isOptional };
  const { type, minimum = null, maximum = null } = real[0] ?? {};
  if (type === 'boolean') return { kind: 'flag', isOptional };
  if (type === 'integer' || type === 'number')
    return { kind: 'number', min: minimum, max: maximum, isWhole: type === 'integer', isOptional };
  if (type === 'array') return { kind: 'list', isOptional };
  return { kind: 'text', isOptional };
}

/** capMib as "Cap (MiB)", maxWaitSeconds as "Max wait (seconds)". Pure. */
export function titleOf(path: string): string {
  const name = path.split('.').at(-1) ?? path;
  const words = name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2')
    .split(' ')
    .map((word) => (/^(mib|url|uuid|usd)$/i.test(word) ? word.toUpperCase() : word.toLowerCase()));
  const unit =
    /^(mib|seconds|minutes|days)$/i.test(words.at(-1) ?? '') && words.length > 1 ? words.pop() : null;
  const text = words.join(' ');
  const shown =
    unit === null || unit === undefined
      ? ''
      : ` (${unit.toLowerCase() === 'mib' ? 'MiB' : unit.toLowerCase()})`;
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${shown}`;
}
