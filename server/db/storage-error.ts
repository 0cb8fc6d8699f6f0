/**
 * Whether an error says that storage cannot take a write at the moment: SQLite's or the file system's word for full,
 * busy, read-only, failing, or out of handles. The same write may succeed later. Every other error of a write (a
 * constraint, a bug of ours) comes back however often it is tried.
 */
export function isStorageError(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false;
  const code = String(error.code);
  return error.name === 'SqliteError'
    ? /^SQLITE_(FULL|IOERR|READONLY|BUSY|LOCKED|CANTOPEN|NOMEM|PROTOCOL)/.test(code)
    : /^(ENOSPC|EDQUOT|EROFS|EIO|EACCES|EPERM|EBUSY|EMFILE|ENFILE)$/.test(code);
}
