import { createHash, randomInt } from 'node:crypto';
import { readdirSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { allocate, cardMib, release, usedMib } from '../card.ts';
import { fault } from '../faults.ts';
import { answerFault, bodyOf, json, listen, startFaults } from '../http.ts';
import { takes } from '../pace.ts';
import { draw } from './draw.ts';
import { withText } from './png-text.ts';

/*
 * Stands in for AUTOMATIC1111's web UI in --nowebui mode, or for Forge or SD.Next with --flavour: one checkpoint,
 * one job at a time behind a lock, progress that is nobody's in particular, weights that go to system memory on
 * unload, and a context that stays until the process ends.
 */
const { values } = parseArgs({
  strict: false,
  options: {
    port: { type: 'string', default: '7861' },
    flavour: { type: 'string', default: 'automatic1111' },
  },
});
const folder = process.env['STANDIN_DIR'] ?? '.';
const flavour = String(values['flavour']);

interface Checkpoint {
  readonly name: string;
  readonly hash: string;
  readonly weightsMib: number;
  readonly workingMib: number;
  readonly loadMs: number;
  readonly stepMs: number;
}

const builtIn: readonly Checkpoint[] = [
  { name: 'demo-sd15', hash: 'de30051500', weightsMib: 3_000, workingMib: 850, loadMs: 8_000, stepMs: 260 },
  {
    name: 'demo-sd15-paint',
    hash: 'de30051501',
    weightsMib: 3_000,
    workingMib: 850,
    loadMs: 8_000,
    stepMs: 260,
  },
  { name: 'demo-xl', hash: 'de300abcde', weightsMib: 5_400, workingMib: 850, loadMs: 20_000, stepMs: 900 },
];
/** Hashes of files, read with their weights: until its first load a file has none, and no hash in its title. */
const hashes = new Map(builtIn.map(({ name, hash }) => [name, hash]));
/** What is listed: as of the start, or of the last time that it was told to look. */
let checkpoints = [...builtIn, ...onDisk()];
const samplers = [
  'Euler a',
  'Euler',
  'Heun',
  'DPM++ 2M',
  'DPM++ 2M Karras',
  'DPM++ SDE Karras',
  'DDIM',
  'UniPC',
  'LCM',
];
const contextMib = 320;
const hashOf = ({ name }: Checkpoint): string | null => hashes.get(name) ?? null;
const title = (checkpoint: Checkpoint): string => {
  const hash = hashOf(checkpoint);
  return `${checkpoint.name}.safetensors${hash === null ? '' : ` [${hash}]`}`;
};

/** Files in the folder `checkpoints`, as far as a stand-in knows of them: their names. */
function onDisk(): Checkpoint[] {
  try {
    return readdirSync(join(folder, 'checkpoints'))
      .filter((name) => name.endsWith('.safetensors'))
      .map((name) => ({
        ...(builtIn[0] as Checkpoint),
        name: name.slice(0, -'.safetensors'.length),
        hash: '',
      }));
  } catch {
    return [];
  }
}

let selected: Checkpoint = builtIn[0] as Checkpoint;
let weights: 'disk' | 'ram' | 'vram' = 'disk';
let lock: Promise<void> = Promise.resolve();
let job: { step: number; steps: number; interrupted: boolean; name: string; preview: Buffer | null } | null =
  null;

/** One at a time, in order: the lock every job of the real one goes through. */
async function locked<T>(work: () => Promise<T>): Promise<T> {
  const before = lock;
  let unlock = (): void => undefined;
  lock = new Promise((resolve) => (unlock = resolve));
  await before;
  try {
    return await work();
  } finally {
    unlock();
  }
}

async function load(checkpoint: Checkpoint): Promise<void> {
  if (selected.name === checkpoint.name && weights === 'vram') return;
  if (selected.name !== checkpoint.name) {
    release(folder, 'weights');
    weights = 'disk';
  }
  selected = checkpoint;
  const outOfMemory = usedMib(folder) + checkpoint.weightsMib + contextMib > cardMib - 181;
  if (outOfMemory || fault(folder, 'out_of_memory_on_load') !== null) throw new OutOfMemory();
  // From system memory it is much quicker than from disk.
  console.log(`Loading weights from ${weights === 'ram' ? 'system memory' : 'disk'}`);
  await takes(weights === 'ram' ? checkpoint.loadMs / 5 : checkpoint.loadMs);
  allocate(folder, 'weights', checkpoint.weightsMib);
  allocate(folder, 'context', contextMib);
  weights = 'vram';
  const { name } = checkpoint;
  if (!hashes.has(name)) hashes.set(name, createHash('sha256').update(name).digest('hex').slice(0, 10));
}

class OutOfMemory extends Error {}

function failure(response: ServerResponse, error: unknown): void {
  const name = error instanceof OutOfMemory ? 'OutOfMemoryError' : 'RuntimeError';
  const text =
    error instanceof OutOfMemory ? 'CUDA out of memory. Tried to allocate 1.50 GiB' : String(error);
  const key = flavour === 'forge' ? 'message' : 'errors';
  json(response, 500, { error: name, detail: '', body: '', [key]: text });
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = request.url?.split('?')[0];
  switch (`${request.method} ${path}`) {
    case 'GET /sdapi/v1/options':
      return json(response, 200, { sd_model_checkpoint: title(selected), samples_format: 'png' });
    case 'POST /sdapi/v1/options': {
      const wanted = (await bodyOf(request))['sd_model_checkpoint'];
      if (wanted === undefined) return json(response, 200, null);
      const checkpoint = checkpoints.find((known) =>
        [title(known), `${known.name}.safetensors`, known.name, hashOf(known)].includes(String(wanted)),
      );
      if (!checkpoint) return failure(response, new Error(`model ${String(wanted)} not found`));
      await locked(() => load(checkpoint)).then(
        () => json(response, 200, null),
        (error: unknown) => failure(response, error),
      );
      return;
    }
    case 'POST /sdapi/v1/refresh-checkpoints':
      checkpoints = [...builtIn, ...onDisk()];
      return json(response, 200, null);
    case 'GET /sdapi/v1/sd-models':
      return json(
        response,
        200,
        checkpoints.map((known) => ({
          title: title(known),
          model_name: known.name,
          hash: hashOf(known),
          sha256: hashOf(known)?.padEnd(64, '0') ?? null,
          filename:
            fault(folder, 'path_names') === null ? `${known.name}.safetensors` : '../../../etc/passwd',
          config: null,
        })),
      );
    case 'GET /sdapi/v1/progress':
      return json(response, 200, progress(request.url?.includes('skip_current_image=true') ?? false));
    case 'GET /sdapi/v1/memory': {
      const used = weights === 'vram' ? selected.weightsMib * 1024 ** 2 : 0;
      return json(response, 200, { ram: {}, cuda: { allocated: { current: used, peak: used } } });
    }
    case 'GET /sdapi/v1/samplers':
      return json(
        response,
        200,
        samplers.map((name) => ({ name, aliases: [], options: {} })),
      );
    case 'POST /sdapi/v1/interrupt':
      // One that comes while nothing runs is lost.
      if (job) job.interrupted = true;
      return done(response);
    case 'POST /sdapi/v1/unload-checkpoint':
      if (weights === 'vram') {
        await takes(1_200);
        release(folder, 'weights');
        weights = 'ram';
      }
      return done(response);
    case 'POST /sdapi/v1/reload-checkpoint':
      if (flavour !== 'forge') await locked(() => load(selected));
      return done(response);
    case 'POST /sdapi/v1/txt2img':
    case 'POST /sdapi/v1/img2img':
      return generate(request, response, path === '/sdapi/v1/img2img');
    case 'GET /openapi.json': {
      const own =
        flavour === 'forge' ? ['sd-modules'] : flavour === 'sdnext' ? ['status', 'version'] : ['sd-vae'];
      return json(response, 200, { paths: Object.fromEntries(own.map((name) => [`/sdapi/v1/${name}`, {}])) });
    }
    default:
      return json(response, 404, { detail: 'Not Found' });
  }
}

/** SD.Next answers these with no body at all. */
function done(response: ServerResponse): void {
  if (flavour === 'sdnext') response.writeHead(204).end();
  else json(response, 200, {});
}

function progress(withoutImage: boolean): object {
  const state = {
    skipped: false,
    interrupted: job?.interrupted ?? false,
    job: job?.name ?? '',
    // -1 for a moment at the start, as in the real one.
    job_count: job ? (job.step === 0 ? -1 : 1) : 0,
    job_no: 0,
    sampling_step: job?.step ?? 0,
    sampling_steps: job?.steps ?? 0,
  };
  const fraction = job ? (job.step === 0 ? -0.01 : job.step / job.steps) : 0;
  return {
    progress: fraction,
    eta_relative: 0,
    state,
    current_image: (withoutImage ? null : job?.preview?.toString('base64')) ?? null,
    textinfo: null,
  };
}

async function generate(
  request: IncomingMessage,
  response: ServerResponse,
  fromImage: boolean,
): Promise<void> {
  const body = await bodyOf(request);
  await locked(async () => {
    if (await answerFault(folder, response))
      return new Promise<void>((resolve) => response.on('close', resolve));
    try {
      await picture(body, fromImage, response);
    } catch (error) {
      failure(response, error);
    } finally {
      job = null;
      release(folder, 'working');
    }
    return undefined;
  });
}

async function picture(
  body: Record<string, unknown>,
  fromImage: boolean,
  response: ServerResponse,
): Promise<void> {
  const sampler = String(body['sampler_name'] ?? 'Euler');
  if (!samplers.includes(sampler)) return json(response, 404, { detail: 'Sampler not found' });
  const scale = body['enable_hr'] === true && !fromImage ? Number(body['hr_scale'] ?? 2) : 1;
  const [width, height] = [body['width'], body['height']].map((side) =>
    Math.round(Number(side ?? 512) * scale),
  ) as [number, number];
  const wanted = Number(body['seed'] ?? -1);
  const seed = wanted < 0 ? randomInt(2 ** 31) : wanted;
  const inits = body['init_images'];
  const strength = Number(body['denoising_strength'] ?? 0.75);
  const asked = Number(body['steps'] ?? 50);
  const second = scale > 1 ? Number(body['hr_second_pass_steps'] ?? 0) || asked : 0;
  const steps = Math.max(1, Math.round(asked * (fromImage ? strength : 1))) + second;
  job = {
    step: 0,
    steps,
    interrupted: false,
    name: fromImage ? 'scripts_img2img' : 'scripts_txt2img',
    preview: null,
  };
  await load(selected);
  if (usedMib(folder) + selected.workingMib > cardMib || fault(folder, 'out_of_memory') !== null)
    throw new OutOfMemory();
  allocate(folder, 'working', selected.workingMib);
  const decode = (value: unknown): Buffer => Buffer.from(String(value).replace(/^data:[^,]*,/, ''), 'base64');
  const drawing = {
    prompt: String(body['prompt'] ?? ''),
    seed,
    width,
    height,
    source:
      fromImage && Array.isArray(inits)
        ? { image: decode(inits[0]), mask: body['mask'] ? decode(body['mask']) : null, strength }
        : null,
  };
  const stepMs = (selected.stepMs * width * height) / 512 ** 2;
  while (job.step < steps && !job.interrupted) {
    await takes(stepMs);
    job.step += 1;
    if (job.step % 5 === 0) {
      job.preview = await draw({
        ...drawing,
        width: 128,
        height: 128,
        progress: job.step / steps,
        source: null,
      });
    }
  }
  const text = `${drawing.prompt}\nSteps: ${steps}, Sampler: ${sampler}, Seed: ${seed}, Model: ${selected.name}, Version: demo stand-in`;
  const image = withText(await draw({ ...drawing, progress: job.step / steps }), 'parameters', text);
  const info = {
    seed,
    all_seeds: [seed],
    width,
    height,
    sd_model_name: selected.name,
    sd_model_hash: fault(folder, 'wrong_model') === null ? hashOf(selected) : 'ffffffffff',
    index_of_first_image: 0,
    infotexts: [text],
  };
  json(response, 200, { images: [image.toString('base64')], parameters: {}, info: JSON.stringify(info) });
}

await startFaults(folder);
listen(Number(values['port']), serve);
console.log('Startup time: 0.1s (demo stand-in)');
