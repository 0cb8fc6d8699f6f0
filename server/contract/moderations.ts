import { Type } from 'typebox';
import { limits } from './limits.ts';

const TextInput = Type.String({ minLength: 1, maxLength: limits.promptCharacters });

/** OpenAI's request; pictures are taken as data URLs, since we fetch nothing that a caller names. */
export const ModerationBody = Type.Object(
  {
    model: Type.Optional(Type.String({ maxLength: 300, description: 'Taken. There is one.' })),
    input: Type.Union([
      TextInput,
      Type.Array(TextInput, { minItems: 1, maxItems: limits.moderation.texts }),
      Type.Array(
        Type.Union([
          Type.Object({ type: Type.Literal('text'), text: TextInput }, { additionalProperties: false }),
          Type.Object(
            {
              type: Type.Literal('image_url'),
              image_url: Type.Object(
                {
                  url: Type.String({
                    pattern: '^data:image/(png|jpeg|webp);base64,',
                    'x-form': 'a data URL of a PNG, JPEG or WebP picture',
                    'x-why':
                      'The appliance does not fetch addresses that it is given: send the picture itself.',
                  }),
                  detail: Type.Optional(Type.String()),
                },
                { additionalProperties: false },
              ),
            },
            { additionalProperties: false },
          ),
        ]),
        { minItems: 1, maxItems: limits.moderation.images },
      ),
    ]),
  },
  { additionalProperties: false, 'x-unknown-fields': 'ignored' },
);

/** OpenAI's words. What of them is looked for is said in `category_applied_input_types`. */
export const moderationCategories = [
  'harassment',
  'harassment/threatening',
  'hate',
  'hate/threatening',
  'illicit',
  'illicit/violent',
  'self-harm',
  'self-harm/intent',
  'self-harm/instructions',
  'sexual',
  'sexual/minors',
  'violence',
  'violence/graphic',
] as const;

export const ModerationList = Type.Object({
  id: Type.String(),
  model: Type.String(),
  results: Type.Array(
    Type.Object({
      flagged: Type.Boolean(),
      categories: Type.Record(Type.String(), Type.Boolean()),
      category_scores: Type.Record(Type.String(), Type.Number()),
      category_applied_input_types: Type.Record(Type.String(), Type.Array(Type.String())),
    }),
  ),
});
