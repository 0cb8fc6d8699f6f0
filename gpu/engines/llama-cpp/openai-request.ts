import { field, textField } from '../http.ts';

/** A chat request as the worker needs it, read from an OpenAI body. */
export interface ChatPrompt {
  readonly messages: readonly ChatTurn[];
  readonly tools: Readonly<Record<string, { description?: string; params?: unknown }>> | null;
}

type ChatTurn =
  | { readonly role: 'system' | 'user' | 'assistant'; readonly text: string }
  | { readonly role: 'tool'; readonly id: string; readonly text: string }
  | { readonly role: 'calls'; readonly calls: readonly { id: string; name: string; args: unknown }[] };

/** How to generate, read from an OpenAI body; what is missing is left to the engine. */
export interface Sampling {
  readonly maxTokens: number | null;
  readonly temperature: number;
  readonly topP: number | null;
  readonly seed: number | null;
  readonly stop: readonly string[];
  /** A JSON schema the answer must follow, `true` for any JSON, null for free text. */
  readonly json: object | true | null;
}

/** The request cannot be served by this engine; the message is for the caller. */
export class UnsupportedRequest extends Error {
  override readonly name = 'UnsupportedRequest';
}

export function chatPrompt(body: unknown): ChatPrompt {
  const messages = field(body, 'messages');
  if (!Array.isArray(messages)) throw new UnsupportedRequest('messages must be a list.');
  return { messages: messages.flatMap(turnsOf), tools: toolsOf(body) };
}

function turnsOf(message: unknown): ChatTurn[] {
  const role = field(message, 'role');
  const text = contentText(field(message, 'content'));
  switch (role) {
    case 'system':
    case 'developer':
      return [{ role: 'system', text }];
    case 'user':
      return [{ role, text }];
    case 'tool':
      return [{ role, id: textField(message, 'tool_call_id'), text }];
    case 'assistant': {
      const calls = field(message, 'tool_calls');
      const turns: ChatTurn[] = text === '' ? [] : [{ role, text }];
      if (Array.isArray(calls)) turns.push({ role: 'calls', calls: calls.map(callOf) });
      return turns;
    }
    default:
      throw new UnsupportedRequest(`A message has the role ${JSON.stringify(role)}.`);
  }
}

function callOf(call: unknown): { id: string; name: string; args: unknown } {
  const made = field(call, 'function');
  const written = field(made, 'arguments');
  let args: unknown = written;
  try {
    if (typeof written === 'string') args = JSON.parse(written);
  } catch {
    // Kept as the text it is: the model wrote it, and may learn from it.
  }
  return { id: textField(call, 'id'), name: textField(made, 'name'), args };
}

function contentText(content: unknown): string {
  if (typeof content === 'string') return content;
  if (content === null || content === undefined) return '';
  if (!Array.isArray(content))
    throw new UnsupportedRequest('The content of a message is neither text nor parts.');
  return content
    .map((part: unknown) => {
      const text = field(part, 'text');
      if (field(part, 'type') !== 'text' || typeof text !== 'string') {
        throw new UnsupportedRequest('This model reads text only, and a message holds another kind of part.');
      }
      return text;
    })
    .join('\n');
}

function toolsOf(body: unknown): ChatPrompt['tools'] {
  const tools = field(body, 'tools');
  if (!Array.isArray(tools) || tools.length === 0 || field(body, 'tool_choice') === 'none') return null;
  return Object.fromEntries(
    tools.flatMap((tool: unknown) => {
      const made = field(tool, 'function');
      const name = field(made, 'name');
      const description = field(made, 'description');
      if (typeof name !== 'string') return [];
      const params = field(made, 'parameters');
      return [
        [name, { ...(typeof description === 'string' && { description }), ...(params ? { params } : {}) }],
      ];
    }),
  );
}

export function sampling(body: unknown): Sampling {
  const stop = field(body, 'stop');
  const format = field(body, 'response_format');
  const schema = field(field(format, 'json_schema'), 'schema');
  const formatType = field(format, 'type');
  return {
    maxTokens: number(field(body, 'max_completion_tokens')) ?? number(field(body, 'max_tokens')),
    temperature: number(field(body, 'temperature')) ?? 0.8,
    topP: number(field(body, 'top_p')),
    seed: number(field(body, 'seed')),
    stop:
      typeof stop === 'string'
        ? [stop]
        : Array.isArray(stop)
          ? stop.filter((s) => typeof s === 'string')
          : [],
    json:
      formatType === 'json_schema' && typeof schema === 'object' && schema !== null
        ? schema
        : formatType === 'json_object' || formatType === 'json_schema'
          ? true
          : null,
  };
}

function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}
