import { field } from './http.ts';

/** What a prompt weighs, however it is put into words: text by its bytes, everything else by its number. */
export interface PromptWeight {
  /** Bytes of text, the names of fields included: they stand for what a chat template adds. */
  readonly bytes: number;
  /** Pictures, sounds and files. Their base64 says nothing of the tokens that they take. */
  readonly media: number;
}

const mediaTypes: ReadonlySet<unknown> = new Set([
  'image',
  'image_url',
  'input_image',
  'audio',
  'input_audio',
  'video',
  'video_url',
  'file',
  'input_file',
  'document',
]);
const dataUrl = /^data:[\w.+-]+\/[\w.+-]+[^,]{0,100};base64,/;

/** Whether a part of a prompt is a picture, a sound or a file. */
export function isMedia(part: unknown): boolean {
  return typeof part === 'string'
    ? part.startsWith('data:') && dataUrl.test(part)
    : mediaTypes.has(field(part, 'type'));
}

/** Weighs messages, tools, a prompt or inputs: any JSON that a request carries. */
export function weighPrompt(value: unknown): PromptWeight {
  const weight = { bytes: 0, media: 0 };
  weigh(value, weight);
  return weight;
}

function weigh(value: unknown, weight: { bytes: number; media: number }): void {
  if (isMedia(value)) weight.media += 1;
  else if (typeof value === 'string') weight.bytes += Buffer.byteLength(value);
  else if (Array.isArray(value)) {
    for (const item of value) weigh(item, weight);
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      if (inner === null || inner === undefined) continue;
      weight.bytes += Buffer.byteLength(key);
      weigh(inner, weight);
    }
  } else if (typeof value === 'number' || typeof value === 'boolean') weight.bytes += String(value).length;
}

/** The names under which engines tell what a model thought. Some say the same under two of them. */
const thinkingNames = ['reasoning_content', 'reasoning', 'thinking'] as const;

/**
 * What a model wrote: all that its messages carry. Whole messages and the pieces of a stream are added alike, so
 * that the same answer weighs the same, however it comes.
 */
export class Written {
  #plainBytes = 0;
  readonly #thinkingBytes = new Map<string, number>();
  /** The names of called functions by their place: engines send them once, or again with every piece. */
  readonly #calls = new Map<string, string>();
  #pieces = 0;

  /** Adds a choice of an answer (`message`, or `text`) or of an event (`delta`, or `text`). */
  add(choice: unknown): void {
    const before = this.#plainBytes;
    const thoughtBefore = this.thinkingBytes;
    const message = field(choice, 'delta') ?? field(choice, 'message') ?? choice;
    this.#plainBytes +=
      textBytes(field(message, 'content')) +
      textBytes(field(message, 'text')) +
      textBytes(field(message, 'refusal'));
    for (const name of thinkingNames) {
      const bytes = textBytes(field(message, name));
      if (bytes > 0) this.#thinkingBytes.set(name, (this.#thinkingBytes.get(name) ?? 0) + bytes);
    }
    const place = indexOf(choice, 0);
    const calls = field(message, 'tool_calls');
    for (const [position, call] of (Array.isArray(calls) ? calls : []).entries()) {
      this.#call(`${place}.${indexOf(call, position)}`, field(call, 'function'));
    }
    this.#call(`${place}`, field(message, 'function_call'));
    if (this.#plainBytes > before || this.thinkingBytes > thoughtBefore) this.#pieces += 1;
  }

  #call(place: string, called: unknown): void {
    const name = field(called, 'name');
    const known = this.#calls.get(place) ?? '';
    if (typeof name === 'string' && name !== known) {
      this.#calls.set(place, known + name);
      this.#plainBytes += bytesOf(name);
    }
    const written = field(called, 'arguments') ?? '';
    this.#plainBytes += bytesOf(typeof written === 'string' ? written : JSON.stringify(written));
  }

  /** Bytes of all text. */
  get bytes(): number {
    return this.#plainBytes + this.thinkingBytes;
  }

  get thinkingBytes(): number {
    return Math.max(0, ...this.#thinkingBytes.values());
  }

  /** Additions that carried text. Engines that stream send a token in each, or a few. */
  get pieces(): number {
    return this.#pieces;
  }
}

function indexOf(value: unknown, otherwise: number): number {
  const index = field(value, 'index');
  return typeof index === 'number' ? index : otherwise;
}

/** The bytes of a text, of its parts, or of an object that holds one. */
function textBytes(value: unknown): number {
  if (typeof value === 'string') return bytesOf(value);
  if (Array.isArray(value)) return value.reduce<number>((sum, item) => sum + textBytes(item), 0);
  if (typeof value !== 'object' || value === null) return 0;
  return textBytes(
    field(value, 'text') ?? field(value, 'content') ?? field(value, 'thinking') ?? field(value, 'refusal'),
  );
}

const loneSurrogates = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g;

/** Bytes as UTF-8. A character that a stream cuts in two weighs what it weighs whole. */
function bytesOf(text: string): number {
  const bytes = Buffer.byteLength(text);
  // Each half is counted as a replacement character of three bytes; the whole has four.
  return text.isWellFormed() ? bytes : bytes - (text.match(loneSurrogates)?.length ?? 0);
}
