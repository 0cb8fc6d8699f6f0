import { type Static, Type } from 'typebox';
import { ChatBody } from '../../contract/openai.ts';
import { engineChat, promptsOf } from '../../generation/engine-body.ts';
import { demandFits } from '../../generation/prompt-size.ts';
import { mostTokensOf, textWork } from '../../generation/text.ts';
import type { Feature } from '../../jobs/feature.ts';

const { stream: _, stream_options: __, ...fields } = ChatBody.properties;
const NoStream = Type.Literal(false, {
  'x-why': 'A job is not streamed. Watch GET /api/v1/jobs/{id}/events.',
});
const Body = Type.Object({ ...fields, stream: Type.Optional(NoStream) }, { additionalProperties: false });
type Input = Static<typeof Body>;

/** A chat whose answer one comes back for: one step, with the engine's answer as its result. */
export const inference: Feature<Input> = {
  name: 'inference',
  path: '/api/v1/inference',
  summary: 'A chat',
  body: Body,
  modality: 'text',
  wish: (input, model) => {
    demandFits(model, input);
    const prompts = promptsOf(engineChat(input));
    return { prompts, work: () => textWork(model, prompts, mostTokensOf(input)) };
  },
  // As the engine takes it, with the bound that its price was held for.
  prepare: (input) => {
    const { stream: _, stream_options: __, ...asked } = engineChat(input);
    return { ...asked, max_tokens: mostTokensOf(input) };
  },
  run: (input, { step, text }) =>
    step('answer', async (results) => {
      const { body, usage } = await text({ endpoint: 'chat/completions', body: input });
      const bytes = Buffer.from(body);
      await results.add({ name: 'answer.json', contentType: 'application/json', bytes, metadata: {} });
      return usage;
    }),
  steps: () => 1,
};
