import { setTimeout as delay } from 'node:timers/promises';
import { engineRestart } from '../../supervisor/backoff.ts';
import type { LogLine } from '../../supervisor/log-ring.ts';
import type { SupervisedChild, Supervisor } from '../../supervisor/supervisor.ts';
import { estimateImageBytes } from '../../vram/estimate.ts';
import { EngineError, isFinalError } from '../engine-error.ts';
import type {
  Answer,
  Engine,
  EngineDescription,
  EngineModel,
  ImageEvent,
  ImageRequest,
  LaunchProfile,
  LoadedModel,
  TextEvent,
  WorkOptions,
} from '../engine.ts';
import { EngineHttp, field, type HttpLimits, textField } from '../http.ts';
import type { Sampler } from '../samplers.ts';
import { checkedPng } from '../checked-png.ts';
import { type Checkpoint, checkpointNamed, checkpointsOf, isSameHash, keyOfTitle } from './checkpoints.ts';
import { type Flavour, flavourOf, flavours } from './flavours.ts';

interface WebuiLaunch {
  /** The program to run: the venv's Python, never webui.bat or webui.sh, which respawn behind our back. */
  readonly command: string;
  readonly folder: string;
  /** Replaces the flavour's own arguments (a stand-in has none of them). */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface WebuiOptions {
  readonly id: string;
  readonly port: number;
  readonly flavour: Flavour['name'] | null;
  readonly launch: WebuiLaunch | null;
  /** `user:password` of an adopted engine's --api-auth. One we start needs none: it would show in its arguments. */
  readonly auth: string | null;
  readonly profile: LaunchProfile;
  readonly supervisor: Supervisor;
  readonly demo: boolean;
  readonly limits?: Partial<HttpLimits>;
}

type Progress = Omit<Extract<ImageEvent, { type: 'progress' }>, 'type'>;

/** As they are called in every version: the newer ones take the schedule from the end of the name. */
const samplerNames: Readonly<Record<Sampler, string>> = {
  euler: 'Euler',
  'euler-a': 'Euler a',
  heun: 'Heun',
  'dpmpp-2m': 'DPM++ 2M',
  'dpmpp-2m-karras': 'DPM++ 2M Karras',
  'dpmpp-sde-karras': 'DPM++ SDE Karras',
  ddim: 'DDIM',
  unipc: 'UniPC',
  lcm: 'LCM',
};

/** Larger than any preview there is. */
const previewBytes = 4 * 1024 ** 2;

const timing = { startMs: 180_000, pollMs: 400, imageMs: 15 * 60_000, interruptMs: 60_000 } as const;

/** AUTOMATIC1111, Forge or SD.Next, over the /sdapi/v1 API they share. One request at a time, one checkpoint. */
export class Webui implements Engine {
  readonly #options: WebuiOptions;
  readonly #http: EngineHttp;
  readonly #child: SupervisedChild | null;
  #flavour: Flavour;
  /** Whether it was found running, so that it is not ours to end. */
  #isFound = false;
  /** What we loaded, and whether its weights are in VRAM or were moved to system memory. */
  #current: { key: string; inVram: boolean } | null = null;

  constructor(options: WebuiOptions) {
    this.#options = options;
    const { auth, limits, launch, port } = options;
    this.#flavour = flavours[options.flavour ?? 'automatic1111'];
    this.#http = new EngineHttp(`http://127.0.0.1:${port}`, {
      ...(auth !== null && { headers: { authorization: `Basic ${Buffer.from(auth).toString('base64')}` } }),
      ...(limits && { limits }),
    });
    this.#child =
      launch &&
      options.supervisor.child({
        id: options.id,
        command: launch.command,
        args: launch.args ?? [...this.#flavour.args(port), ...options.profile.args],
        cwd: launch.folder,
        ...(launch.env && { env: launch.env }),
        port,
        probe: (signal) => this.#answers(signal),
        readyTimeoutMs: timing.startMs,
        restart: engineRestart,
        isFinal: isFinalError,
      });
  }

  describe(): EngineDescription {
    const { id, demo, profile } = this.#options;
    return {
      id,
      kind: this.#flavour.name,
      title: demo ? `${this.#flavour.title} (demo stand-in)` : this.#flavour.title,
      demo,
      ownership: this.#child && !this.#isFound ? 'ours' : 'theirs',
      address: this.#http.origin,
      version: null,
      profile,
      exclusive: true,
    };
  }

  async ensureReady(signal: AbortSignal): Promise<void> {
    if (this.#child?.state !== 'ready') {
      // Already running and not ours: used as it is.
      const adopted = !this.#child?.pid && (await this.#answers(signal).then(() => true, rethrowRefusal));
      this.#isFound = adopted;
      if (!adopted) {
        if (!this.#child) throw new EngineError('unreachable', `Nothing answers at ${this.#http.origin}.`);
        await this.#child.ensureReady(signal).catch((error: unknown) => {
          throw EngineError.from(error, 'start_failed');
        });
        this.#current = null;
      }
    }
    if (this.#options.flavour === null) this.#flavour = await this.#detect(signal);
  }

  async #answers(signal: AbortSignal): Promise<void> {
    const options = await this.#http.json('/sdapi/v1/options', { signal, timeoutMs: 5_000 });
    if (field(options, 'sd_model_checkpoint') === undefined) {
      throw new EngineError(
        'port_taken',
        `What answers at ${this.#http.origin} is no Stable Diffusion web UI.`,
      );
    }
  }

  async #detect(signal: AbortSignal): Promise<Flavour> {
    const paths = field(await this.#http.json('/openapi.json', { signal }).catch(() => null), 'paths');
    return flavourOf(typeof paths === 'object' && paths !== null ? Object.keys(paths) : []);
  }

  async rescan(signal: AbortSignal): Promise<void> {
    await this.#http.json('/sdapi/v1/refresh-checkpoints', { method: 'POST', signal, timeoutMs: 60_000 });
  }

  async models(signal: AbortSignal): Promise<EngineModel[]> {
    return (await this.#checkpoints(signal)).map(
      ({ title: _, hash: __, sha256: ___, path: ____, ...model }) => model,
    );
  }

  async #checkpoints(signal: AbortSignal): Promise<Checkpoint[]> {
    const list = await this.#http.json('/sdapi/v1/sd-models', { signal });
    if (!Array.isArray(list)) throw new EngineError('bad_answer', 'The list of checkpoints is no list.');
    return checkpointsOf(list);
  }

  async loaded(signal: AbortSignal): Promise<LoadedModel[]> {
    const known = this.#current;
    if (known && !known.inVram) return [];
    if (!known) {
      // What somebody else loaded shows only as memory in use.
      const memory = await this.#http.json('/sdapi/v1/memory', { signal }).catch(() => null);
      const held = field(field(field(memory, 'cuda'), 'allocated'), 'current');
      if (typeof held !== 'number' || held < 256 * 1024 ** 2) return [];
    }
    // Another one may have been chosen in the web UI's own window since.
    const key = (await this.#selected(signal)) ?? known?.key;
    if (key === undefined) return [];
    this.#current = { key, inVram: true };
    return [{ key, slots: 1 }];
  }

  /** The key of the checkpoint that is chosen now, whatever the web UI calls it; null where none is. */
  async #selected(signal: AbortSignal): Promise<string | null> {
    const options = await this.#http.json('/sdapi/v1/options', { signal });
    const names = [textField(options, 'sd_model_checkpoint'), textField(options, 'sd_checkpoint_hash')];
    const checkpoints = await this.#checkpoints(signal);
    for (const name of names) {
      const found = name === '' ? null : checkpointNamed(checkpoints, name);
      if (found) return found.key;
    }
    return names[0] ? keyOfTitle(names[0]) : null;
  }

  async load(key: string, signal: AbortSignal): Promise<LoadedModel> {
    const checkpoint = (await this.#checkpoints(signal)).find((one) => one.key === key);
    if (!checkpoint) throw new EngineError('model_missing', key);
    const timeoutMs = this.#http.limits.loadTimeoutMs;
    const parked = this.#current?.key === key && !this.#current.inVram;
    if (parked && this.#flavour.reloadPath && (await this.#selected(signal)) === key) {
      // The weights wait in system memory: bringing them back is much quicker than reading them from disk.
      await this.#http.json(this.#flavour.reloadPath, { method: 'POST', signal, timeoutMs });
    } else await this.#select(checkpoint, signal);
    // Its title may be another one now, with the hash that was read with the weights: what counts is the file.
    const selected = await this.#selected(signal);
    if (selected !== key) {
      throw new EngineError('load_failed', `It selected "${selected ?? 'nothing'}" instead of "${key}".`);
    }
    this.#current = { key, inVram: true };
    return { key, slots: 1 };
  }

  async #select({ title }: Checkpoint, signal: AbortSignal): Promise<void> {
    const timeoutMs = this.#http.limits.loadTimeoutMs;
    await this.#http.json('/sdapi/v1/options', { body: { sd_model_checkpoint: title }, signal, timeoutMs });
  }

  async unload(_key: string, signal: AbortSignal): Promise<void> {
    if (this.#child && this.#child.state !== 'ready') return;
    await this.#http.json('/sdapi/v1/unload-checkpoint', { method: 'POST', signal, timeoutMs: 60_000 });
    if (this.#current) this.#current = { ...this.#current, inVram: false };
  }

  estimate({ sizeBytes }: EngineModel): number {
    return estimateImageBytes({ sizeBytes, workingBytes: this.#options.profile.workingBytes });
  }

  stream(): AsyncIterable<TextEvent> {
    throw new EngineError('unsupported', 'A Stable Diffusion web UI writes no text.');
  }

  complete(): Promise<Answer> {
    return Promise.reject(new EngineError('unsupported', 'A Stable Diffusion web UI writes no text.'));
  }

  embed(): Promise<Answer> {
    return Promise.reject(new EngineError('unsupported', 'A Stable Diffusion web UI makes no embeddings.'));
  }

  /** Somebody may have chosen another checkpoint in the web UI's own window since ours was loaded. */
  async #reselect(key: string, signal: AbortSignal): Promise<void> {
    if (this.#current?.key !== key) return;
    const selected = await this.#selected(signal);
    if (selected === null || selected === key) return;
    const checkpoint = (await this.#checkpoints(signal)).find((one) => one.key === key);
    if (checkpoint) await this.#select(checkpoint, signal);
  }

  async *image(request: ImageRequest, { signal }: WorkOptions): AsyncGenerator<ImageEvent, void, void> {
    await this.#reselect(request.modelKey, signal);
    // The request is not tied to the caller's signal: closing the connection would not stop the picture, and the
    // interrupt must be repeated until this very request has come back.
    const ended = new AbortController();
    let settled: { answer: unknown } | { error: unknown } | null = null;
    const path = request.source ? '/sdapi/v1/img2img' : '/sdapi/v1/txt2img';
    const posted = this.#http
      .json(path, { body: bodyOf(request), signal: ended.signal, timeoutMs: timing.imageMs })
      .then(
        (answer) => (settled = { answer }),
        (error: unknown) => (settled = { error }),
      );
    try {
      let fraction = 0;
      let movedAt = performance.now();
      const aborted = abortion(signal);
      while (!settled) {
        await Promise.race([posted, aborted, delay(timing.pollMs, undefined, { ref: false })]);
        if (settled) break;
        if (signal.aborted) throw new EngineError('aborted', undefined, { cause: signal.reason });
        if (performance.now() - movedAt > this.#http.limits.firstByteTimeoutMs)
          throw new EngineError('silent');
        const progress = await this.#progress(request.previews, ended.signal);
        // It says 0 between jobs and odd things at the start; what is shown only ever grows.
        if (progress && progress.fraction > fraction) {
          ({ fraction } = progress);
          movedAt = performance.now();
          yield { type: 'progress', ...progress };
        }
      }
    } finally {
      if (!settled) await this.#interrupt(posted, ended);
    }
    // Assigned in a callback, which the compiler does not follow.
    const outcome = settled as { answer: unknown } | { error: unknown };
    if ('error' in outcome) throw EngineError.from(outcome.error, 'bad_answer');
    yield await this.#picture(outcome.answer, request, signal);
  }

  async #progress(previews: boolean, signal: AbortSignal): Promise<Progress | null> {
    // Encoding one costs the engine time: only for those who want it.
    const path = `/sdapi/v1/progress?skip_current_image=${!previews}`;
    const answer = await this.#http.json(path, { signal, timeoutMs: 3_000 }).catch(() => null);
    const fraction = field(answer, 'progress');
    const state = field(answer, 'state');
    if (typeof fraction !== 'number' || !Number.isFinite(fraction) || field(state, 'job_count') === 0)
      return null;
    const [step, steps] = [field(state, 'sampling_step'), field(state, 'sampling_steps')];
    return {
      fraction: Math.min(0.99, Math.max(0, fraction)),
      step: typeof step === 'number' ? step : 0,
      steps: typeof steps === 'number' ? steps : 0,
      preview: previewOf(field(answer, 'current_image')),
    };
  }

  /** Interrupts until the request has returned: one sent before the job began is lost. */
  async #interrupt(posted: Promise<unknown>, ended: AbortController): Promise<void> {
    const deadline = performance.now() + timing.interruptMs;
    let returned = false;
    void posted.finally(() => (returned = true));
    while (!returned && performance.now() < deadline) {
      await this.#http
        .json('/sdapi/v1/interrupt', { method: 'POST', signal: ended.signal, timeoutMs: 3_000 })
        .catch(() => undefined);
      await Promise.race([posted, delay(200, undefined, { ref: false })]);
    }
    ended.abort();
    if (!returned) await this.#child?.stop();
  }

  async #picture(answer: unknown, request: ImageRequest, signal: AbortSignal): Promise<ImageEvent> {
    const images = field(answer, 'images');
    const info = infoOf(field(answer, 'info'));
    const first = field(info, 'index_of_first_image');
    const encoded: unknown = Array.isArray(images)
      ? images[typeof first === 'number' ? first : 0]
      : undefined;
    if (typeof encoded !== 'string') throw new EngineError('bad_answer', 'It holds no image.');
    const used = field(info, 'sd_model_hash');
    const wanted = (await this.#checkpoints(signal)).find(({ key }) => key === request.modelKey)?.hash;
    if (typeof used === 'string' && used !== '' && wanted && !isSameHash(used, wanted)) {
      throw new EngineError('wrong_model', `The image was made with checkpoint ${used}, not ${wanted}.`);
    }
    const seed = field(info, 'seed');
    return {
      type: 'image',
      png: await checkedPng(encoded, finalSize(request)),
      seed: typeof seed === 'number' && seed >= 0 ? seed : request.seed,
    };
  }

  async health(_loadedKey: string, signal: AbortSignal): Promise<void> {
    const request: ImageRequest = {
      modelKey: this.#current?.key ?? '',
      prompt: 'test',
      negativePrompt: '',
      width: 64,
      height: 64,
      steps: 1,
      guidance: 1,
      seed: 1,
      sampler: null,
      hires: null,
      previews: false,
      source: null,
    };
    for await (const event of this.image(request, { signal })) if (event.type === 'image') return;
  }

  async stop(): Promise<void> {
    this.#current = null;
    await this.#child?.stop();
  }

  onLost(listener: (reason: string) => void): void {
    this.#child?.onExit((reason) => {
      this.#current = null;
      listener(reason);
    });
  }

  logs(): readonly LogLine[] {
    return this.#child?.logs() ?? [];
  }
}

function bodyOf(request: ImageRequest): Record<string, unknown> {
  const { source, hires } = request;
  return {
    prompt: request.prompt,
    negative_prompt: request.negativePrompt,
    width: request.width,
    height: request.height,
    steps: request.steps,
    cfg_scale: request.guidance,
    seed: request.seed,
    sampler_name: samplerNames[request.sampler ?? 'euler-a'],
    batch_size: 1,
    n_iter: 1,
    send_images: true,
    save_images: false,
    ...(hires && {
      enable_hr: true,
      hr_scale: hires.scale,
      hr_upscaler: 'Latent',
      hr_second_pass_steps: hires.steps,
      denoising_strength: hires.strength,
    }),
    ...(source && {
      init_images: [Buffer.from(source.image).toString('base64')],
      denoising_strength: source.strength,
      ...(source.mask && {
        mask: Buffer.from(source.mask).toString('base64'),
        inpainting_fill: 1,
        inpaint_full_res: false,
        mask_blur: 4,
      }),
    }),
  };
}

function previewOf(encoded: unknown): Uint8Array | null {
  if (typeof encoded !== 'string' || encoded === '' || encoded.length > previewBytes) return null;
  return Buffer.from(encoded.replace(/^data:[^,]*,/, ''), 'base64');
}

/** What comes out, after the enlargement. */
function finalSize({ width, height, hires }: ImageRequest): { width: number; height: number } {
  const scale = hires?.scale ?? 1;
  return { width: Math.round(width * scale), height: Math.round(height * scale) };
}

/** What Python writes for floats that JSON does not have, and texts, in which the same words are only words. */
const noNumbers = /"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/g;

/** `info` is a JSON text inside the JSON answer, written by Python as it comes. */
function infoOf(info: unknown): unknown {
  if (typeof info !== 'string') return info;
  try {
    return JSON.parse(info.replace(noNumbers, (found) => (found.startsWith('"') ? found : 'null')));
  } catch {
    return null;
  }
}

/** Nobody there is an answer; a stranger or a wrong password is not. */
function rethrowRefusal(error: unknown): false {
  const engineError = EngineError.from(error, 'unreachable');
  if (engineError.kind === 'aborted' || engineError.kind === 'port_taken' || engineError.status !== null) {
    throw engineError;
  }
  return false;
}

/** Resolves when the signal is aborted. */
function abortion(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
