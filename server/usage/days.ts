/** All offsets from UTC that zones have had since 1972 are whole quarters of an hour. */
const quarterMs = 15 * 60_000;
const dayMs = 24 * 3_600_000;

/** The calendar of the place whose days usage is counted by, daylight saving included. */
export class Days {
  /** IANA name, such as Europe/Berlin. */
  readonly timeZone: string;
  readonly #format: Intl.DateTimeFormat;
  #last = { quarter: Number.NaN, day: '' };

  /** The zone of this machine where none is named. Throws a RangeError for a zone that does not exist. */
  constructor(timeZone: string = Intl.DateTimeFormat().resolvedOptions().timeZone) {
    // Canada writes dates as ISO 8601 does.
    this.#format = new Intl.DateTimeFormat('en-CA', {
      timeZone,
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
    });
    this.timeZone = this.#format.resolvedOptions().timeZone;
  }

  /** The day of a moment in wall-clock milliseconds: 2026-11-20. */
  of(at: number): string {
    // One row after the other falls into the same quarter of an hour, and formatting is slow.
    const quarter = Math.floor(at / quarterMs);
    if (quarter !== this.#last.quarter) this.#last = { quarter, day: this.#format.format(at) };
    return this.#last.day;
  }

  /** The last days up to today, oldest first; `count` of them. */
  last(count: number, now: number = Date.now()): { from: string; until: string } {
    const until = this.of(now);
    const from = new Date(Date.parse(until) - (count - 1) * dayMs).toISOString().slice(0, 10);
    return { from, until };
  }
}
