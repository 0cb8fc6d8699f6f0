import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { parseChecked } from './checked.ts';
import { Config, type LoadedConfig, override } from './config.ts';
import { changeSettings, type SettingChange, valueAt, writeAt } from './edit.ts';

/** The settings in effect. Some of them come into effect as soon as they are changed, the others at the next start. */
export class LiveSettings {
  readonly file: string;
  readonly #config: Config;
  readonly #env: NodeJS.ProcessEnv;
  readonly #appliers = new Map<string, () => void>();

  constructor({ config, file }: Pick<LoadedConfig, 'config' | 'file'>, env: NodeJS.ProcessEnv = process.env) {
    this.#config = structuredClone(config);
    this.file = file;
    this.#env = env;
  }

  /** As they are in effect now. */
  get config(): Config {
    return this.#config;
  }

  /** From now on these come into effect at once: after a change `apply` is called, with it in `config`. */
  atOnce(paths: readonly string[], apply: () => void = () => undefined): void {
    for (const path of paths) this.#appliers.set(path, apply);
  }

  isAtOnce(path: string): boolean {
    return this.#appliers.has(path);
  }

  /** As `changeSettings`; what can be is put into effect. */
  change(wanted: Parameters<typeof changeSettings>[1]): SettingChange[] {
    const changes = changeSettings(this.file, wanted);
    // What a variable decides stays as it is.
    const next = override(parseChecked(Config, readFileSync(this.file, 'utf8'), this.file), this.#env);
    const appliers = new Set<() => void>();
    for (const [path, apply] of this.#appliers) {
      const value = valueAt(next, path.split('.'));
      if (isDeepStrictEqual(value, valueAt(this.#config, path.split('.')))) continue;
      writeAt(this.#config, path.split('.'), value);
      appliers.add(apply);
    }
    for (const apply of appliers) apply();
    return changes;
  }
}
