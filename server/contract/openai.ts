import { type Static, Type } from 'typebox';
import { limits } from './limits.ts';
import { DryRunQuery } from './money.ts';

/*
 * The OpenAI-compatible surface. Every parameter that OpenAI documents is named (openai.test.ts compares the names with
 * the types of its client), and so are those of the local engines that clients cannot always leave out. The parts the
 * engine reads (messages, tools, response_format) are passed on as they came.
 *
 * A body may hold more than that: each release of an SDK brings new parameters. What is not named here, and what is
 * named without an effect, is left out and named in the header `x-kilnhouse-ignored-fields`. It never reaches the
 * engine: parameters such as `ttl`, `keep_alive`, `id_slot` and `options.num_ctx` decide how the card is used, and that
 * is for the scheduler. A parameter that asks for something else than what would be made is refused, with the reason.
 */
const number = (minimum: number, maximum: number) => Type.Number({ minimum, maximum });
const Flag = Type.Optional(Type.Boolean());
/** Read by the engine alone. */
const Passed = Type.Optional(Type.Unknown({ 'x-absent': [null] }));
/** Taken, and without an effect here. */
const Ignored = Type.Optional(
  Type.Unknown({ 'x-no-effect': true, description: 'Taken for the sake of SDKs. It has no effect here.' }),
);
/** Refused when it is given: what it asks for cannot be had here. */
const refused = (why: string, absent: readonly unknown[] = []) =>
  Type.Optional(Type.Never({ 'x-why': why, 'x-absent': absent, description: `Refused. ${why}` }));
const openBody = { additionalProperties: false, 'x-unknown-fields': 'ignored' } as const;

/** Clients made for Azure always send `api-version`. Anything else is refused: a misspelt `dry_run` would cost money. */
export const OpenAiQuery = Type.Object(
  {
    ...DryRunQuery.properties,
    'api-version': Type.Optional(
      Type.String({ maxLength: 100, description: 'Taken. There is one version.' }),
    ),
  },
  { additionalProperties: false },
);

const Model = Type.String({ minLength: 1, maxLength: 300, description: 'One of GET /v1/models.' });
const One = (why: string) => Type.Optional(Type.Integer({ minimum: 1, maximum: 1, 'x-why': why }));
/** Programs written for llama.cpp and LM Studio send -1 for "no bound". */
const MostTokens = Type.Optional(
  Type.Integer({ minimum: 1, maximum: 1_000_000, 'x-absent': [-1], description: '-1: no bound.' }),
);
const OtherGrammar = refused('Ask for a form of the answer with "response_format" and a JSON schema.');

const sampling = {
  frequency_penalty: Type.Optional(number(-2, 2)),
  presence_penalty: Type.Optional(number(-2, 2)),
  logit_bias: Passed,
  max_tokens: MostTokens,
  n: One('One answer is made at a time. Send the request again for another one.'),
  seed: Type.Optional(Type.Integer({ 'x-absent': [-1] })),
  stop: Type.Optional(
    Type.Union([
      Type.String({ 'x-absent': [''] }),
      Type.Array(Type.String(), { maxItems: 16, 'x-absent': [[]] }),
    ]),
  ),
  stream: Flag,
  stream_options: Type.Optional(
    Type.Object({ include_usage: Type.Optional(Type.Boolean()), include_obfuscation: Flag }),
  ),
  temperature: Type.Optional(number(0, 2)),
  top_p: Type.Optional(number(0, 1)),
  user: Ignored,
  // Known to the local engines, beyond OpenAI.
  top_k: Type.Optional(
    Type.Integer({
      minimum: 0,
      'x-absent': [-1],
      description: 'The most likely tokens to choose from; 0: all.',
    }),
  ),
  min_p: Type.Optional(number(0, 1)),
  typical_p: Type.Optional(number(0, 1)),
  repeat_penalty: Type.Optional(number(0, 10)),
  repetition_penalty: Type.Optional(
    Type.Number({ minimum: 0, maximum: 10, description: 'Another name of repeat_penalty.' }),
  ),
  grammar: OtherGrammar,
  guided_choice: OtherGrammar,
  guided_grammar: OtherGrammar,
  guided_json: OtherGrammar,
  guided_regex: OtherGrammar,
};

export const ChatBody = Type.Object(
  {
    model: Model,
    messages: Type.Array(
      Type.Object({ role: Type.String({ maxLength: 32 }), content: Type.Optional(Type.Unknown()) }),
      { minItems: 1, maxItems: limits.messages },
    ),
    ...sampling,
    audio: refused('Answers are text. No model here speaks.'),
    function_call: Ignored,
    functions: refused('This is the old form. Send the functions as "tools".', [[]]),
    logprobs: Flag,
    max_completion_tokens: MostTokens,
    metadata: Ignored,
    modalities: Type.Optional(
      Type.Array(Type.Literal('text', { 'x-why': 'Answers are text. No model here speaks.' })),
    ),
    moderation: Ignored,
    parallel_tool_calls: Flag,
    prediction: Ignored,
    prompt_cache_key: Ignored,
    prompt_cache_options: Ignored,
    prompt_cache_retention: Ignored,
    reasoning_effort: Type.Optional(Type.String()),
    response_format: Type.Optional(Type.Object({ type: Type.String() })),
    safety_identifier: Ignored,
    service_tier: Ignored,
    store: Ignored,
    tool_choice: Passed,
    tools: Type.Optional(Type.Array(Type.Unknown(), { maxItems: 128, 'x-absent': [[]] })),
    top_logprobs: Type.Optional(Type.Integer({ minimum: 0, maximum: 20 })),
    verbosity: Ignored,
    web_search_options: refused(
      'No model here can search the web. Leave it out, and put what you found in a message.',
    ),
    // Known to the local engines: how a model's template is filled in, and whether it thinks first.
    chat_template_kwargs: Type.Optional(
      Type.Object({}, { description: 'Values for the chat template of the model.' }),
    ),
    enable_thinking: Type.Optional(
      Type.Boolean({ description: 'Short for chat_template_kwargs.enable_thinking.' }),
    ),
    thinking: Type.Optional(
      Type.Object(
        { type: Type.Union([Type.Literal('enabled'), Type.Literal('disabled'), Type.Literal('auto')]) },
        { description: 'enabled and disabled are chat_template_kwargs.enable_thinking.' },
      ),
    ),
    reasoning: Type.Optional(Type.Union([Type.String(), Type.Boolean(), Type.Object({})])),
  },
  openBody,
);
export type ChatBody = Static<typeof ChatBody>;

const oneText = 'One text is continued at a time: send a request for each. Token numbers are not taken.';
const noTokens = 'Send text: token numbers are not taken here.';

export const CompletionBody = Type.Object(
  {
    model: Model,
    prompt: Type.Union(
      [
        Type.String({ maxLength: limits.promptCharacters }),
        Type.Array(Type.String({ maxLength: limits.promptCharacters, 'x-why': noTokens }), {
          minItems: 1,
          maxItems: 1,
          'x-why': oneText,
        }),
      ],
      { description: 'A text, or a list of one text.' },
    ),
    ...sampling,
    best_of: One('One answer is made at a time.'),
    echo: Flag,
    logprobs: Type.Optional(Type.Integer({ minimum: 0, maximum: 20 })),
    suffix: Type.Optional(Type.String({ maxLength: limits.promptCharacters })),
  },
  openBody,
);
export type CompletionBody = Static<typeof CompletionBody>;

const EmbeddingText = Type.String({
  minLength: 1,
  maxLength: limits.promptCharacters,
  'x-why': `${noTokens} With LangChain, set check_embedding_ctx_length to false.`,
});

export const EmbeddingBody = Type.Object(
  {
    model: Model,
    input: Type.Union([
      EmbeddingText,
      Type.Array(EmbeddingText, { minItems: 1, maxItems: limits.embeddingInputs }),
    ]),
    encoding_format: Type.Optional(Type.Union([Type.Literal('float'), Type.Literal('base64')])),
    dimensions: Type.Optional(Type.Integer({ minimum: 1 })),
    user: Ignored,
  },
  openBody,
);

const size = Type.String({
  pattern: '^(auto|[0-9]{2,4}[xX][0-9]{2,4})$',
  'x-form': 'auto, or a width and height such as 512x512',
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
    n: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.image.maxCount })),
    size: Type.Optional(size),
    response_format: Type.Optional(Type.Union([Type.Literal('url'), Type.Literal('b64_json')])),
    output_format: Type.Optional(
      Type.Union([Type.Literal('png'), Type.Literal('jpeg'), Type.Literal('webp')], {
        description: 'png by default.',
      }),
    ),
    output_compression: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 100,
        description:
          'Quality of jpeg and webp in percent, 100 by default. A png loses nothing, whatever it says.',
      }),
    ),
    background: Type.Optional(
      Type.Union([Type.Literal('opaque'), Type.Literal('auto')], {
        'x-why': 'The models here draw opaque pictures; a transparent background cannot be made.',
      }),
    ),
    stream: Type.Optional(
      Type.Literal(false, {
        'x-why':
          'Pictures are not streamed here. To see one while it is made, ask for a job: POST /api/v1/jobs/image-generation.',
      }),
    ),
    partial_images: Ignored,
    complexity: Ignored,
    frame_count: Ignored,
    frame_duration_ms: Ignored,
    moderation: Ignored,
    quality: Ignored,
    safety_identifier: Ignored,
    style: Ignored,
    svg: Ignored,
    user: Ignored,
    // Beyond OpenAI, for those who want them.
    negative_prompt: Type.Optional(Type.String({ maxLength: limits.imagePromptCharacters })),
    steps: Type.Optional(Steps),
    guidance: Type.Optional(Guidance),
    seed: Type.Optional(Seed),
  },
  openBody,
);

/** The fields of the form of /v1/images/edits, beside its files. */
export const ImageEditFields = Type.Object(
  {
    ...ImageGenerationBody.properties,
    strength: Type.Optional(
      Type.Number({ minimum: 0.05, maximum: 1, description: 'How far to go from the image.' }),
    ),
    input_fidelity: Ignored,
    markup: refused('Say by a "mask" where the picture is drawn anew.'),
  },
  openBody,
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
  size: Type.String(),
  output_format: Type.String(),
  background: Type.Literal('opaque'),
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
    maxTokens: MostTokens,
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
