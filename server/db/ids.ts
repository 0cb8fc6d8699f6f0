import { v7 } from 'uuid';

const prefixes = {
  tenant: 'ten',
  user: 'usr',
  session: 'ses',
  key: 'key',
  invitation: 'inv',
  order: 'ord',
  mail: 'msg',
  job: 'job',
  artefact: 'art',
  thumbnail: 'thm',
  upload: 'upl',
  batch: 'bat',
  webhook: 'whk',
  event: 'evt',
  delivery: 'dlv',
} as const;

/** A new id, which says what it is of and sorts by when it was made: `usr_019a...`. */
export function newId(kind: keyof typeof prefixes): string {
  return `${prefixes[kind]}_${v7().replaceAll('-', '')}`;
}
