import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { InvalidValue, parseChecked } from './checked.ts';
import { Config, override, type Setting, settings } from './config.ts';

/** A setting as the operator sees it. Secrets say only whether they are set. */
export interface SettingState {
  readonly path: string;
  readonly description: string;
  /** What it may be, as JSON Schema. */
  readonly schema: object;
  readonly default: unknown;
  readonly isSecret: boolean;
  /** In effect now; for a secret, whether it is set. */
  readonly value: unknown;
  /** In effect after the next start, where that is another. */
  readonly next: unknown;
  readonly isPending: boolean;
  /** The variable that decides it, whatever the file says; null where none is set. */
  readonly decidedBy: string | null;
}

/** Every setting, as it is in effect and as it will be after the next start. Throws InvalidValue for a broken file. */
export function settingStates(
  file: string,
  inEffect: Config,
  env: NodeJS.ProcessEnv = process.env,
): SettingState[] {
  const next = override(parseChecked(Config, readFileSync(file, 'utf8'), file), env);
  return settings().map((setting) => {
    const { path, schema, variable } = setting;
    const isSecret = isSecretOf(setting);
    const [now, then] = [valueAt(inEffect, path), valueAt(next, path)];
    const shown = (value: unknown): unknown => (isSecret ? value !== null : value);
    const isPending = !isDeepStrictEqual(now, then);
    return {
      path: path.join('.'),
      description: schema.description ?? '',
      schema,
      default: schema.default,
      isSecret,
      value: shown(now),
      next: isPending ? shown(then) : null,
      isPending,
      decidedBy: env[variable] ? variable : null,
    };
  });
}

export interface SettingChange {
  readonly path: string;
  readonly before: unknown;
  readonly after: unknown;
}

/**
 * Changes the file of settings, all of it or nothing: `set` by path, and `reset` to the default. Returns what changed,
 * with secrets covered. Throws InvalidValue, and has changed nothing then.
 */
export function changeSettings(
  file: string,
  { set = {}, reset = [] }: { set?: Readonly<Record<string, unknown>>; reset?: readonly string[] },
): SettingChange[] {
  const known = new Map(settings().map((setting) => [setting.path.join('.'), setting]));
  const text = readFileSync(file, 'utf8');
  const before = parseChecked(Config, text, file);
  const written = JSON.parse(text) as Record<string, unknown>;
  for (const path of [...Object.keys(set), ...reset])
    if (!known.has(path)) throw new InvalidValue('The settings', path, 'is not known here');
  for (const [path, value] of Object.entries(set)) writeAt(written, path.split('.'), value);
  for (const path of reset) writeAt(written, path.split('.'), undefined);
  const after = parseChecked(Config, JSON.stringify(written), 'The settings');
  writeFileSync(`${file}.part`, `${JSON.stringify(written, null, 2)}\n`, { mode: 0o600, flush: true });
  renameSync(`${file}.part`, file);
  return [...known.values()].flatMap((setting) => {
    const [was, is] = [valueAt(before, setting.path), valueAt(after, setting.path)];
    if (isDeepStrictEqual(was, is)) return [];
    const shown = (value: unknown): unknown =>
      isSecretOf(setting) ? (value === null ? null : '(set)') : value;
    return [{ path: setting.path.join('.'), before: shown(was), after: shown(is) }];
  });
}

function isSecretOf({ schema }: Setting): boolean {
  return 'writeOnly' in schema && schema.writeOnly === true;
}

export function valueAt(config: Config, path: readonly string[]): unknown {
  let value: unknown = config;
  for (const name of path) value = (value as Record<string, unknown>)[name];
  return value;
}

/** Settings lie one group deep, or stand alone. */
export function writeAt(
  into: Record<string, unknown>,
  [name = '', inner]: readonly string[],
  value: unknown,
): void {
  if (inner === undefined) {
    if (value === undefined) delete into[name];
    else into[name] = value;
    return;
  }
  const group = { ...(into[name] as Record<string, unknown> | undefined) };
  if (value === undefined) delete group[inner];
  else group[inner] = value;
  into[name] = group;
}
