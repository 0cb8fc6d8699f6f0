import { chmodSync, statSync } from 'node:fs';

const others = 0o077;

/**
 * Shuts other users of this machine out of the data folder, also of one that was made by hand before (F62): its database
 * holds hashes, and messages with tokens. Says so where the file system does not let us. Windows has rights of its own
 * there, which the folder takes from the user's.
 */
export function shutOutOthers(folder: string, warn: (message: string) => void): void {
  if (process.platform === 'win32' || isPrivate(folder)) return;
  try {
    chmodSync(folder, 0o700);
  } catch {
    // Looked at below: some file systems say yes, and change nothing.
  }
  if (!isPrivate(folder))
    warn(
      `Other users of this machine can read ${folder}, and its rights cannot be changed. Move it to a file system that knows owners, or run: chmod 700 ${folder}`,
    );
}

function isPrivate(folder: string): boolean {
  return (statSync(folder).mode & others) === 0;
}
