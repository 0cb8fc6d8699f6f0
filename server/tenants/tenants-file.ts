import { existsSync, writeFileSync } from 'node:fs';
import { watch } from 'chokidar';
import { parseChecked } from '../config/checked.ts';
import { readTextFile } from '../config/text-file.ts';
import { newApiKey, hashApiKey } from './api-key.ts';
import type { Offers } from '../offers/offers.ts';
import { type FileTenants, identitiesOf, TenantsFile } from './file-tenants.ts';

export interface TenantsWatch {
  readonly path: string;
  /** What is wrong with the file as it is now; the last good one stays in force. */
  problem(): string | null;
  close(): Promise<void>;
}

const rereadMs = 300;

/**
 * Keeps the tenants as tenants.json says, within a moment of every change. A file that cannot be read as a whole
 * changes nothing: a half-written one must not lock everybody out, nor an emptied one let nobody be refused.
 */
export async function watchTenantsFile(
  path: string,
  tenants: FileTenants,
  offers: Offers,
  log: { info(about: object, message: string): void; error(about: object, message: string): void },
): Promise<TenantsWatch> {
  let problem: string | null = null;
  let applied = '';
  const read = (): void => {
    try {
      const text = existsSync(path) ? readTextFile(path) : '{}';
      if (text === applied) return;
      const identities = identitiesOf(parseChecked(TenantsFile, text, path), offers.plans);
      tenants.replace(identities);
      applied = text;
      problem = null;
      log.info({ keys: identities.size }, 'tenants file read');
    } catch (error) {
      // Also one that cannot be read at the moment: on Windows, an editor may keep it to itself while it saves.
      problem = error instanceof Error ? error.message : String(error);
      log.error({ problem }, 'tenants file not used; the last good one stays in force');
    }
  };
  read();
  offers.onChange(() => {
    applied = '';
    read();
  });
  const watcher = watch(path, { ignoreInitial: true, atomic: 100 });
  let again: NodeJS.Timeout | null = null;
  watcher.on('all', () => {
    read();
    // Of two changes close together the second may go unreported, and it must not be a revocation that gets lost.
    if (again) clearTimeout(again);
    again = setTimeout(read, rereadMs).unref();
  });
  await new Promise<void>((resolve) => watcher.once('ready', () => resolve()));
  // What changed while the watcher was getting ready.
  read();
  return { path, problem: () => problem, close: () => watcher.close() };
}

/** On the very first start: a file with one key, so that there is something to try. Returns the key, once. */
export function createTenantsFile(path: string): string | null {
  if (existsSync(path)) return null;
  const key = newApiKey();
  const first: TenantsFile = {
    [`sha256:${hashApiKey(key)}`]: { name: 'first', plan: 'pro' },
  };
  writeFileSync(path, `${JSON.stringify(first, null, 2)}\n`, { mode: 0o600 });
  return key;
}
