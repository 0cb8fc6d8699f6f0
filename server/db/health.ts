import { statSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { Database } from 'better-sqlite3';
import { programBeside } from '../../gpu/program.ts';

/** A file up to this size is looked through in a moment, before anything is served from it. */
const smallBytes = 64 * 1024 ** 2;

/** The database file is not what was written to it. */
export class DatabaseDamaged extends Error {
  override readonly name = 'DatabaseDamaged';
  constructor(found: string) {
    super(`The database is damaged: ${found}. Restore a backup.`);
  }
}

/** Whether a file is small enough to be looked through at once. */
export function isSmall(file: string): boolean {
  return file === ':memory:' || statSync(file).size <= smallBytes;
}

/** Looks through a database now. Throws DatabaseDamaged. */
export function demandHealth(db: Database): void {
  const found = String(db.pragma('quick_check(1)', { simple: true }));
  if (found !== 'ok') throw new DatabaseDamaged(found);
}

/**
 * Looks through a large database beside the work that goes on, since that takes seconds. Rejects with DatabaseDamaged.
 * Resolves as well when it is told to stop.
 */
export async function lookThrough(file: string, signal: AbortSignal): Promise<void> {
  const worker = new Worker(programBeside(import.meta.url, 'health-worker'), { workerData: file });
  worker.unref();
  const stop = (): void => void worker.terminate();
  signal.addEventListener('abort', stop);
  try {
    const found = await new Promise<string>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', (error) => reject(new DatabaseDamaged(error.message)));
      worker.once('exit', () => resolve('ok'));
    });
    if (found !== 'ok' && !signal.aborted) throw new DatabaseDamaged(found);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
