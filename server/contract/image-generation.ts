import { type Static, Type } from 'typebox';
import { limits } from './limits.ts';
import { ImageGenerationBody } from './openai.ts';

const Sampler = Type.Union([
  Type.Literal('euler'),
  Type.Literal('euler-a'),
  Type.Literal('heun'),
  Type.Literal('dpmpp-2m'),
  Type.Literal('dpmpp-2m-karras'),
  Type.Literal('dpmpp-sde-karras'),
  Type.Literal('ddim'),
  Type.Literal('unipc'),
  Type.Literal('lcm'),
]);
const UploadId = (description: string) =>
  Type.String({ pattern: '^upl_[0-9a-f]{32}$', 'x-form': 'the id of an upload', description });

/** What an image-generation job is asked for with. */
export const ImageGenerationJob = Type.Object(
  {
    ...Type.Pick(ImageGenerationBody, ['prompt', 'model', 'negative_prompt', 'steps', 'guidance', 'seed'])
      .properties,
    size: Type.Optional(
      Type.Union([ImageGenerationBody.properties.size], {
        description: 'WIDTHxHEIGHT; auto, the default, takes that of the image, or 512x512.',
      }),
    ),
    n: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.image.maxCount, default: 1 })),
    style: Type.Optional(
      Type.String({
        pattern: '^[a-z0-9-]{1,40}$',
        'x-form': 'one of GET /api/v1/styles',
        description: 'One of GET /api/v1/styles.',
      }),
    ),
    sampler: Type.Optional(Sampler),
    image: Type.Optional(UploadId('An upload to begin from.')),
    mask: Type.Optional(
      UploadId('An upload that says where the image is drawn anew: where it is transparent, or white.'),
    ),
    strength: Type.Optional(
      Type.Number({ minimum: 0.05, maximum: 1, description: 'How far to go from the image.' }),
    ),
    hires: Type.Optional(
      Type.Object(
        {
          scale: Type.Number({
            minimum: 1.1,
            maximum: 4,
            description: 'Drawn small first, then so many times larger.',
          }),
          steps: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.image.maxSteps })),
          strength: Type.Optional(Type.Number({ minimum: 0.05, maximum: 1 })),
        },
        { additionalProperties: false },
      ),
    ),
    strip_metadata: Type.Optional(
      Type.Boolean({ description: 'Leave what the picture was made with out of its file.' }),
    ),
    previews: Type.Optional(
      Type.Boolean({
        default: true,
        description: 'Show how it looks while it is made, where the engine can.',
      }),
    ),
  },
  { additionalProperties: false },
);
export type ImageGenerationJob = Static<typeof ImageGenerationJob>;

export const Style = Type.Object(
  {
    name: Type.String({
      pattern: '^[a-z0-9-]{1,40}$',
      'x-form': 'up to 40 small letters, digits and hyphens',
    }),
    title: Type.String(),
    prompt: Type.String({
      pattern: '\\{prompt\\}',
      'x-form': 'a text with {prompt} in it',
      description: '{prompt} stands for what was asked.',
    }),
    negativePrompt: Type.String(),
  },
  { additionalProperties: false },
);
export type Style = Static<typeof Style>;
