import { type Static, Type } from 'typebox';

/** What a backup holds, written beside it once it is whole and was read back. */
export const Manifest = Type.Object(
  {
    format: Type.Literal(1),
    /** Wall-clock milliseconds. */
    at: Type.Integer(),
    /** Of the program that made it, and of its database. */
    version: Type.String(),
    schema: Type.Integer(),
    files: Type.Record(
      Type.String(),
      Type.Object({ bytes: Type.Integer(), sha256: Type.String() }, { additionalProperties: false }),
    ),
    ledger: Type.Object(
      { entries: Type.Integer(), balances: Type.Integer() },
      { additionalProperties: false, description: 'Entries, and the sum of all balances.' },
    ),
    /** The set of tenants' files that was copied with it; null on other days. */
    fileSet: Type.Union([Type.String(), Type.Null()]),
  },
  { additionalProperties: false },
);
export type Manifest = Static<typeof Manifest>;

export const databaseName = 'kilnhouse.db';
export const manifestName = 'manifest.json';
/** Folder of the copies of tenants' files, beside the backups. */
export const fileSetsName = 'files';

/** What goes with the database: settings, tenants, and the keys without which its contents cannot be read. */
export const settingsNames = [
  'config.json',
  'tenants.json',
  'content-key',
  'session-secret',
  'link-secret',
  'measurements.json',
] as const;

/** The name of a backup: when it was made. Also the only thing that a path is made of. */
export function nameOf(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19).replaceAll(':', '-')}Z`;
}

export const backupName = /^\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}Z$/;
