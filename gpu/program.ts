import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The Node that runs our own child programs. In the desktop app it is one that comes with it: Electron's own binary is
 * closed to scripts.
 */
export const nodePath = process.env['KILNHOUSE_NODE'] || process.execPath;

/** The place of a program of ours, from the module that starts it: it ends in .ts as that does, or in .js once built. */
export function programBeside(moduleUrl: string, name: string): string {
  return fileURLToPath(new URL(`${name}${extname(moduleUrl)}`, moduleUrl));
}
