import { readFileSync } from 'node:fs';
import { Type } from 'typebox';
import { parseChecked } from './config/checked.ts';

const Manifest = Type.Object({ version: Type.String() });
const file = new URL('../package.json', import.meta.url);

/** The version of the appliance, as package.json has it. */
export const { version } = parseChecked(Manifest, readFileSync(file, 'utf8'), 'package.json');
