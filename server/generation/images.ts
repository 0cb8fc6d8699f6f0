import { randomInt } from 'node:crypto';
import type { CatalogModel } from '../../gpu/catalog.ts';
import type { ImageRequest } from '../../gpu/engines/engine.ts';
import type { Ticket } from '../admission/admission.ts';
import { ApiError } from '../http/api-error.ts';
import type { HeldReply } from '../http/held-reply.ts';
import { limits } from '../contract/limits.ts';
import { type Moderation, nothingAllowed } from '../moderation/moderation.ts';
import type { PricedWork } from '../offers/prices.ts';
import { causeOf, type GenerationDeps, json, waitingOf } from './text.ts';
import { addTimings, noTimings } from './timings.ts';

export interface ImageJob {
  readonly model: CatalogModel;
  readonly count: number;
  /** -1 draws one at random, so that it can be told and used again. */
  readonly request: Omit<ImageRequest, 'modelKey'>;
  readonly ticket: Ticket;
}

export interface Picture {
  readonly png: Uint8Array;
  readonly seed: number;
}

/**
 * Makes pictures one lease at a time, so that others get their turn between two of them, and answers with what
 * `render` makes of them. The ticket is settled before the answer goes out, or voided.
 */
export async function answerImages(
  { gpu, moderation }: GenerationDeps & { readonly moderation: Moderation },
  { model, count, request, ticket }: ImageJob,
  held: HeldReply,
  render: (pictures: readonly Picture[]) => Promise<object>,
): Promise<void> {
  const { signal } = held;
  const { tenant } = ticket.identity;
  ticket.onRevoked((reason) => held.abort(reason));
  const total = noTimings();
  const pictures: Picture[] = [];
  const first = request.seed < 0 ? randomInt(2 ** 31) : request.seed;
  try {
    for (let index = 0; index < count; index += 1) {
      const seed = (first + index) % 2 ** 32;
      const run = gpu.image(model.id, { ...request, seed }, ticket.caller, signal);
      held.tellWaiting(() => waitingOf(run));
      let made: Picture | null = null;
      try {
        for await (const event of run.events) {
          if (event.type === 'image') made = { png: event.png, seed: event.seed };
        }
      } finally {
        addTimings(total, run.timings);
      }
      if (made && (await moderation.allows(tenant, made.png))) pictures.push(made);
    }
    if (pictures.length === 0) throw nothingAllowed();
    const body = JSON.stringify(await render(pictures));
    ticket.settle({ images: pictures.length }, total, { status: 200, contentType: json, body });
    held.end(body);
  } catch (error) {
    const cause = causeOf(error, signal);
    ticket.void(cause, { images: pictures.length }, total);
    held.fail(cause);
  }
}

/** What pictures come to, for their price. */
export function imageWork(
  count: number,
  { width, height, steps }: Pick<ImageRequest, 'width' | 'height' | 'steps'>,
): PricedWork {
  return { kind: 'image', count, width, height, steps };
}

/** Checks a width and height a caller asked for; both default to 512. */
export function checkedSize(width = 512, height = 512): { width: number; height: number } {
  const { minSide, maxSide, multipleOf } = limits.image;
  for (const [name, side] of [
    ['width', width],
    ['height', height],
  ] as const) {
    if (side < minSide || side > maxSide || side % multipleOf !== 0) {
      throw new ApiError(
        'invalid_request',
        `The ${name} ${side} is not allowed: ${minSide} to ${maxSide}, in steps of ${multipleOf}.`,
        { param: name },
      );
    }
  }
  return { width, height };
}

/** The nearest size to a picture's own that can be generated. */
export function fittedSize({ width, height }: { width: number; height: number }): {
  width: number;
  height: number;
} {
  const { minSide, maxSide, multipleOf } = limits.image;
  const scale = Math.min(1, maxSide / Math.max(width, height));
  const fit = (side: number): number =>
    Math.min(maxSide, Math.max(minSide, Math.round((side * scale) / multipleOf) * multipleOf));
  return { width: fit(width), height: fit(height) };
}

/** "1024x768" as numbers; null, undefined and "auto" are the default. */
export function parseSize(size: string | null | undefined): { width: number; height: number } {
  if (size === null || size === undefined || size === 'auto') return checkedSize();
  const [width, height] = size.toLowerCase().split('x').map(Number);
  try {
    return checkedSize(width, height);
  } catch (error) {
    if (error instanceof ApiError) throw new ApiError('invalid_request', error.message, { param: 'size' });
    throw error;
  }
}

const defaults = { steps: 20, guidance: 7, strength: 0.6 } as const;

/** What a caller said of a picture, in any route's words. */
export interface ImageWish {
  readonly prompt: string;
  readonly negativePrompt?: string | undefined;
  readonly steps?: number | undefined;
  readonly guidance?: number | undefined;
  readonly seed?: number | undefined;
}

/** A picture to begin from, with how far to go from it. */
export function imageSource({
  strength,
  ...pictures
}: {
  image: Uint8Array;
  mask: Uint8Array | null;
  strength: number | undefined;
}): NonNullable<ImageRequest['source']> {
  return { ...pictures, strength: strength ?? defaults.strength };
}

/** The whole request for a picture: what was said, and the defaults for what was not. */
export function imageRequest(
  wish: ImageWish,
  size: { width: number; height: number },
  source: ImageRequest['source'] = null,
): Omit<ImageRequest, 'modelKey'> {
  return {
    ...size,
    prompt: wish.prompt,
    negativePrompt: wish.negativePrompt ?? '',
    steps: wish.steps ?? defaults.steps,
    guidance: wish.guidance ?? defaults.guidance,
    seed: wish.seed ?? -1,
    sampler: null,
    hires: null,
    previews: false,
    source,
  };
}
