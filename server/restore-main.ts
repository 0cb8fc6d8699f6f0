import { existsSync, readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { backupFolderOf } from './backup/backup-folder.ts';
import { restore } from './backup/restore.ts';
import { backupName } from './backup/manifest.ts';
import { dataFolder, type LoadedConfig, loadConfig } from './config/config.ts';
import { lastGood } from './config/last-good.ts';

/* npm run restore [backup]: puts a backup in the place of the data folder's contents, or lists what there is. */
// As the appliance itself: what it writes is for its owner alone.
process.umask(0o077);
const [wanted] = process.argv.slice(2);
try {
  const { config, folder } = readSettings();
  const backups = backupFolderOf(config, folder);
  if (wanted === undefined) {
    const names = (existsSync(backups) ? readdirSync(backups) : [])
      .filter((name) => backupName.test(name))
      .toSorted()
      .toReversed();
    console.log(
      `Backups in ${backups}, newest first:\n${names.map((name) => `  ${name}`).join('\n') || '  none'}`,
    );
    console.log('\nRestore one with: npm run restore -- <name or folder>\nThe appliance has to be stopped.');
  } else {
    const from = backupName.test(wanted) ? resolve(backups, wanted) : resolve(wanted);
    console.log(`Reading ${from} through...`);
    const { manifest, before, fileSets } = await restore(from, folder);
    const { entries, balances } = manifest.ledger;
    console.log(
      `Restored to ${folder}: the state of ${new Date(manifest.at).toISOString()}, ${entries} entries in the ledger, ` +
        `${balances} credits in all, ${fileSets} set(s) of files.`,
    );
    if (before !== null) console.log(`What was there before is in ${before}.`);
    console.log('Start the appliance as usual.');
  }
} catch (error) {
  console.error(`\nNothing was restored: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}

/** The settings, or the last ones that worked: a mistake in them must not stand in the way of a backup. */
function readSettings(): LoadedConfig {
  try {
    return loadConfig();
  } catch (error) {
    const good = lastGood(dataFolder(process.env), String(error));
    if (!good) throw error;
    return good;
  }
}
