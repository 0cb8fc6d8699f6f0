import type { LogLine } from '../supervisor/log-ring.ts';
import type { Sampler } from './samplers.ts';
import type { Usage } from './usage.ts';

/** What a model makes. */
type Modality = 'text' | 'embedding' | 'image';

/**
 * `ours` is started by the appliance and stopped with it, also while it is down; `theirs` was found running, or can only
 * be started by others, and is never killed.
 */
type Ownership = 'ours' | 'theirs';

export interface EngineModel {
  /** The engine's own exact name: what load, unload and requests take. */
  readonly key: string;
  /** The name tenants ask for. */
  readonly name: string;
  readonly modality: Modality;
  readonly sizeBytes: number | null;
  readonly contextLength: number | null;
  readonly vision: boolean;
  readonly tools: boolean;
  /** True where it answers embedding requests: embedding models, and engines that take them from any model. */
  readonly embeds: boolean;
}

/** A model the engine holds now. */
export interface LoadedModel {
  readonly key: string;
  /** How many requests it takes at once, as the engine says; null where it does not say. */
  readonly slots: number | null;
}

/** A file that looks like a model and is not offered as one. */
export interface LeftOut {
  /** Its path below the engine's folder of models. */
  readonly file: string;
  /** Why, for the operator. */
  readonly reason: string;
}

/** How an engine is started for a card: chosen by measured VRAM, shown to the operator, overridable. */
export interface LaunchProfile {
  readonly name: string;
  readonly reason: string;
  readonly args: readonly string[];
  readonly slots: number;
  readonly contextLength: number | null;
  /** The part of a text model's layers on the GPU, 0 to 1; null leaves it to the engine. */
  readonly gpuRatio: number | null;
  readonly savesMemory: boolean;
  /** VRAM that work takes on top of what a load shows: a picture's latents and decoder. */
  readonly workingBytes: number;
}

export interface EngineDescription {
  readonly id: string;
  readonly kind: string;
  readonly title: string;
  /** True for a stand-in: everything it makes is a demonstration. */
  readonly demo: boolean;
  readonly ownership: Ownership;
  readonly address: string | null;
  readonly version: string | null;
  readonly profile: LaunchProfile;
  /** True where the engine holds one model at a time. */
  readonly exclusive: boolean;
}

export interface TextRequest {
  readonly modelKey: string;
  readonly endpoint: 'chat/completions' | 'completions';
  /** The caller's OpenAI body. The adapter replaces `model` and leaves the rest as it came. */
  readonly body: Readonly<Record<string, unknown>>;
}

export type TextEvent =
  /** One complete server-sent event, as the engine sent it, and the tokens that were written by then, as far as is known. */
  | { readonly type: 'event'; readonly bytes: Uint8Array; readonly tokensSoFar: number }
  /** The last one. */
  | { readonly type: 'end'; readonly usage: Usage };

/** A whole answer: the engine's JSON, and what it used. Both say the same of that. */
export interface Answer {
  readonly body: string;
  readonly usage: Usage;
}

export interface EmbedRequest {
  readonly modelKey: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** One picture. More than one is more than one lease, so that others get a turn in between. */
export interface ImageRequest {
  readonly modelKey: string;
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly width: number;
  readonly height: number;
  readonly steps: number;
  readonly guidance: number;
  readonly seed: number;
  /** The engine's own choice when null. */
  readonly sampler: Sampler | null;
  /** Drawn small first and then larger: what comes out is `scale` times width and height. Only without a source. */
  readonly hires: { readonly scale: number; readonly steps: number; readonly strength: number } | null;
  /** Whether to say how it looks on the way, where the engine can. */
  readonly previews: boolean;
  /** Set for image-to-image; the mask's white parts are drawn anew. */
  readonly source: {
    readonly image: Uint8Array;
    readonly mask: Uint8Array | null;
    readonly strength: number;
  } | null;
}

export type ImageEvent =
  | {
      readonly type: 'progress';
      readonly fraction: number;
      readonly step: number;
      readonly steps: number;
      /** How it looks so far, as a small picture in whatever format the engine has; null when there is none. */
      readonly preview: Uint8Array | null;
    }
  | { readonly type: 'image'; readonly png: Uint8Array; readonly seed: number };

export interface WorkOptions {
  /** Aborted when nobody wants the result any more; the engine must stop working on it. */
  readonly signal: AbortSignal;
}

/**
 * A server program that runs models. Every method rejects with an EngineError, and never waits without a bound.
 *
 * Who calls it holds a lease: an adapter is never given more requests than it said it has slots, and `unload` is
 * never called while a request for that model runs.
 */
export interface Engine {
  describe(): EngineDescription;
  /** Brings the engine to where it answers, whatever state it is in. Concurrent calls join. */
  ensureReady(signal: AbortSignal): Promise<void>;
  /** What it could load. */
  models(signal: AbortSignal): Promise<EngineModel[]>;
  /** The files that the last call of `models` left out, where the engine's files are ours to look at. */
  leftOut?(): readonly LeftOut[];
  /** Has it look at its files anew, where it does not by itself. */
  rescan?(signal: AbortSignal): Promise<void>;
  /** What it holds in VRAM now, whoever loaded it. */
  loaded(signal: AbortSignal): Promise<LoadedModel[]>;
  /** Resolves once the model serves, confirmed by asking. A model that is already loaded is left as it is. */
  load(key: string, signal: AbortSignal): Promise<LoadedModel>;
  /** Resolves once the engine no longer lists the model; whether memory came back is measured by the caller. */
  unload(key: string, signal: AbortSignal): Promise<void>;
  /** The VRAM a model is expected to need, in bytes, before it was ever measured. */
  estimate(model: EngineModel): number;
  /** Reads what a load will read, so that it comes from memory. Best effort. */
  prewarm?(key: string, signal: AbortSignal): Promise<void>;
  /** A text as it is written. */
  stream(request: TextRequest, options: WorkOptions): AsyncIterable<TextEvent>;
  /** A text when it is written. */
  complete(request: TextRequest, options: WorkOptions): Promise<Answer>;
  embed(request: EmbedRequest, options: WorkOptions): Promise<Answer>;
  image(request: ImageRequest, options: WorkOptions): AsyncIterable<ImageEvent>;
  /** Generates a little on a loaded model: a list that answers proves nothing. */
  health(loadedKey: string, signal: AbortSignal): Promise<void>;
  /** Ends what we started; leaves what we found. */
  stop(): Promise<void>;
  /** Called when the engine stopped serving by itself; every model in it is gone. */
  onLost(listener: (reason: string) => void): void;
  /** Recent output of the process, where it is ours. */
  logs(): readonly LogLine[];
}
