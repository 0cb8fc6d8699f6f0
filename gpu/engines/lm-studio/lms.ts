import { stripVTControlCharacters } from 'node:util';
import { execa } from 'execa';
import { endingOf } from '../../supervisor/child-error.ts';
import { EngineError } from '../engine-error.ts';
import { field } from '../http.ts';

export interface LmsOptions {
  /** The CLI: `<LM Studio home>/bin/lms`, `lms.exe` on Windows. */
  readonly path: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Waking the app may take a minute; everything else answers in seconds. */
const timeouts = { wakeMs: 90_000, commandMs: 20_000, loadMs: 300_000 } as const;

/** LM Studio's command line, for what its HTTP API cannot do. Exit codes are claims; callers look for themselves. */
export class LmsCli {
  readonly #options: LmsOptions;

  constructor(options: LmsOptions) {
    this.#options = options;
  }

  /** Whether the daemon or app runs. Unlike most commands this one may wake it, so ask `serverStatus` first. */
  async daemonUp(): Promise<{ pid: number | null; version: string | null }> {
    const answer = await this.#json(['daemon', 'up', '--json'], timeouts.wakeMs);
    const pid = field(answer, 'pid');
    const version = field(answer, 'version');
    return {
      pid: typeof pid === 'number' ? pid : null,
      version: typeof version === 'string' ? version : null,
    };
  }

  async daemonRuns(): Promise<boolean> {
    const answer = await this.#json(['daemon', 'status', '--json'], timeouts.commandMs);
    return field(answer, 'status') === 'running';
  }

  daemonDown(): Promise<void> {
    return this.#run(['daemon', 'down'], timeouts.commandMs);
  }

  /** The bind address is always given: a plain start would follow an environment variable. */
  serverStart(port: number): Promise<void> {
    return this.#run(['server', 'start', '--port', String(port), '--bind', '127.0.0.1'], timeouts.wakeMs);
  }

  serverStop(): Promise<void> {
    return this.#run(['server', 'stop'], timeouts.commandMs);
  }

  /** Loads with what the HTTP call cannot say. `key` must be exact: an ambiguous one is guessed at by lms. */
  load(
    key: string,
    options: { gpuRatio: number | null; contextLength: number | null; parallel: number | null },
    signal: AbortSignal,
  ): Promise<void> {
    const args = ['load', key, '-y', '--identifier', key];
    if (options.gpuRatio !== null) {
      args.push(
        '--gpu',
        options.gpuRatio === 1 ? 'max' : options.gpuRatio === 0 ? 'off' : String(options.gpuRatio),
      );
    }
    if (options.contextLength !== null) args.push('--context-length', String(options.contextLength));
    if (options.parallel !== null) args.push('--parallel', String(options.parallel));
    return this.#run(args, timeouts.loadMs, signal);
  }

  async #json(args: readonly string[], timeoutMs: number): Promise<unknown> {
    const { stdout } = await this.#execute(args, timeoutMs);
    try {
      return JSON.parse(stdout);
    } catch (cause) {
      throw new EngineError('bad_answer', `lms ${args[0]} printed no JSON.`, { cause });
    }
  }

  async #run(args: readonly string[], timeoutMs: number, signal?: AbortSignal): Promise<void> {
    await this.#execute(args, timeoutMs, signal);
  }

  async #execute(
    args: readonly string[],
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<{ stdout: string }> {
    const result = await execa(this.#options.path, [...args], {
      env: this.#options.env,
      extendEnv: false,
      stdin: 'ignore',
      timeout: timeoutMs,
      // SIGINT makes lms cancel a load instead of leaving it behind.
      killSignal: 'SIGINT',
      forceKillAfterDelay: 5_000,
      maxBuffer: 16 * 1024 * 1024,
      reject: false,
      windowsHide: true,
      ...(signal && { cancelSignal: signal }),
    });
    if (!result.failed) return { stdout: result.stdout };
    if (result.isCanceled) throw new EngineError('aborted');
    const command = `"lms ${args.slice(0, 2).join(' ')}"`;
    const kind = args[0] === 'load' ? 'load_failed' : 'start_failed';
    if (result.timedOut) throw new EngineError(kind, `${command} took over ${timeoutMs / 1000} s.`);
    if (result.code === 'ENOENT')
      throw new EngineError('not_installed', `There is no ${this.#options.path}.`);
    // A program that could not be spawned has no output.
    const said = stripVTControlCharacters(result.stderr ?? '')
      .trim()
      .slice(-300);
    const ending = result.code === undefined ? endingOf(result) : `could not be run (${result.code})`;
    throw new EngineError(kind, `${command} ${ending}${said === '' ? '.' : `: ${said}`}`);
  }
}
