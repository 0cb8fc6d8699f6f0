import { parentPort, workerData } from 'node:worker_threads';
import BetterSqlite3 from 'better-sqlite3';

/* Looks through a database on a thread and a connection of its own. */
const db = new BetterSqlite3(workerData as string, { readonly: true });
const found = String(db.pragma('quick_check(1)', { simple: true }));
db.close();
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
parentPort?.postMessage(found);
