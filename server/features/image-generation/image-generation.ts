import { randomInt } from 'node:crypto';
import type { ImageRequest } from '../../../gpu/engines/engine.ts';
import { ImageGenerationJob, type Style } from '../../contract/image-generation.ts';
import { limits } from '../../contract/limits.ts';
import type { Upload } from '../../files/upload-store.ts';
import {
  checkedSize,
  fittedSize,
  imageRequest,
  imageSource,
  imageWork,
  parseSize,
} from '../../generation/images.ts';
import { ApiError } from '../../http/api-error.ts';
import type { Feature, JobContext } from '../../jobs/feature.ts';
import { nothingAllowed } from '../../moderation/moderation.ts';

type Input = ImageGenerationJob;
type Size = { width: number; height: number };
type Wanted = Omit<ImageRequest, 'modelKey' | 'source'>;

const hiresDefaults = { strength: 0.5 } as const;

/** Pictures from a text, from a picture, or in a part of a picture: each picture is a step. */
export function imageGeneration(styles: readonly Style[]): Feature<Input> {
  return {
    name: 'image-generation',
    path: '/api/v1/jobs/image-generation',
    summary: 'Pictures from a text, or from a picture',
    body: ImageGenerationJob,
    modality: 'image',
    uploads: ({ image, mask }) => ({ image, mask }),
    wish(input, _model, uploads) {
      const wanted = wantedOf(input, styles, uploads['image']);
      return {
        prompts: [wanted.prompt, wanted.negativePrompt],
        images: input.n ?? 1,
        work: () => imageWork(input.n ?? 1, finalOf(wanted)),
      };
    },
    prepare: (input) => ({ ...input, seed: seedOf(input.seed) }),
    steps: (input) => input.n ?? 1,
    async run(input, context) {
      const { step, image, picture, progress, preview } = context;
      const count = input.n ?? 1;
      const sent = {
        image: input.image === undefined ? undefined : await context.upload(input.image),
        mask: input.mask === undefined ? undefined : await context.upload(input.mask),
      };
      const wanted = wantedOf(input, styles, sent.image?.upload);
      const source = await sourceOf(input, sent.image?.bytes, sent.mask?.bytes, wanted, context);
      let delivered = 0;
      for (let index = 0; index < count; index += 1) {
        const seed = (wanted.seed + index) % 2 ** 32;
        const { isDelivered } = await step(`picture-${index + 1}`, async (results) => {
          let png: Uint8Array | null = null;
          for await (const event of image({ ...wanted, seed, source }).events) {
            if (event.type === 'image') ({ png } = event);
            else {
              progress((index + event.fraction) / count);
              if (event.preview) preview(event.preview);
            }
          }
          if (!png) throw new ApiError('engine_error', 'The engine made no picture.');
          const bytes = input.strip_metadata ? (await picture({ kind: 'bare', bytes: png })).bytes : png;
          const name = `picture-${index + 1}.png`;
          const metadata = { ...metadataOf(input, wanted), seed };
          return { isDelivered: await results.add({ name, contentType: 'image/png', bytes, metadata }) };
        });
        if (isDelivered) delivered += 1;
        progress((index + 1) / count);
      }
      if (delivered === 0) throw nothingAllowed();
      return { images: delivered };
    },
  };
}

/** What is asked of the engine, apart from the pictures it begins from. Throws an ApiError for what cannot be. */
function wantedOf(input: Input, styles: readonly Style[], image: Upload | undefined): Wanted {
  const { mask, hires, strength } = input;
  const refuse = (param: string, why: string): ApiError => new ApiError('invalid_request', why, { param });
  if (mask !== undefined && !image) throw refuse('mask', 'A mask wants an image that it is for.');
  if (strength !== undefined && !image) throw refuse('strength', 'A strength wants an image to begin from.');
  if (hires && image) throw refuse('hires', 'With an image, say the size instead.');
  const style = styles.find(({ name }) => name === input.style);
  if (input.style !== undefined && !style)
    throw refuse(
      'style',
      `There is no style "${input.style}". Known: ${styles.map(({ name }) => name).join(', ')}.`,
    );
  const isAuto = input.size === undefined || input.size === null || input.size === 'auto';
  const size = image && isAuto ? fittedSize(image) : parseSize(input.size);
  const negatives = [input.negative_prompt, style?.negativePrompt].filter(Boolean);
  const { source: _, ...wanted } = imageRequest(
    {
      ...input,
      prompt: style ? style.prompt.replaceAll('{prompt}', () => input.prompt) : input.prompt,
      negativePrompt: negatives.join(', '),
    },
    size,
  );
  const whole: Wanted = {
    ...wanted,
    sampler: input.sampler ?? null,
    previews: input.previews ?? true,
    hires: hires ? { ...hiresDefaults, steps: wanted.steps, ...hires } : null,
  };
  const final = finalOf(whole);
  if (hires) checkHires(final, refuse);
  return whole;
}

function checkHires({ width, height }: Size, refuse: (param: string, why: string) => ApiError): void {
  const { maxSide } = limits.image;
  if (Math.max(width, height) > maxSide)
    throw refuse('hires', `That would be ${width}x${height}; ${maxSide} a side are allowed.`);
  try {
    checkedSize(width, height);
  } catch {
    throw refuse(
      'hires',
      `That would be ${width}x${height}; sides go in steps of ${limits.image.multipleOf}.`,
    );
  }
}

/** The size and steps that the enlargement comes to. */
function finalOf({ width, height, steps, hires }: Wanted): Size & { steps: number } {
  const scale = hires?.scale ?? 1;
  return {
    width: Math.round(width * scale),
    height: Math.round(height * scale),
    steps: steps + (hires?.steps ?? 0),
  };
}

async function sourceOf(
  { strength }: Input,
  image: Uint8Array | undefined,
  mask: Uint8Array | undefined,
  { width, height }: Size,
  { picture }: JobContext,
): Promise<ImageRequest['source']> {
  if (!image) return null;
  const size = { width, height };
  return imageSource({
    image: (await picture({ kind: 'source', bytes: image, size })).bytes,
    mask: mask ? (await picture({ kind: 'mask', bytes: mask, size })).bytes : null,
    strength,
  });
}

/** What it was made with, for beside the picture. What was written is not in it: that is kept encrypted. */
function metadataOf({ image, mask, style, strength }: Input, wanted: Wanted): object {
  const { width, height } = finalOf(wanted);
  const { steps, guidance, sampler, hires } = wanted;
  return { width, height, steps, guidance, sampler, hires, style, image, mask, strength };
}

function seedOf(seed: number | undefined): number {
  return seed === undefined || seed < 0 ? randomInt(2 ** 31) : seed;
}
