import { Ajv } from 'ajv';
import type OpenAI from 'openai';
import type { Static, TSchema } from 'typebox';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { dropAbsent, dropIgnored } from './given-fields.ts';
import { ChatBody, CompletionBody, EmbeddingBody, ImageEditFields, ImageGenerationBody } from './openai.ts';
import { ModerationBody } from './moderations.ts';
import { schemaFault } from './schema-faults.ts';

const ajv = new Ajv({ strict: false, verbose: true });

/** What is ignored of a body, or what is wrong with it. */
function taken(schema: TSchema, body: object): string[] | string {
  const given = structuredClone(body);
  const ignored = dropIgnored(schema, given);
  dropAbsent(schema, given);
  const validate = ajv.compile(schema);
  if (validate(given)) return ignored;
  const { place, says, why } = schemaFault(validate.errors ?? []);
  return [`"${place}" ${says}.`, why].filter(Boolean).join(' ');
}

/** Parameters of OpenAI's client that a contract does not name. Checked by the compiler. */
type Unnamed<Documented, Contract extends TSchema, Files extends string = never> = Exclude<
  Documented extends unknown ? keyof Documented : never,
  keyof Static<Contract> | Files
>;

test('case 7: every parameter in the types of the official client is named', () => {
  expectTypeOf<Unnamed<OpenAI.ChatCompletionCreateParams, typeof ChatBody>>().toBeNever();
  expectTypeOf<Unnamed<OpenAI.CompletionCreateParams, typeof CompletionBody>>().toBeNever();
  expectTypeOf<Unnamed<OpenAI.EmbeddingCreateParams, typeof EmbeddingBody>>().toBeNever();
  expectTypeOf<Unnamed<OpenAI.ImageGenerateParams, typeof ImageGenerationBody>>().toBeNever();
  expectTypeOf<Unnamed<OpenAI.ImageEditParams, typeof ImageEditFields, 'image' | 'mask'>>().toBeNever();
  expectTypeOf<Unnamed<OpenAI.ModerationCreateParams, typeof ModerationBody>>().toBeNever();
});

const chat = { model: 'm', messages: [{ role: 'user', content: 'hi' }] };
const completion = { model: 'm', prompt: 'once' };
const image = { prompt: 'a boat' };

describe('what clients send is taken', () => {
  test.each<[string, TSchema, object, string[]]>([
    [
      'case 7: parameters of OpenAI without an effect here',
      ChatBody,
      {
        ...chat,
        prompt_cache_retention: '24h',
        prompt_cache_options: {},
        moderation: {},
        store: true,
        service_tier: 'flex',
        metadata: { a: 1 },
      },
      ['prompt_cache_retention', 'prompt_cache_options', 'moderation', 'store', 'service_tier', 'metadata'],
    ],
    [
      'case 8: how a model thinks',
      ChatBody,
      {
        ...chat,
        chat_template_kwargs: { enable_thinking: false },
        enable_thinking: false,
        thinking: { type: 'disabled' },
        reasoning: { effort: 'low' },
        repetition_penalty: 1.1,
        typical_p: 0.9,
      },
      [],
    ],
    [
      'case 8: what would change how the card is used',
      ChatBody,
      {
        ...chat,
        ttl: 1,
        id_slot: 0,
        keep_alive: -1,
        options: { num_ctx: 99_999 },
        cache_prompt: true,
        session_id: 'x',
      },
      ['ttl', 'id_slot', 'keep_alive', 'options', 'cache_prompt', 'session_id'],
    ],
    ['case 9: null for whatever may be left out', ChatBody, { ...chat, ...nulls(ChatBody) }, []],
    ['case 9: null in a completion', CompletionBody, { ...completion, ...nulls(CompletionBody) }, []],
    ['case 9: null in an embedding', EmbeddingBody, { model: 'm', input: 'x', ...nulls(EmbeddingBody) }, []],
    ['case 9: null in an image', ImageGenerationBody, { ...image, ...nulls(ImageGenerationBody) }, []],
    [
      'case 11: no bound',
      ChatBody,
      { ...chat, max_tokens: -1, max_completion_tokens: -1, seed: -1, top_k: -1 },
      [],
    ],
    ['empty lists and texts', ChatBody, { ...chat, tools: [], functions: [], stop: '' }, []],
    ['text as the only modality', ChatBody, { ...chat, modalities: ['text'] }, []],
    [
      'an assistant’s message as the client keeps it',
      ChatBody,
      {
        ...chat,
        messages: [{ role: 'assistant', content: null, refusal: null, tool_calls: [], annotations: [] }],
      },
      [],
    ],
    ['case 6: a list of one prompt', CompletionBody, { ...completion, prompt: ['once'] }, []],
    [
      'case 17: parameters of gpt-image',
      ImageGenerationBody,
      {
        ...image,
        stream: false,
        partial_images: 0,
        output_compression: 80,
        output_format: 'webp',
        background: 'auto',
        quality: 'high',
        size: '512X512',
      },
      ['partial_images', 'quality'],
    ],
    [
      'case 17: a form',
      ImageEditFields,
      { ...image, stream: false, input_fidelity: 'high' },
      ['input_fidelity'],
    ],
    ['a moderation with more', ModerationBody, { input: 'x', model: null, user: 'y' }, ['user']],
  ])('%s', (_, schema, body, ignored) => {
    expect(taken(schema, body)).toEqual(ignored);
  });
});

describe('what asks for something else is refused with the reason', () => {
  const refusals: [TSchema, object, string][] = [
    [
      ChatBody,
      { ...chat, web_search_options: {} },
      '"web_search_options" cannot be used here. No model here can search the web. Leave it out, and put what you found in a message.',
    ],
    [
      ChatBody,
      { ...chat, modalities: ['text', 'audio'] },
      '"modalities.1" must be "text". Answers are text. No model here speaks.',
    ],
    [
      ChatBody,
      { ...chat, functions: [{ name: 'x' }] },
      '"functions" cannot be used here. This is the old form. Send the functions as "tools".',
    ],
    [
      ChatBody,
      { ...chat, grammar: 'root ::= "a"' },
      '"grammar" cannot be used here. Ask for a form of the answer with "response_format" and a JSON schema.',
    ],
    [
      ChatBody,
      { ...chat, n: 2 },
      '"n" must be 1. One answer is made at a time. Send the request again for another one.',
    ],
    [ChatBody, { ...chat, max_tokens: 0 }, '"max_tokens" must be a whole number from 1 to 1000000.'],
    [ChatBody, { ...chat, temperature: 'hot' }, '"temperature" must be a number from 0 to 2.'],
    [ChatBody, { ...chat, messages: [] }, '"messages" must not be empty.'],
    [ChatBody, { messages: null, model: 'm' }, '"messages" must be a list of JSON objects.'],
    [
      CompletionBody,
      { ...completion, prompt: ['a', 'b'] },
      '"prompt" must hold at most 1 entry. One text is continued at a time: send a request for each. Token numbers are not taken.',
    ],
    [
      CompletionBody,
      { ...completion, prompt: [[1, 2]] },
      '"prompt.0" must be a string. Send text: token numbers are not taken here.',
    ],
    [
      CompletionBody,
      { ...completion, prompt: 5 },
      '"prompt" must be a string or a list of strings. One text is continued at a time: send a request for each. Token numbers are not taken.',
    ],
    [
      EmbeddingBody,
      { model: 'm', input: [[1, 2], [3]] },
      '"input.0" must be a string. Send text: token numbers are not taken here. With LangChain, set check_embedding_ctx_length to false.',
    ],
    [
      EmbeddingBody,
      { model: 'm', input: [1, 2] },
      '"input.0" must be a string. Send text: token numbers are not taken here. With LangChain, set check_embedding_ctx_length to false.',
    ],
    [EmbeddingBody, { model: 'm', input: '' }, '"input" must not be empty.'],
    [
      ImageGenerationBody,
      { ...image, output_format: 'gif' },
      '"output_format" must be one of "png", "jpeg" or "webp".',
    ],
    [
      ImageGenerationBody,
      { ...image, size: 'big' },
      '"size" must be auto, or a width and height such as 512x512.',
    ],
    [
      ImageGenerationBody,
      { ...image, stream: true },
      '"stream" must be false. Pictures are not streamed here. To see one while it is made, ask for a job: POST /api/v1/jobs/image-generation.',
    ],
    [
      ImageGenerationBody,
      { ...image, background: 'transparent' },
      '"background" must be one of "opaque" or "auto". The models here draw opaque pictures; a transparent background cannot be made.',
    ],
    [
      ModerationBody,
      { input: [{ type: 'image_url', image_url: { url: 'https://example.com/a.png' } }] },
      '"input.0.image_url.url" must be a data URL of a PNG, JPEG or WebP picture. The appliance does not fetch addresses that it is given: send the picture itself.',
    ],
    [ModerationBody, { input: [{ type: 'audio' }] }, '"input.0.type" must be one of "text" or "image_url".'],
    [ModerationBody, { input: [{ type: 'text' }] }, '"input.0.text" is missing.'],
  ];
  test.each(refusals.map(([schema, body, sentence]) => ({ schema, body, sentence })))(
    '$sentence',
    ({ schema, body, sentence }) => {
      expect(taken(schema, body)).toBe(sentence);
    },
  );
});

/** Null for every parameter that may be left out. */
function nulls({ properties, required = [] }: { properties: object; required?: readonly string[] }): object {
  const optional = Object.keys(properties).filter((name) => !required.includes(name));
  return Object.fromEntries(optional.map((name) => [name, null]));
}
