import { writeFileSync } from 'node:fs';
import { settings } from '../server/config/config.ts';

/* Writes docs/configuration.md from the schema of the settings: node scripts/describe-config.ts */
export function describeConfig(): string {
  const rows = settings().map(({ path, variable, schema }) => {
    const value = JSON.stringify(schema.default);
    return `| \`${path.join('.')}\` | \`${value}\` | ${schema.description ?? ''} | \`${variable}\` |`;
  });
  return [
    '# Configuration',
    '',
    'Settings lie in `config.json` in the data folder (`~/.kilnhouse`, or where `KILNHOUSE_DATA` points). The file is',
    'checked at start; a mistake is refused with its place named. Editors that know JSON Schema offer the settings from',
    '`config.schema.json` beside it. A variable overrides the file. Changes take effect at the next start.',
    '',
    'This page is made from the schema in `server/config/config.ts` by `node scripts/describe-config.ts`.',
    '',
    '| setting | default | what it does | variable |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

if (import.meta.main) writeFileSync(new URL('../docs/configuration.md', import.meta.url), describeConfig());
