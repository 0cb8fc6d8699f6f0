import { createReadStream } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
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
  LoadedModel,
  TextEvent,
  TextRequest,
  WorkOptions,
} from '../engine.ts';
import { EngineHttp, field, type HttpLimits } from '../http.ts';
import { relayCompletion, relayEmbeddings, relayText } from '../openai-wire.ts';
import { type GgufHeader, readGgufHeader } from './gguf-header.ts';
import { nodePath, programBeside } from '../../program.ts';

export interface LlamaCppOptions {
  readonly id: string;
  /** Every .gguf file in it, and one level down, is a model. */
  readonly modelsFolder: string;
  /** Where the socket of the worker lies; only the user of the appliance may enter it. */
  readonly runFolder: string;
  readonly profile: LaunchProfile;
  readonly supervisor: Supervisor;
  readonly limits?: Partial<HttpLimits>;
}

interface GgufFile {
  readonly path: string;
  readonly bytes: number;
  readonly header: GgufHeader;
}

/** Architectures that only embed. */
const embeddingOnly = /^(bert|nomic-bert|jina-bert|xlm-roberta|t5encoder)/;
const startTimeoutMs = 60_000;

/** llama.cpp, built in: serves any GGUF file of the models folder from a child process of ours. */
export class LlamaCpp implements Engine {
  readonly #options: LlamaCppOptions;
  readonly #http: EngineHttp;
  readonly #child: SupervisedChild;
  #files: ReadonlyMap<string, GgufFile> = new Map();
  #gpu: string | false | null = null;

  constructor(options: LlamaCppOptions) {
    this.#options = options;
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

  /** Reads the folder; needs no process. Files that are no models are left out and noted in the log of the caller. */
  async models(): Promise<EngineModel[]> {
    const files = new Map<string, GgufFile>();
    for (const path of await ggufFiles(this.#options.modelsFolder)) {
      const header = await readGgufHeader(path).catch(() => null);
      if (header) files.set(basename(path, extname(path)), { path, header, bytes: (await stat(path)).size });
    }
    this.#files = files;
    return [...files].map(([key, { header, bytes }]) => ({
      key,
      name: key,
      modality: embeddingOnly.test(header.architecture) ? 'embedding' : 'text',
      sizeBytes: bytes,
      contextLength: header.contextLength,
      vision: false,
      tools: true,
      embeds: true,
    }));
  }

  async loaded(signal: AbortSignal): Promise<LoadedModel[]> {
    if (this.#child.state !== 'ready') return [];
    const keys = field(await this.#http.json('/health', { signal }), 'loaded');
    return Array.isArray(keys)
      ? keys.map((key) => ({ key: String(key), slots: this.#options.profile.slots }))
      : [];
  }

  async load(key: string, signal: AbortSignal): Promise<LoadedModel> {
    const file = this.#files.get(key);
    if (!file) throw new EngineError('model_missing', key);
    // Checked again: the file may have changed since the folder was read.
    await readGgufHeader(file.path);
    const { profile } = this.#options;
    const body = {
      key,
      file: file.path,
      contextLength: Math.min(profile.contextLength ?? 4_096, file.header.contextLength ?? Infinity),
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

  /** Reads the file once, so that the load finds it in the page cache. */
  async prewarm(key: string, signal: AbortSignal): Promise<void> {
    const file = this.#files.get(key);
    if (!file) return;
    for await (const _ of createReadStream(file.path, { highWaterMark: 4 * 1024 * 1024, signal })) {
      // Nothing is kept: reading is the point.
    }
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

async function ggufFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const found: string[] = [];
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      const inner = await readdir(path).catch(() => []);
      found.push(...inner.filter(isGguf).map((name) => join(path, name)));
    } else if (isGguf(entry.name)) found.push(path);
  }
  return found.toSorted();
}

function isGguf(name: string): boolean {
  // Multimodal projectors lie beside their models and are none themselves.
  return name.toLowerCase().endsWith('.gguf') && !name.toLowerCase().includes('mmproj');
}
