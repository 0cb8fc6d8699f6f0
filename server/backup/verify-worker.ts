import { parentPort, workerData } from 'node:worker_threads';
import BetterSqlite3 from 'better-sqlite3';
import { proveLedger } from '../ledger/proof.ts';

/* Reads a copied database back, on a thread of its own: every page, every reference, every credit. */
const db = new BetterSqlite3(workerData as string, { readonly: true });
const faults: string[] = [];
const pages = String(db.pragma('integrity_check(1)', { simple: true }));
if (pages !== 'ok') faults.push(pages);
const references = db.pragma('foreign_key_check') as unknown[];
if (references.length > 0) faults.push(`${references.length} rows refer to nothing.`);
const proof = proveLedger(db);
faults.push(...proof.faults);
const schema = Number(db.pragma('user_version', { simple: true }));
db.close();
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
parentPort?.postMessage({ faults, schema, entries: proof.entries, balances: proof.balances });
