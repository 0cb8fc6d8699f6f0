import { isDeepStrictEqual } from 'node:util';
import { InvalidValue, parseChecked } from './checked.ts';
import { Config, type LoadedConfig, override, valueAt, writeAt } from './config.ts';
import {
  type PlannedChange,
  planChange,
  type SettingState,
  settingStates,
  statesOf,
  type WantedChange,
  writeChange,
} from './edit.ts';

/** The settings in effect. Some of them come into effect as soon as they are changed, the others at the next start. */
export class LiveSettings {
  readonly file: string;
  /** Why the settings in the file are not the ones in effect; null when they are. */
  readonly fault: string | null;
  readonly #config: Config;
  readonly #env: NodeJS.ProcessEnv;
  readonly #appliers = new Map<string, () => void>();

  constructor(
    { config, file, fault }: Pick<LoadedConfig, 'config' | 'file' | 'fault'>,
    env: NodeJS.ProcessEnv = process.env,
  ) {
    this.#config = structuredClone(config);
    this.file = file;
    this.fault = fault;
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

  /** Every setting, as it is and as it will be. A file that cannot be read at all is not in effect: `fault` says so. */
  states(): SettingState[] {
    try {
      return settingStates(this.file, this.#config, this.#env);
    } catch (error) {
      if (!(error instanceof InvalidValue) || this.fault === null) throw error;
      return statesOf(this.#config, this.#config, this.#env);
    }
  }

  /** A change that is not made yet, with the settings as they would be after the next start. Throws InvalidValue. */
  plan(wanted: WantedChange): PlannedChange {
    const planned = planChange(this.file, wanted);
    return { ...planned, config: override(planned.config, this.#env) };
  }

  /** Writes a planned change; what can be is put into effect. */
  change(planned: PlannedChange): void {
    writeChange(this.file, planned);
    // What a variable decides stays as it is.
    const next = override(parseChecked(Config, planned.text, this.file), this.#env);
    const appliers = new Set<() => void>();
    for (const [path, apply] of this.#appliers) {
      const value = valueAt(next, path.split('.'));
      if (isDeepStrictEqual(value, valueAt(this.#config, path.split('.')))) continue;
      writeAt(this.#config, path.split('.'), value);
      appliers.add(apply);
    }
    for (const apply of appliers) apply();
  }
}
