import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { describeConfig } from '../../scripts/describe-config.ts';
import { loadConfig, settings } from './config.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kilnhouse-config-'));
});
const load = (env: Record<string, string> = {}) => loadConfig({ KILNHOUSE_DATA: folder, ...env }).config;
const write = (text: string): void => writeFileSync(join(folder, 'config.json'), text);

test('an empty folder gives the defaults, a file to edit and its schema', () => {
  expect(load()).toMatchObject({
    tenant: { port: 3050, host: '127.0.0.1' },
    operator: { port: 3051 },
    demo: 'auto',
  });
  expect(JSON.parse(readFileSync(join(folder, 'config.schema.json'), 'utf8'))).toMatchObject({
    type: 'object',
  });
  expect(load()).toMatchObject({ demo: 'auto' });
});

test('the variables that scripts use', () => {
  const config = load({
    KILNHOUSE_TENANT_PORT: '4000',
    KILNHOUSE_OPERATOR_PORT: '4001',
    KILNHOUSE_DEMO: '1',
  });
  expect(config).toMatchObject({ tenant: { port: 4000 }, operator: { port: 4001 }, demo: 'always' });
  expect(load({ KILNHOUSE_DEMO: '0' }).demo).toBe('never');
});

test('every setting has a variable, a default and a description', () => {
  for (const { path, variable, schema } of settings()) {
    expect(schema.description, path.join('.')).toMatch(/\.$|null\.$/);
    expect(schema, path.join('.')).toHaveProperty('default');
    expect(variable).toMatch(/^KILNHOUSE_[A-Z_]+$/);
  }
});

test.each([
  ['half a file', '{"tenant": {"port": 30', 'not valid JSON'],
  ['a wrong type', '{"tenant": {"port": "x"}}', 'tenant.port'],
  ['a port out of range', '{"tenant": {"port": 99999}}', 'tenant.port'],
  ['an unknown setting', '{"tenannt": {}}', 'tenannt'],
])('F62: %s is refused with the place named', (_, text, place) => {
  write(text);
  expect(() => load()).toThrow(place);
});

test('a wrong variable is refused by name', () => {
  expect(() => load({ KILNHOUSE_TENANT_PORT: 'many' })).toThrow('KILNHOUSE_TENANT_PORT');
});

test('docs/configuration.md says what the schema says', () => {
  expect(readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8')).toBe(
    describeConfig(),
  );
});

test.each([
  ['UTF-8 with a byte order mark', 'utf8'],
  ['UTF-16, as PowerShell writes it', 'utf16le'],
] as const)('a file in %s is read', (_, encoding) => {
  writeFileSync(join(folder, 'config.json'), '\uFEFF{\r\n"tenant": {"port": 4000}\r\n}', encoding);
  expect(load().tenant.port).toBe(4000);
});

test.each([
  ['"C:\\Users\\ann\\sd"', 'C:\\Users\\ann\\sd'],
  [' /opt/sd ', '/opt/sd'],
  ['~/sd', join(homedir(), 'sd')],
  ['~', homedir()],
  ['~ann/sd', '~ann/sd'],
])('a path pasted as %s is taken as %s', (written, meant) => {
  write(JSON.stringify({ webui: { folder: written } }));
  expect(load().webui.folder).toBe(meant);
});

test('KILNHOUSE_DATA may be set with quotes, as Windows keeps them', () => {
  expect(loadConfig({ KILNHOUSE_DATA: `"${folder}"` }).folder).toBe(folder);
});

test.each([
  ['single backslashes', '{"webui": {"folder": "C:\\models"}}', 'a backslash is written twice'],
  ['backslashes that mean a line break', '{"webui": {"folder": "C:\\new"}}', 'a backslash is written twice'],
  ['a comment', '{\n// the card\n"gpu": {}}', 'Comments are not allowed'],
  ['a comma too many', '{"gpu": {"reserveMib": 512,}}', 'No comma may stand before'],
])('%s: the message says what to change', (_, text, advice) => {
  write(text);
  expect(() => load()).toThrow(advice);
});
