import { renameSync, writeFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { InvalidValue, parseChecked } from './checked.ts';
import { readTextFile } from './text-file.ts';
import { Config, override, type Setting, settings, valueAt, writeAt } from './config.ts';

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
  return statesOf(inEffect, override(parseChecked(Config, readTextFile(file), file), env), env);
}

/** Every setting, as it is in effect, and as `next` has it. */
export function statesOf(inEffect: Config, next: Config, env: NodeJS.ProcessEnv): SettingState[] {
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

/** `set` by path, and `reset` to the default. */
export interface WantedChange {
  readonly set?: Readonly<Record<string, unknown>>;
  readonly reset?: readonly string[];
}

/** A change of the file of settings that was checked by the schema and is not written yet. */
export interface PlannedChange {
  /** The file as it would be. */
  readonly text: string;
  /** The settings as they would be, without what variables say. */
  readonly config: Config;
  /** What changes, with secrets covered. */
  readonly changes: readonly SettingChange[];
}

/** Works out a change of the file of settings, all of it or nothing. Throws InvalidValue. */
export function planChange(file: string, { set = {}, reset = [] }: WantedChange): PlannedChange {
  const known = new Map(settings().map((setting) => [setting.path.join('.'), setting]));
  const text = readTextFile(file);
  const before = parseChecked(Config, text, file);
  const written = JSON.parse(text) as Record<string, unknown>;
  for (const path of [...Object.keys(set), ...reset])
    if (!known.has(path)) throw new InvalidValue('The settings', path, 'is not known here');
  for (const [path, value] of Object.entries(set)) writeAt(written, path.split('.'), value);
  for (const path of reset) writeAt(written, path.split('.'), undefined);
  const after = parseChecked(Config, JSON.stringify(written), 'The settings');
  const changes = [...known.values()].flatMap((setting) => {
    const [was, is] = [valueAt(before, setting.path), valueAt(after, setting.path)];
    if (isDeepStrictEqual(was, is)) return [];
    const shown = (value: unknown): unknown =>
      isSecretOf(setting) ? (value === null ? null : '(set)') : value;
    return [{ path: setting.path.join('.'), before: shown(was), after: shown(is) }];
  });
  return { text: `${JSON.stringify(written, null, 2)}\n`, config: after, changes };
}

/** Puts a planned change into the file, in one step. */
export function writeChange(file: string, { text }: PlannedChange): void {
  writeFileSync(`${file}.part`, text, { mode: 0o600, flush: true });
  renameSync(`${file}.part`, file);
}

function isSecretOf({ schema }: Setting): boolean {
  return 'writeOnly' in schema && schema.writeOnly === true;
}
