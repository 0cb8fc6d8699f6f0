import { EngineError } from './engine-error.ts';

const newline = 10;
const carriageReturn = 13;

/**
 * Cuts a byte stream into complete server-sent events without decoding it: what comes out, joined, is what went
 * in. An event ends with an empty line, however lines end.
 */
export class SseSplitter {
  #held: Buffer = Buffer.alloc(0);
  /** How far the held bytes were already searched. */
  #searched = 0;
  readonly #maxEventBytes: number;

  constructor(maxEventBytes = 1024 * 1024) {
    this.#maxEventBytes = maxEventBytes;
  }

  /** The events that are complete after this piece, in order. */
  push(piece: Buffer): Buffer[] {
    this.#held = this.#held.length === 0 ? piece : Buffer.concat([this.#held, piece]);
    const events: Buffer[] = [];
    let start = 0;
    let at = this.#searched;
    for (;;) {
      const end = this.#held.indexOf(newline, at);
      if (end === -1) break;
      at = end + 1;
      // An empty line: the one before it ended here as well.
      let before = end - 1;
      if (before >= start && this.#held[before] === carriageReturn) before -= 1;
      if (before < start || this.#held[before] !== newline) continue;
      events.push(this.#held.subarray(start, at));
      start = at;
    }
    this.#held = start === 0 ? this.#held : this.#held.subarray(start);
    this.#searched = at - start;
    if (this.#held.length > this.#maxEventBytes) {
      throw new EngineError('bad_answer', `One event was longer than ${this.#maxEventBytes} bytes.`);
    }
    return events;
  }

  /** What is left when the stream has ended: the last event of a server that leaves out its empty line. */
  rest(): Buffer {
    const rest = this.#held;
    this.#held = Buffer.alloc(0);
    this.#searched = 0;
    return rest;
  }
}

/** The data of one event, its lines joined; null for a comment or an event without data. */
export function eventData(event: Uint8Array): string | null {
  const text = Buffer.from(event.buffer, event.byteOffset, event.byteLength).toString('utf8').trimEnd();
  // Nearly every event is one line of data.
  if (text.startsWith('data:') && !text.includes('\n')) return dataOf(text);
  const lines = text.split(/\r?\n/).filter((line) => line.startsWith('data:'));
  return lines.length === 0 ? null : lines.map(dataOf).join('\n');
}

function dataOf(line: string): string {
  return line.charAt(5) === ' ' ? line.slice(6) : line.slice(5);
}
