import { join } from 'node:path';
import type { Config } from '../config/config.ts';

/** Where backups lie. */
export function backupFolderOf(config: Config, dataFolder: string): string {
  return config.backup.folder ?? join(dataFolder, 'backups');
}
