import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseChecked } from './checked.ts';
import { Config, type LoadedConfig, override } from './config.ts';
import { readTextFile } from './text-file.ts';

/*
 * The settings of the last start that worked, kept beside config.json. When newer ones stop the start, the appliance
 * starts with these, so that the console is there to say why and to change them.
 */

const fileIn = (folder: string): string => join(folder, 'config.last-good.json');

/** Keeps the text that this start was made with, once it serves. */
export function keepAsGood({ folder, text, fault }: LoadedConfig): void {
  if (fault === null) write(fileIn(folder), text);
}

/**
 * What to start with instead of settings that stopped the start for the reason `fault`. Null when there is nothing else:
 * no start has worked yet, or the last one worked with the very same file.
 */
export function lastGood(
  folder: string,
  fault: string,
  env: NodeJS.ProcessEnv = process.env,
): LoadedConfig | null {
  const [file, good] = [join(folder, 'config.json'), fileIn(folder)];
  if (!existsSync(good)) return null;
  const text = readTextFile(good);
  if (existsSync(file) && readTextFile(file) === text) return null;
  return { folder, file, text, fault, config: override(parseChecked(Config, text, good), env) };
}

/** Puts the settings that worked back into config.json. What was there is kept as config.refused.json. */
export function recover(folder: string): void {
  const file = join(folder, 'config.json');
  const text = readTextFile(fileIn(folder));
  if (existsSync(file)) renameSync(file, join(folder, 'config.refused.json'));
  write(file, text);
}

function write(file: string, text: string): void {
  writeFileSync(`${file}.part`, text, { mode: 0o600, flush: true });
  renameSync(`${file}.part`, file);
}
