import { beforeEach, expect, test } from 'vitest';
import { openDatabase } from '../db/open.ts';
import { Offers } from '../offers/offers.ts';
import { Vault } from '../secrets/vault.ts';
import { JobStore, Overtaken } from './job-store.ts';
import { isFinal, type JobEvent, jobStates, transitions } from './states.ts';

let db = openDatabase(':memory:');
let store = new JobStore(db, new Vault(Buffer.alloc(32, 1)));
const job = {
  id: 'job_1',
  tenant: 't',
  askedBy: 'k',
  person: null,
  feature: 'image-generation',
  model: 'm',
  creditsHeld: 0,
  startBy: null,
  batch: null,
  retryOf: null,
};
beforeEach(() => {
  db = openDatabase(':memory:');
  store = new JobStore(db, new Vault(Buffer.alloc(32, 1)));
  store.create(job, { prompt: 'a secret prompt' }, new Offers(db).prices);
});

/** A job in a state, however it got there. */
function put(state: string): void {
  db.exec('drop trigger jobs_move_along_the_edges');
  const finished = isFinal(state as 'queued') ? 1 : null;
  db.prepare('update jobs set state = ?, finished_at = ?').run(state, finished);
  const sql = openDatabase(':memory:')
    .prepare("select sql from sqlite_master where name = 'jobs_move_along_the_edges'")
    .pluck()
    .get() as string;
  db.exec(sql);
}

test.each(jobStates.flatMap((from) => jobStates.map((to) => [from, to] as const)))(
  'J8: from %s to %s the database says what the table says',
  (from, to) => {
    put(from);
    const isEdge = Object.values(transitions[from]).includes(to);
    const go = (): unknown =>
      db.prepare('update jobs set state = ?, finished_at = ?').run(to, isFinal(to) ? 1 : null);
    if (isEdge || from === to) expect(go).not.toThrow();
    else expect(go).toThrow('does not go');
  },
);

test('J8: ends are ends', () => {
  expect(jobStates.filter(isFinal)).toEqual(['succeeded', 'failed', 'canceled', 'expired']);
  const events: JobEvent[] = ['claim', 'begin', 'finish', 'fail', 'cancel', 'expire', 'requeue'];
  for (const state of jobStates.filter(isFinal)) {
    put(state);
    for (const event of events) expect(() => store.move(job.id, event)).toThrow(Overtaken);
  }
});

test('J2: a late worker writes nothing: not a step, not a result, not the end', () => {
  const first = store.claim(job.id, 'boot-1');
  store.move(job.id, 'begin', {}, 1);
  store.move(job.id, 'requeue', {}, 1);
  const second = store.claim(job.id, 'boot-2');
  expect([first?.attempt, second?.attempt]).toEqual([1, 2]);
  store.move(job.id, 'begin', {}, 2);
  expect(() => store.saveStep(job.id, 1, 'picture-1', {}, [])).toThrow(Overtaken);
  expect(() => store.move(job.id, 'finish', {}, 1)).toThrow(Overtaken);
  expect(() => store.note(job.id, 1, { progress: 1 })).toThrow(Overtaken);
  store.saveStep(job.id, 2, 'picture-1', { seed: 1 }, []);
  store.move(job.id, 'finish', {}, 2);
  expect(() => store.saveStep(job.id, 2, 'picture-2', {}, [])).toThrow(Overtaken);
  expect(store.finishedSteps(job.id)).toBe(1);
});

test('a job is claimed once', () => {
  expect(store.claim(job.id, 'a')).not.toBeNull();
  expect(store.claim(job.id, 'b')).toBeNull();
});

test('what was asked lies encrypted', () => {
  expect(db.serialize().toString('latin1')).not.toContain('a secret prompt');
  expect(store.input(job.id)).toEqual({ prompt: 'a secret prompt' });
});
