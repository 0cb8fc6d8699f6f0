import BetterSqlite3 from 'better-sqlite3';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { DurableWrites, type Write } from './durable-writes.ts';

const full = () => new BetterSqlite3.SqliteError('the disk is full', 'SQLITE_FULL');
const constraint = () => new BetterSqlite3.SqliteError('FOREIGN KEY', 'SQLITE_CONSTRAINT_FOREIGNKEY');

let told: { id: string; isLost: boolean }[] = [];
let writes: DurableWrites;
beforeEach(() => {
  vi.useFakeTimers();
  told = [];
  writes = new DurableWrites({
    atomically: (work) => work(),
    onError: (_, { id }, isLost) => told.push({ id, isLost }),
  });
});
afterEach(() => vi.useRealTimers());

const write = (id: string, work: () => void, instead: Write[] = []): Write => ({
  what: 'a thing',
  id,
  write: work,
  instead,
});

test('what storage takes is written before commit returns', () => {
  let isWritten = false;
  void writes.commit(write('a', () => (isWritten = true)));
  expect(isWritten).toBe(true);
  expect(writes.status()).toEqual({ waiting: 0, waitingSince: null, lost: {} });
});

test('a full disk: tried again after pauses that double, up to a minute; said once', async () => {
  const at: number[] = [];
  const began = Date.now();
  void writes.commit(
    write('a', () => {
      at.push(Date.now() - began);
      throw full();
    }),
  );
  await vi.advanceTimersByTimeAsync(5 * 60_000);
  const pauses = at.slice(1).map((one, index) => one - (at[index] ?? 0));
  expect(pauses.slice(0, 8)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  expect(told).toEqual([{ id: 'a', isLost: false }]);
  expect(writes.status()).toEqual({ waiting: 1, waitingSince: began, lost: {} });
});

test('what can never be written is given up at once, counted, and replaced', async () => {
  let tries = 0;
  const instead: string[] = [];
  const outcome = await writes.commit(
    write(
      'a',
      () => {
        tries += 1;
        throw constraint();
      },
      [write('b', () => void instead.push('b'))],
    ),
  );
  expect([outcome, tries, instead]).toEqual(['lost', 1, ['b']]);
  expect(writes.status().lost).toEqual({ 'a thing': 1 });
  expect(told).toEqual([{ id: 'a', isLost: true }]);
});

test('once one is written, the others do not wait for their pauses to end', async () => {
  let isFull = true;
  const done: string[] = [];
  const thing = (id: string) =>
    write(id, () => {
      if (isFull) throw full();
      done.push(id);
    });
  void writes.commit(thing('a'));
  await vi.advanceTimersByTimeAsync(40_000);
  void writes.commit(thing('b'));
  isFull = false;
  await vi.advanceTimersByTimeAsync(1_001);
  expect(done).toEqual(['b', 'a']);
});

test('at the end each is tried once more, and what still waits is told that it stops', async () => {
  let isFull = true;
  const thing = (id: string, staysFull: boolean) =>
    write(id, () => {
      if (isFull || staysFull) throw full();
    });
  const outcomes = [writes.commit(thing('a', true)), writes.commit(thing('b', false))];
  isFull = false;
  writes.close();
  expect(await Promise.all(outcomes)).toEqual(['stopped', 'written']);
  expect(await writes.commit(thing('c', true))).toBe('stopped');
});

test('no write that fails for ever, or for a while, keeps another one from being written', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom('good', 'never', 'later'), { minLength: 1, maxLength: 12 }),
      fc.nat({ max: 5 }),
      async (kinds, failures) => {
        const all = new DurableWrites({ atomically: (work) => work(), onError: () => undefined });
        const ends = kinds.map((kind, index) => {
          let tries = 0;
          return all.commit(
            write(String(index), () => {
              tries += 1;
              if (kind === 'never') throw constraint();
              if (kind === 'later' && tries <= failures) throw full();
            }),
          );
        });
        await vi.advanceTimersByTimeAsync(10 * 60_000);
        expect(await Promise.all(ends)).toEqual(kinds.map((kind) => (kind === 'never' ? 'lost' : 'written')));
        expect(all.status().waiting).toBe(0);
      },
    ),
    { numRuns: 200 },
  );
});
