import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { InvalidValue } from './checked.ts';
import { type Config, loadConfig, settings } from './config.ts';
import { planChange, type SettingChange, settingStates, type WantedChange, writeChange } from './edit.ts';

let folder = '';
let file = '';
let config: Config;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kilnhouse-settings-'));
  ({ config, file } = loadConfig({ KILNHOUSE_DATA: folder }));
});
/** Plans a change and makes it. */
function changeSettings(of: string, wanted: WantedChange): readonly SettingChange[] {
  const planned = planChange(of, wanted);
  writeChange(of, planned);
  return planned.changes;
}
const state = (path: string, env = {}) => settingStates(file, config, env).find((one) => one.path === path);

test('every setting is there, as it is', () => {
  expect(settingStates(file, config, {}).map(({ path }) => path)).toEqual(
    settings().map(({ path }) => path.join('.')),
  );
  expect(state('tenant.port')).toMatchObject({
    value: 3050,
    default: 3050,
    next: null,
    isPending: false,
    decidedBy: null,
  });
});

test('a change waits for the next start, is kept with what else the file says, and can be taken back', () => {
  writeFileSync(file, '{"$schema": "./config.schema.json", "log": {"level": "debug"}}');
  const changes = changeSettings(file, { set: { 'tenant.port': 4000, demo: 'never', 'gpu.capMib': null } });
  expect(changes).toEqual([
    { path: 'tenant.port', before: 3050, after: 4000 },
    { path: 'demo', before: 'auto', after: 'never' },
  ]);
  expect(state('tenant.port')).toMatchObject({ value: 3050, next: 4000, isPending: true });
  expect(loadConfig({ KILNHOUSE_DATA: folder }).config).toMatchObject({
    tenant: { port: 4000 },
    log: { level: 'debug' },
  });
  expect(JSON.parse(readFileSync(file, 'utf8'))).toHaveProperty('$schema');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(changeSettings(file, { reset: ['tenant.port'] })).toEqual([
    { path: 'tenant.port', before: 4000, after: 3050 },
  ]);
});

test('D7: secrets are covered, wherever they are shown', () => {
  const secrets = settings()
    .filter(({ schema }) => 'writeOnly' in schema)
    .map(({ path }) => path.join('.'));
  expect(secrets).toEqual([
    'lmStudio.apiToken',
    'webui.auth',
    'mail.password',
    'tunnel.token',
    'payments.stripeSecretKey',
    'payments.stripeWebhookSecret',
  ]);
  const set = Object.fromEntries(secrets.map((path) => [path, 'canary']));
  const changes = changeSettings(file, { set });
  expect(JSON.stringify([changes, settingStates(file, config, {})])).not.toContain('canary');
  expect(changes.map(({ after }) => after)).toEqual(secrets.map(() => '(set)'));
  expect(state('mail.password')).toMatchObject({ value: false, next: true, isPending: true });
});

test('a variable that decides it is said', () => {
  const { config: decided } = loadConfig({ KILNHOUSE_DATA: folder, KILNHOUSE_TENANT_PORT: '5000' });
  const [found] = settingStates(file, decided, { KILNHOUSE_TENANT_PORT: '5000' });
  expect(found).toMatchObject({
    path: 'tenant.port',
    value: 5000,
    isPending: false,
    decidedBy: 'KILNHOUSE_TENANT_PORT',
  });
});

test.each([
  ['an unknown one', { set: { 'tenant.prot': 1 } }, 'tenant.prot'],
  ['a wrong value', { set: { 'tenant.port': 4000, 'gpu.reserveMib': -1 } }, 'gpu.reserveMib'],
  ['a group', { set: { tenant: {} } }, 'tenant'],
  ['one of the language', { set: { __proto__: null, constructor: 1 } }, 'constructor'],
  ['an unknown one to reset', { reset: ['nothing'] }, 'nothing'],
])('%s is refused with its place, and nothing is changed', (_, change, place) => {
  const before = readFileSync(file, 'utf8');
  expect(() => changeSettings(file, change)).toThrow(InvalidValue);
  expect(() => changeSettings(file, change)).toThrow(place);
  expect(readFileSync(file, 'utf8')).toBe(before);
});
