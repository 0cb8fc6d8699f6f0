import { createReadStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { engineRestart } from '../../supervisor/backoff.ts';
import type { LogLine } from '../../supervisor/log-ring.ts';
import type { SupervisedChild, Supervisor } from '../../supervisor/supervisor.ts';
import { estimateTextBytes } from '../../vram/estimate.ts';
import { EngineError, isFinalError } from '../engine-error.ts';
import type {
  Answer,
  EmbedRequest,
  Engine,
  EngineDescription,
  EngineModel,
  ImageEvent,
  LaunchProfile,
  LeftOut,
  LoadedModel,
  TextEvent,
  TextRequest,
  WorkOptions,
} from '../engine.ts';
import { EngineHttp, field, type HttpLimits } from '../http.ts';
import { relayCompletion, relayEmbeddings, relayText } from '../openai-wire.ts';
import { GgufFolder } from './gguf-folder.ts';
import { readGgufHeader } from './gguf-header.ts';
import { type GgufModel, ggufModels } from './gguf-models.ts';
import { nodePath, programBeside } from '../../program.ts';

export interface LlamaCppOptions {
  readonly id: string;
  /** The .gguf files in it, and one level down, are models, or parts of one. */
  readonly modelsFolder: string;
  /** Where the socket of the worker lies; only the user of the appliance may enter it. */
  readonly runFolder: string;
  readonly profile: LaunchProfile;
  readonly supervisor: Supervisor;
  readonly limits?: Partial<HttpLimits>;
}

const startTimeoutMs = 60_000;

/** llama.cpp, built in: serves any GGUF file of the models folder from a child process of ours. */
export class LlamaCpp implements Engine {
  readonly #options: LlamaCppOptions;
  readonly #http: EngineHttp;
  readonly #child: SupervisedChild;
  readonly #folder: GgufFolder;
  #models: ReadonlyMap<string, GgufModel> = new Map();
  #leftOut: readonly LeftOut[] = [];
  #gpu: string | false | null = null;

  constructor(options: LlamaCppOptions) {
    this.#options = options;
    this.#folder = new GgufFolder(options.modelsFolder);
    const socketPath =
      process.platform === 'win32'
        ? `\\\\.\\pipe\\kilnhouse-${options.id}-${process.pid}`
        : join(options.runFolder, `${options.id}.sock`);
    this.#http = new EngineHttp('http://llama-cpp', {
      socketPath,
      ...(options.limits && { limits: options.limits }),
    });
    this.#child = options.supervisor.child({
      id: options.id,
      command: nodePath,
      args: [programBeside(import.meta.url, 'worker'), socketPath],
      port: null,
      probe: async (signal) => {
        const gpu = field(await this.#http.json('/health', { signal, timeoutMs: startTimeoutMs }), 'gpu');
        this.#gpu = typeof gpu === 'string' ? gpu : false;
      },
      readyTimeoutMs: startTimeoutMs,
      graceMs: 1_000,
      restart: engineRestart,
      isFinal: isFinalError,
    });
  }

  describe(): EngineDescription {
    const on = this.#gpu === null ? '' : this.#gpu === false ? ' on the CPU' : ` on ${this.#gpu}`;
    return {
      id: this.#options.id,
      kind: 'llama-cpp',
      title: `llama.cpp (built in${on})`,
      demo: false,
      ownership: 'ours',
      address: null,
      version: null,
      profile: this.#options.profile,
      exclusive: false,
    };
  }

  async ensureReady(signal: AbortSignal): Promise<void> {
    await mkdir(this.#options.runFolder, { recursive: true, mode: 0o700 });
    await this.#child.ensureReady(signal).catch((error: unknown) => {
      throw EngineError.from(error, 'start_failed');
    });
  }

  /** Reads the folder; needs no process. */
  async models(): Promise<EngineModel[]> {
    const { models, leftOut } = ggufModels(await this.#folder.files());
    this.#models = new Map(models.map((model) => [model.name, model]));
    this.#leftOut = leftOut;
    return models.map(({ name, modality, bytes, contextLength }) => ({
      key: name,
      name,
      modality,
      sizeBytes: bytes,
      contextLength,
      vision: false,
      tools: modality === 'text',
      embeds: true,
    }));
  }

  leftOut(): readonly LeftOut[] {
    return this.#leftOut;
  }

  async loaded(signal: AbortSignal): Promise<LoadedModel[]> {
    if (this.#child.state !== 'ready') return [];
    const keys = field(await this.#http.json('/health', { signal }), 'loaded');
    return Array.isArray(keys)
      ? keys.map((key) => ({ key: String(key), slots: this.#options.profile.slots }))
      : [];
  }

  async load(key: string, signal: AbortSignal): Promise<LoadedModel> {
    const model = this.#models.get(key);
    if (!model) throw new EngineError('model_missing', key);
    const paths = this.#pathsOf(model);
    // Checked again: the files may have changed since the folder was read.
    for (const path of paths) await readGgufHeader(path);
    const { profile } = this.#options;
    const body = {
      key,
      file: paths[0],
      contextLength: Math.min(profile.contextLength ?? 4_096, model.contextLength ?? Infinity),
      slots: profile.slots,
      gpuRatio: profile.gpuRatio,
    };
    const timeoutMs = this.#http.limits.loadTimeoutMs;
    await this.#http.json('/load', { body, signal, timeoutMs }).catch((error: unknown) => {
      const engineError = EngineError.from(error, 'load_failed');
      if (engineError.kind === 'bad_answer') throw new EngineError('load_failed', engineError.message);
      throw engineError;
    });
    return { key, slots: profile.slots };
  }

  async unload(key: string, signal: AbortSignal): Promise<void> {
    if (this.#child.state !== 'ready') return;
    await this.#http.json('/unload', { body: { key }, signal, timeoutMs: 30_000 });
  }

  estimate({ sizeBytes, contextLength }: EngineModel): number {
    const { profile } = this.#options;
    return estimateTextBytes({
      sizeBytes: sizeBytes ?? 0,
      contextLength: profile.slots * Math.min(profile.contextLength ?? 4_096, contextLength ?? Infinity),
      gpuRatio: profile.gpuRatio ?? 1,
    });
  }

  /** Reads the files once, so that the load finds them in the page cache. */
  async prewarm(key: string, signal: AbortSignal): Promise<void> {
    const model = this.#models.get(key);
    for (const path of model ? this.#pathsOf(model) : []) {
      for await (const _ of createReadStream(path, { highWaterMark: 4 * 1024 * 1024, signal })) {
        // Nothing is kept: reading is the point.
      }
    }
  }

  #pathsOf({ paths }: GgufModel): string[] {
    return paths.map((path) => join(this.#options.modelsFolder, path));
  }

  stream(request: TextRequest, { signal }: WorkOptions): AsyncIterable<TextEvent> {
    return relayText(this.#http, request, { signal, model: request.modelKey, checkModel: true });
  }

  complete(request: TextRequest, { signal }: WorkOptions): Promise<Answer> {
    return relayCompletion(this.#http, request, { signal, model: request.modelKey, checkModel: true });
  }

  embed(request: EmbedRequest, { signal }: WorkOptions): Promise<Answer> {
    return relayEmbeddings(this.#http, request, { signal, model: request.modelKey, checkModel: true });
  }

  image(): AsyncIterable<ImageEvent> {
    throw new EngineError('unsupported', 'llama.cpp makes no images.');
  }

  async health(loadedKey: string, signal: AbortSignal): Promise<void> {
    const body = { prompt: 'a', max_tokens: 1 };
    const request = { modelKey: loadedKey, endpoint: 'completions', body } as const;
    await this.complete(request, { signal });
  }

  async stop(): Promise<void> {
    await this.#child.stop();
  }

  onLost(listener: (reason: string) => void): void {
    this.#child.onExit(listener);
  }

  logs(): readonly LogLine[] {
    return this.#child.logs();
  }
}
