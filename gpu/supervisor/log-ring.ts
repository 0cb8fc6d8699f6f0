/** A line of a process's output, or a note of ours about it. */
export interface LogLine {
  readonly at: number;
  readonly stream: 'out' | 'err' | 'note';
  readonly text: string;
}

export const logLimits = { lines: 1_000, lineBytes: 4 * 1024 } as const;

/** The last lines of a process. However much it writes, memory stays bounded (P8). */
export class LogRing {
  readonly #lines: LogLine[] = [];
  #next = 0;
  readonly #partial = { out: '', err: '' };

  /** Takes a piece of output; lines that are too long are cut. */
  write(stream: 'out' | 'err', piece: string, at: number): void {
    let text = this.#partial[stream] + piece;
    // A flood without line ends is kept to its end only.
    if (text.length > 64 * logLimits.lineBytes) text = text.slice(-logLimits.lineBytes);
    const lines = text.split(/\r?\n|\r/);
    this.#partial[stream] = (lines.pop() ?? '').slice(-logLimits.lineBytes);
    for (const line of lines.slice(-logLimits.lines)) this.#push({ at, stream, text: line });
  }

  note(text: string, at: number): void {
    this.#push({ at, stream: 'note', text });
  }

  /** Oldest first. */
  lines(): LogLine[] {
    return [...this.#lines.slice(this.#next), ...this.#lines.slice(0, this.#next)];
  }

  #push(line: LogLine): void {
    const cut = line.text.length > logLimits.lineBytes;
    const text = cut ? `${line.text.slice(0, logLimits.lineBytes)}…` : line.text;
    this.#lines[this.#next] = { ...line, text: detached(text) };
    this.#next = (this.#next + 1) % logLimits.lines;
  }
}

/** A copy of its own: a part of a string keeps the whole it was cut from in memory. */
function detached(text: string): string {
  return Buffer.from(text).toString();
}
