import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Worker } from 'node:worker_threads';
import { databaseName, type Manifest } from './manifest.ts';
import { programBeside } from '../../gpu/program.ts';

/** What was found in a copied database. */
export interface DatabaseVerdict {
  /** In words; empty when it is as it should be. */
  readonly faults: readonly string[];
  readonly schema: number;
  readonly entries: number;
  readonly balances: number;
}

/** Reads a database through: pages, references, and the whole ledger. Rejects when it cannot be read at all. */
export function verifyDatabase(file: string): Promise<DatabaseVerdict> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(programBeside(import.meta.url, 'verify-worker'), { workerData: file });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error('It could not be read.')));
  });
}

export async function digestOf(file: string): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return { bytes: (await stat(file)).size, sha256: hash.digest('hex') };
}

/** Whether a backup still is what its manifest says. Resolves to what is wrong, in words. */
export async function verifyBackup(folder: string, manifest: Manifest): Promise<string[]> {
  const faults: string[] = [];
  for (const [name, wanted] of Object.entries(manifest.files)) {
    const found = await digestOf(join(folder, name)).catch(() => null);
    if (!found) faults.push(`${name} is missing.`);
    else if (found.sha256 !== wanted.sha256) faults.push(`${name} is not what was written.`);
  }
  if (faults.length > 0) return faults;
  const verdict = await verifyDatabase(join(folder, databaseName)).catch((error: unknown) => String(error));
  if (typeof verdict === 'string') return [verdict];
  const { ledger, schema } = manifest;
  if (verdict.entries !== ledger.entries || verdict.balances !== ledger.balances || verdict.schema !== schema)
    faults.push('The database is not the one that was backed up.');
  return [...verdict.faults, ...faults];
}
