import type { LogLine } from '../../supervisor/log-ring.ts';
import { estimateTextBytes } from '../../vram/estimate.ts';
import { EngineError } from '../engine-error.ts';
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
import { relayCompletion, relayEmbeddings, relayText, type WireOptions } from '../openai-wire.ts';
import type { LmsCli } from './lms.ts';

export interface LmStudioOptions {
  readonly id: string;
  readonly port: number;
  /** Null where LM Studio is not installed here, or must not be started. */
  readonly lms: LmsCli | null;
  readonly apiToken: string | null;
  readonly profile: LaunchProfile;
  /** True when the operator set the offload ratio or slots, which only the command line takes. */
  readonly loadsByCli: boolean;
  readonly demo: boolean;
  readonly limits?: Partial<HttpLimits>;
  /** Told of the daemon we started, so that it ends with us. */
  readonly onDaemon?: (pid: number) => void;
}

interface Listed extends EngineModel {
  readonly instances: readonly { readonly id: string; readonly slots: number | null }[];
}

const defaultSlots = 4;

/**
 * JSON mode as LM Studio takes it: it knows `json_schema` and `text` alone, so `json_object` is asked for as a
 * schema of any object.
 */
const anyObject = {
  type: 'json_schema',
  json_schema: { name: 'json_object', schema: { type: 'object' } },
} as const;

/** LM Studio: its `lms` command starts daemon and server, its REST API v1 loads and lists, its /v1 generates. */
export class LmStudio implements Engine {
  readonly #options: LmStudioOptions;
  readonly #http: EngineHttp;
  readonly #notes: LogLine[] = [];
  /** The names of what is loaded, by the key of its model, as of the last list. */
  #instances: ReadonlyMap<string, readonly string[]> = new Map();
  /** Whether it was found running, so that it is not ours to end. */
  #isFound = false;
  #startedServer = false;
  #startedDaemon = false;
  #version: string | null = null;
  #starting: Promise<void> | null = null;

  constructor(options: LmStudioOptions) {
    this.#options = options;
    const { apiToken, limits } = options;
    this.#http = new EngineHttp(`http://127.0.0.1:${options.port}`, {
      ...(apiToken !== null && { headers: { authorization: `Bearer ${apiToken}` } }),
      ...(limits && { limits }),
    });
  }

  describe(): EngineDescription {
    return {
      id: this.#options.id,
      kind: 'lm-studio',
      title: this.#options.demo ? 'LM Studio (demo stand-in)' : 'LM Studio',
      demo: this.#options.demo,
      ownership: this.#isFound || !this.#options.lms ? 'theirs' : 'ours',
      address: this.#http.origin,
      version: this.#version,
      profile: this.#options.profile,
      exclusive: false,
    };
  }

  ensureReady(signal: AbortSignal): Promise<void> {
    this.#starting ??= this.#ensureReady(signal).finally(() => (this.#starting = null));
    return this.#starting;
  }

  async #ensureReady(signal: AbortSignal): Promise<void> {
    const found = await this.#greeting(signal);
    if (found === 'ready') {
      this.#isFound = !this.#startedServer;
      return;
    }
    const { lms, port } = this.#options;
    if (found === 'stranger') throw new EngineError('port_taken', `Port ${port} is not LM Studio’s.`);
    if (!lms)
      throw new EngineError('unreachable', `Nothing listens on port ${port}; start LM Studio’s server.`);
    const ranBefore = await lms.daemonRuns();
    const { pid, version } = await lms.daemonUp();
    this.#version = version;
    if (!ranBefore) {
      this.#startedDaemon = true;
      if (pid !== null) this.#options.onDaemon?.(pid);
    }
    await lms.serverStart(port);
    if ((await this.#greeting(signal)) !== 'ready') {
      throw new EngineError('unreachable', 'lms started the server, but it does not answer.');
    }
    this.#isFound = false;
    this.#startedServer = true;
    this.#note(`server started on port ${port}`);
  }

  /** Any path answers 200 here, so the body decides. */
  async #greeting(signal: AbortSignal): Promise<'ready' | 'stranger' | 'nobody'> {
    try {
      const answer = await this.#http.json('/lmstudio-greeting', { signal, timeoutMs: 2_000 });
      return field(answer, 'lmstudio') === true ? 'ready' : 'stranger';
    } catch (error) {
      const engineError = EngineError.from(error, 'unreachable');
      if (engineError.kind === 'aborted') throw engineError;
      return engineError.kind === 'unreachable' && engineError.status === null ? 'nobody' : 'stranger';
    }
  }

  async models(signal: AbortSignal): Promise<EngineModel[]> {
    return (await this.#list(signal)).map(({ instances: _, ...model }) => model);
  }

  async loaded(signal: AbortSignal): Promise<LoadedModel[]> {
    return (await this.#list(signal))
      .filter(({ instances }) => instances.length > 0)
      .map(({ key, instances }) => ({ key, slots: instances[0]?.slots ?? null }));
  }

  async #list(signal: AbortSignal): Promise<Listed[]> {
    const answer = await this.#http.json('/api/v1/models', { signal });
    const models = field(answer, 'models');
    // Any path answers 200 here, also one that this version does not know.
    if (!Array.isArray(models)) {
      throw new EngineError('bad_answer', 'The list of models is no list. LM Studio 0.4 or newer is needed.');
    }
    const listed = models.flatMap((entry: unknown): Listed[] => {
      const key = field(entry, 'key');
      const type = field(entry, 'type');
      if (typeof key !== 'string' || (type !== 'llm' && type !== 'embedding')) return [];
      const instances = field(entry, 'loaded_instances');
      return [
        {
          key,
          name: key,
          modality: type === 'llm' ? ('text' as const) : ('embedding' as const),
          sizeBytes: count(field(entry, 'size_bytes')),
          contextLength: count(field(entry, 'max_context_length')),
          vision: field(field(entry, 'capabilities'), 'vision') === true,
          tools: field(field(entry, 'capabilities'), 'trained_for_tool_use') === true,
          embeds: type === 'embedding',
          instances: (Array.isArray(instances) ? instances : []).flatMap((instance: unknown) => {
            const id = field(instance, 'id');
            return typeof id === 'string'
              ? { id, slots: count(field(field(instance, 'config'), 'parallel')) }
              : [];
          }),
        },
      ];
    });
    this.#instances = new Map(listed.map(({ key, instances }) => [key, instances.map(({ id }) => id)]));
    return listed;
  }

  async load(key: string, signal: AbortSignal): Promise<LoadedModel> {
    const known = await this.#find(key, signal);
    if (!known) throw new EngineError('model_missing', key);
    // A second load call would make a second instance.
    if (!known.instances[0]) await this.#load(known, signal);
    // What is gone from the list after our own load is LM Studio's trouble, and not the caller's wrong name.
    const instance = (await this.#find(key, signal))?.instances[0];
    if (!instance)
      throw new EngineError('load_failed', `${key} is not in LM Studio’s list of loaded models.`);
    return { key, slots: instance.slots ?? this.#options.profile.slots ?? defaultSlots };
  }

  async #load({ key, modality, contextLength }: Listed, signal: AbortSignal): Promise<void> {
    const { lms, profile, loadsByCli } = this.#options;
    const context =
      profile.contextLength === null ? null : Math.min(profile.contextLength, contextLength ?? Infinity);
    if (loadsByCli && lms && modality === 'text') {
      const { gpuRatio, slots } = profile;
      await lms.load(key, { gpuRatio, contextLength: context, parallel: slots }, signal);
      return;
    }
    const body = { model: key, ...(context !== null && modality === 'text' && { context_length: context }) };
    try {
      const timeoutMs = this.#http.limits.loadTimeoutMs;
      const answer = await this.#http.json('/api/v1/models/load', { body, signal, timeoutMs });
      if (field(answer, 'status') !== 'loaded') throw new EngineError('load_failed', JSON.stringify(answer));
    } catch (error) {
      const engineError = EngineError.from(error, 'load_failed');
      if (engineError.kind !== 'rejected' && engineError.kind !== 'bad_answer') throw engineError;
      throw new EngineError('load_failed', engineError.message, { cause: error });
    }
  }

  /** The model as it is listed now; undefined when it is not. */
  async #find(key: string, signal: AbortSignal): Promise<Listed | undefined> {
    return (await this.#list(signal)).find((model) => model.key === key);
  }

  async unload(key: string, signal: AbortSignal): Promise<void> {
    for (const { id } of (await this.#find(key, signal))?.instances ?? []) {
      await this.#http.json('/api/v1/models/unload', {
        body: { instance_id: id },
        signal,
        timeoutMs: 30_000,
      });
    }
    if ((await this.#find(key, signal))?.instances[0]) {
      throw new EngineError('bad_answer', `${key} is still listed as loaded.`);
    }
  }

  estimate({ sizeBytes, contextLength }: EngineModel): number {
    const { profile } = this.#options;
    return estimateTextBytes({
      sizeBytes: sizeBytes ?? 4 * 1024 ** 3,
      contextLength: Math.min(profile.contextLength ?? 4_096, contextLength ?? Infinity),
      gpuRatio: profile.gpuRatio ?? 1,
    });
  }

  stream(request: TextRequest, options: WorkOptions): AsyncIterable<TextEvent> {
    return relayText(this.#http, withKnownFormat(request), this.#wire(request.modelKey, options));
  }

  complete(request: TextRequest, options: WorkOptions): Promise<Answer> {
    return relayCompletion(this.#http, withKnownFormat(request), this.#wire(request.modelKey, options));
  }

  embed(request: EmbedRequest, options: WorkOptions): Promise<Answer> {
    return relayEmbeddings(this.#http, request, this.#wire(request.modelKey, options));
  }

  #wire(key: string, { signal }: WorkOptions): WireOptions {
    const instances = this.#instances.get(key) ?? [];
    // The name of an instance is exact: by the key, LM Studio may load a second one.
    const model = instances.includes(key) ? key : (instances[0] ?? key);
    return {
      signal,
      model,
      // With one model loaded, LM Studio answers for any name.
      checkModel: true,
      isSameModel: (named) => instances.includes(named) || isNameOf(key, named),
    };
  }

  image(): AsyncIterable<ImageEvent> {
    throw new EngineError('unsupported', 'LM Studio makes no images.');
  }

  async health(loadedKey: string, signal: AbortSignal): Promise<void> {
    const body = { messages: [{ role: 'user', content: 'Say yes.' }], max_tokens: 1, temperature: 0 };
    const request = { modelKey: loadedKey, endpoint: 'chat/completions', body } as const;
    await this.complete(request, { signal });
  }

  async stop(): Promise<void> {
    const { lms } = this.#options;
    if (!this.#startedServer || !lms) return;
    this.#startedServer = false;
    await lms.serverStop().catch((error: unknown) => this.#note(String(error)));
    if (this.#startedDaemon) await lms.daemonDown().catch((error: unknown) => this.#note(String(error)));
    this.#startedDaemon = false;
    this.#note('server stopped');
  }

  onLost(): void {
    // No process of ours to watch: a lost server shows in the next request and in the health check.
  }

  logs(): readonly LogLine[] {
    return this.#notes;
  }

  #note(text: string): void {
    this.#notes.push({ at: Date.now(), stream: 'note', text });
    if (this.#notes.length > 200) this.#notes.shift();
  }
}

/** The request in the words that LM Studio knows. */
function withKnownFormat(request: TextRequest): TextRequest {
  return field(request.body['response_format'], 'type') === 'json_object'
    ? { ...request, body: { ...request.body, response_format: anyObject } }
    : request;
}

/**
 * Whether an answer's name means the model of a key: `key:2` is its second instance, `key@q4_k_m` a variant, and
 * the publisher before it is left out at times.
 */
export function isNameOf(key: string, named: string): boolean {
  const [asked, answered] = [key, named].map((name) =>
    name
      .toLowerCase()
      .replace(/:\d+$/, '')
      .replace(/@[^/@]*$/, ''),
  ) as [string, string];
  return asked === answered || asked.endsWith(`/${answered}`) || answered.endsWith(`/${asked}`);
}

function count(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : null;
}
