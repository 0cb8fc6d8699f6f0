import { randomInt } from 'node:crypto';
import { type Static, Type } from 'typebox';
import { limits } from '../../contract/limits.ts';
import { ImageGenerationBody } from '../../contract/openai.ts';
import { imageRequest, imageWork, parseSize } from '../../generation/images.ts';
import type { Feature } from '../../jobs/feature.ts';

const Body = Type.Object(
  {
    ...Type.Pick(ImageGenerationBody, [
      'prompt',
      'model',
      'size',
      'negative_prompt',
      'steps',
      'guidance',
      'seed',
    ]).properties,
    n: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.image.maxCount, default: 1 })),
  },
  { additionalProperties: false },
);
type Input = Static<typeof Body>;

/** Pictures from a text, as a job: each picture is a step. */
export const imageGeneration: Feature<Input> = {
  name: 'image-generation',
  path: '/api/v1/jobs/image-generation',
  summary: 'Pictures from a text',
  body: Body,
  modality: 'image',
  wish: (input) => ({
    prompts: [input.prompt, input.negative_prompt],
    work: () => imageWork(input.n ?? 1, requestOf(input)),
  }),
  prepare: (input) => ({ ...input, seed: seedOf(input.seed) }),
  async run(input, { step, image, progress }) {
    const count = input.n ?? 1;
    const wanted = requestOf(input);
    const first = seedOf(input.seed);
    for (let index = 0; index < count; index += 1) {
      await step(`picture-${index + 1}`, async (results) => {
        const seed = (first + index) % 2 ** 32;
        for await (const event of image({ ...wanted, seed }).events) {
          if (event.type === 'progress') progress((index + event.fraction) / count);
          if (event.type !== 'image') continue;
          const { width, height, steps, guidance } = wanted;
          const metadata = { seed: event.seed, width, height, steps, guidance };
          await results.add({
            name: `picture-${index + 1}.png`,
            contentType: 'image/png',
            bytes: event.png,
            metadata,
          });
        }
        return { seed };
      });
      progress((index + 1) / count);
    }
    return { images: count };
  },
  steps: (input) => input.n ?? 1,
};

function requestOf(input: Input) {
  return imageRequest({ ...input, negativePrompt: input.negative_prompt }, parseSize(input.size));
}

function seedOf(seed: number | undefined): number {
  return seed === undefined || seed < 0 ? randomInt(2 ** 31) : seed;
}
