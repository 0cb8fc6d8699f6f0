import { dropIgnored } from '../contract/given-fields.ts';
import { ChatBody, CompletionBody } from '../contract/openai.ts';

/** A request as the local engines take it: one name for each thing, and nothing without an effect. */
export type EngineChat = Omit<ChatBody, 'repetition_penalty' | 'enable_thinking' | 'thinking'>;

/**
 * A checked chat in the words of llama.cpp and LM Studio. Its other names are resolved, and messages are as chat
 * templates know them: "developer" is OpenAI's newer word for "system", and what an assistant's message did not have
 * (`tool_calls: null`, `[]`) is left out.
 */
export function engineChat(given: ChatBody): EngineChat {
  const { enable_thinking: shortForm, thinking, chat_template_kwargs: values, ...body } = given;
  const isOn = shortForm ?? (thinking && thinking.type !== 'auto' ? thinking.type === 'enabled' : undefined);
  const template = { ...(isOn !== undefined && { enable_thinking: isOn }), ...values };
  if (!body.tools) {
    // Engines refuse a choice among no tools.
    delete body.tool_choice;
    delete body.parallel_tool_calls;
  }
  return {
    ...engineSampling(ChatBody, body),
    messages: body.messages.map(engineMessage),
    ...(Object.keys(template).length > 0 && { chat_template_kwargs: template }),
  };
}

/** What of a chat the model reads, for the policy and the price. */
export function promptsOf(
  body: Pick<EngineChat, 'messages' | 'tools' | 'response_format' | 'chat_template_kwargs'>,
) {
  const { messages, tools, response_format: format, chat_template_kwargs: template } = body;
  return [messages, tools, format, ...(template ? [template] : [])];
}

/** A checked completion likewise; its prompt is one text. */
export function engineCompletion(given: CompletionBody) {
  const { prompt, ...body } = given;
  return {
    ...engineSampling(CompletionBody, body),
    prompt: Array.isArray(prompt) ? (prompt[0] ?? '') : prompt,
  };
}

interface Sampling {
  readonly repetition_penalty?: number;
  readonly repeat_penalty?: number;
  readonly stream?: boolean;
  readonly stream_options?: object;
}

function engineSampling<Body extends Sampling>(
  schema: object,
  given: Body,
): Omit<Body, 'repetition_penalty'> {
  const { repetition_penalty: penalty, ...body } = given;
  dropIgnored(schema, body);
  if (penalty !== undefined) Object.assign(body, { repeat_penalty: given.repeat_penalty ?? penalty });
  // Engines refuse them for an answer that is not streamed.
  if (given.stream !== true) Reflect.deleteProperty(body, 'stream_options');
  return body;
}

type Message = ChatBody['messages'][number];

function engineMessage(message: Message): Message {
  const members = Object.entries(message).filter(
    ([name, value]) => name === 'content' || !(value === null || (name === 'tool_calls' && isEmpty(value))),
  );
  const role = message.role === 'developer' ? 'system' : message.role;
  return { ...(Object.fromEntries(members) as Message), role };
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}
