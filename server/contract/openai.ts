import { type Static, Type } from 'typebox';
import { limits } from './limits.ts';

/*
 * The OpenAI-compatible surface. What OpenAI documents is named; a field that is not is refused rather than
 * ignored, since a misspelt one would silently change what is generated. The parts the engine reads (messages,
 * tools, response_format) are passed on as they came.
 */
const number = (minimum: number, maximum: number) => Type.Number({ minimum, maximum });
const anything = Type.Unknown();
const Model = Type.String({ minLength: 1, maxLength: 300, description: 'One of GET /v1/models.' });

const sampling = {
  frequency_penalty: Type.Optional(Type.Union([number(-2, 2), Type.Null()])),
  presence_penalty: Type.Optional(Type.Union([number(-2, 2), Type.Null()])),
  logit_bias: Type.Optional(anything),
  max_tokens: Type.Optional(Type.Union([Type.Integer({ minimum: 1, maximum: 1_000_000 }), Type.Null()])),
  n: Type.Optional(Type.Union([Type.Integer({ minimum: 1, maximum: 1 }), Type.Null()])),
  seed: Type.Optional(Type.Union([Type.Integer(), Type.Null()])),
  stop: Type.Optional(Type.Union([Type.String(), Type.Array(Type.String(), { maxItems: 16 }), Type.Null()])),
  stream: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
  stream_options: Type.Optional(
    Type.Union([Type.Object({ include_usage: Type.Optional(Type.Boolean()) }), Type.Null()]),
  ),
  temperature: Type.Optional(Type.Union([number(0, 2), Type.Null()])),
  top_p: Type.Optional(Type.Union([number(0, 1), Type.Null()])),
  user: Type.Optional(Type.String({ maxLength: 512 })),
  // Known to the local engines, beyond OpenAI.
  top_k: Type.Optional(Type.Integer({ minimum: 0 })),
  min_p: Type.Optional(number(0, 1)),
  repeat_penalty: Type.Optional(number(0, 10)),
};

export const ChatBody = Type.Object(
  {
    model: Model,
    messages: Type.Array(
      Type.Object({ role: Type.String({ maxLength: 32 }), content: Type.Optional(anything) }),
      { minItems: 1, maxItems: limits.messages },
    ),
    ...sampling,
    audio: Type.Optional(anything),
    function_call: Type.Optional(anything),
    functions: Type.Optional(anything),
    logprobs: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
    max_completion_tokens: Type.Optional(
      Type.Union([Type.Integer({ minimum: 1, maximum: 1_000_000 }), Type.Null()]),
    ),
    metadata: Type.Optional(anything),
    modalities: Type.Optional(anything),
    parallel_tool_calls: Type.Optional(Type.Boolean()),
    prediction: Type.Optional(anything),
    prompt_cache_key: Type.Optional(Type.String()),
    reasoning_effort: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    response_format: Type.Optional(Type.Object({ type: Type.String() })),
    safety_identifier: Type.Optional(Type.String()),
    service_tier: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    store: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
    tool_choice: Type.Optional(anything),
    tools: Type.Optional(Type.Array(anything, { maxItems: 128 })),
    top_logprobs: Type.Optional(Type.Union([Type.Integer({ minimum: 0, maximum: 20 }), Type.Null()])),
    verbosity: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  },
  { additionalProperties: false },
);
export type ChatBody = Static<typeof ChatBody>;

export const CompletionBody = Type.Object(
  {
    model: Model,
    prompt: Type.String({ maxLength: limits.promptCharacters }),
    ...sampling,
    best_of: Type.Optional(Type.Union([Type.Integer({ minimum: 1, maximum: 1 }), Type.Null()])),
    echo: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
    logprobs: Type.Optional(Type.Union([Type.Integer({ minimum: 0, maximum: 5 }), Type.Null()])),
    suffix: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  },
  { additionalProperties: false },
);

export const EmbeddingBody = Type.Object(
  {
    model: Model,
    input: Type.Union([
      Type.String({ minLength: 1, maxLength: limits.promptCharacters }),
      Type.Array(Type.String({ minLength: 1, maxLength: limits.promptCharacters }), {
        minItems: 1,
        maxItems: limits.embeddingInputs,
      }),
    ]),
    encoding_format: Type.Optional(Type.Union([Type.Literal('float'), Type.Literal('base64')])),
    dimensions: Type.Optional(Type.Integer({ minimum: 1 })),
    user: Type.Optional(Type.String({ maxLength: 512 })),
  },
  { additionalProperties: false },
);

const size = Type.String({
  pattern: '^(auto|[0-9]{2,4}x[0-9]{2,4})$',
  description: `auto, or WIDTHxHEIGHT: ${limits.image.minSide} to ${limits.image.maxSide}, in steps of ${limits.image.multipleOf}.`,
});
const Steps = Type.Integer({ minimum: 1, maximum: limits.image.maxSteps });
const Guidance = number(0, limits.image.maxGuidance);
const Seed = Type.Integer({ minimum: -1, maximum: 2 ** 32 - 1 });
const ImagePrompt = Type.String({ minLength: 1, maxLength: limits.imagePromptCharacters });

export const ImageGenerationBody = Type.Object(
  {
    prompt: ImagePrompt,
    model: Type.Optional(Model),
    n: Type.Optional(Type.Union([Type.Integer({ minimum: 1, maximum: limits.image.maxCount }), Type.Null()])),
    size: Type.Optional(Type.Union([size, Type.Null()])),
    response_format: Type.Optional(Type.Union([Type.Literal('url'), Type.Literal('b64_json'), Type.Null()])),
    output_format: Type.Optional(Type.Union([Type.Literal('png'), Type.Null()])),
    background: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    moderation: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    quality: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    style: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    user: Type.Optional(Type.String({ maxLength: 512 })),
    // Beyond OpenAI, for those who want them.
    negative_prompt: Type.Optional(Type.String({ maxLength: limits.imagePromptCharacters })),
    steps: Type.Optional(Steps),
    guidance: Type.Optional(Guidance),
    seed: Type.Optional(Seed),
  },
  { additionalProperties: false },
);

export const ImageList = Type.Object({
  created: Type.Integer(),
  data: Type.Array(
    Type.Object({
      b64_json: Type.Optional(Type.String()),
      url: Type.Optional(Type.String()),
      seed: Type.Optional(Type.Integer()),
    }),
  ),
});

export const ModelList = Type.Object({
  object: Type.Literal('list'),
  data: Type.Array(
    Type.Object({
      id: Type.String(),
      object: Type.Literal('model'),
      created: Type.Integer(),
      owned_by: Type.String(),
      modality: Type.String(),
      loaded: Type.Boolean(),
      context_length: Type.Union([Type.Integer(), Type.Null()]),
    }),
  ),
});

/** The simple routes, for people without an SDK. */
export const GenerateTextBody = Type.Object(
  {
    prompt: Type.String({ minLength: 1, maxLength: limits.promptCharacters }),
    system: Type.Optional(Type.String({ maxLength: limits.promptCharacters })),
    model: Type.Optional(Model),
    maxTokens: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })),
    temperature: Type.Optional(number(0, 2)),
  },
  { additionalProperties: false },
);

export const GenerateTextReply = Type.Object({
  text: Type.String(),
  model: Type.String(),
  usage: Type.Object({
    promptTokens: Type.Integer(),
    completionTokens: Type.Integer(),
    totalTokens: Type.Integer(),
  }),
});

export const GenerateImageBody = Type.Object(
  {
    prompt: ImagePrompt,
    negativePrompt: Type.Optional(Type.String({ maxLength: limits.imagePromptCharacters })),
    model: Type.Optional(Model),
    width: Type.Optional(Type.Integer()),
    height: Type.Optional(Type.Integer()),
    steps: Type.Optional(Steps),
    guidance: Type.Optional(Guidance),
    seed: Type.Optional(Seed),
    format: Type.Optional(Type.Union([Type.Literal('base64'), Type.Literal('url')])),
  },
  { additionalProperties: false },
);

export const GenerateImageReply = Type.Object({
  image: Type.Optional(Type.String({ description: 'The PNG as base64.' })),
  url: Type.Optional(Type.String({ description: 'A link to the PNG that expires.' })),
  expiresAt: Type.Optional(Type.String()),
  seed: Type.Integer(),
  model: Type.String(),
});
