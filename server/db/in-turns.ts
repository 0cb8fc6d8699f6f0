import { setImmediate as nextTurn } from 'node:timers/promises';
import { limits } from '../contract/limits.ts';

interface Turns {
  /** Rows that one turn of the event loop may work on; `limits.turn.rows` where it is not given. */
  readonly most?: number;
  /** Stops between two turns. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Does work on any number of rows a few at a time, and lets everybody else have the event loop in between. `work` does at
 * most the given number in one transaction and returns how many it did; 0 ends it. Resolves to how many there were in
 * all.
 */
export async function inTurns(
  work: (most: number) => number,
  { most = limits.turn.rows, signal }: Turns = {},
): Promise<number> {
  let total = 0;
  while (signal?.aborted !== true) {
    const done = work(most);
    total += done;
    if (done === 0) break;
    await nextTurn();
  }
  return total;
}

/** The first rows whose bytes one turn may work on, at least one: a few large ones take as long as many small ones. */
export function fitting<Row extends { readonly bytes: number | null }>(
  rows: readonly Row[],
  most: number = limits.turn.bytes,
): Row[] {
  let bytes = 0;
  return rows.filter((row, index) => {
    bytes += row.bytes ?? 0;
    return index === 0 || bytes <= most;
  });
}

/** The same rows, with a turn for everybody else after each few: for what is sent as fast as it is read. */
export async function* paced<Row>(
  rows: Iterable<Row> | AsyncIterable<Row>,
  most: number = limits.turn.rows,
): AsyncGenerator<Row> {
  let read = 0;
  for await (const row of rows) {
    yield row;
    read += 1;
    if (read % most === 0) await nextTurn();
  }
}
