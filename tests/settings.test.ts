import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestAppliance } from './appliance.ts';

/* Settings that would lock the operator out: refused when they are saved, and survived when they are written by hand. */
let appliance: TestAppliance;
beforeAll(async () => {
  appliance = await TestAppliance.start({ speed: 40 });
});
afterAll(() => appliance.stop());

const file = (name = 'config.json'): string => join(appliance.folder, name);
/** Ends it and starts it again on the same data. */
async function again(): Promise<void> {
  await appliance.stop();
  appliance = await TestAppliance.start({ folder: appliance.folder, speed: 40 });
}
async function alerts(): Promise<string[]> {
  return (await appliance.operator('/api/alerts')).map(({ id }: { id: string }) => id);
}

describe('what would stop the next start is refused at the field, and nothing is saved', () => {
  test.each([
    ['accounts.plan', 'nonexistent-plan', 'The plans are'],
    ['tenant.host', 'not a host!!', 'not an address or name of this machine'],
    ['tenant.keyFile', '/not/there.pem', 'does not exist'],
    ['backup.folder', '/dev/null/backups', 'is not a folder'],
    ['webui.folder', '/does/not/exist', 'does not exist'],
    ['mail.from', 'garbage', 'is not a sender'],
    ['gpu.reserveMib', 999_999, 'nothing is left for models'],
  ])('%s = %j', async (path, value, words) => {
    const before = readFileSync(file(), 'utf8');
    const { error } = await appliance.operator('/api/settings', 'PATCH', { set: { [path]: value } });
    expect([error.code, error.param]).toEqual(['invalid_request', path]);
    expect(error.message).toContain(words);
    expect(readFileSync(file(), 'utf8')).toBe(before);
  });
});

describe('a file that was changed by hand and stops the start', () => {
  test('it starts with the settings that worked, says why, and goes back to them on request', async () => {
    const text = '{"accounts": {"pl';
    const good = readFileSync(file(), 'utf8');
    writeFileSync(file(), text);
    await again();
    expect((await appliance.get('/health')).status).toBe(200);
    expect(appliance.output).toContain('Starting with the last settings that worked');
    const [alert] = await appliance.operator('/api/alerts');
    expect(alert.id).toBe('settings:file');
    expect(alert.advice).toContain('not valid JSON');
    const states: { path: string; value: unknown }[] = await appliance.operator('/api/settings');
    expect(states.find(({ path }) => path === 'accounts.plan')?.value).toBe('free');
    expect(readFileSync(file(), 'utf8')).toBe(text);
    await appliance.operator('/api/settings/recover', 'POST');
    expect(readFileSync(file(), 'utf8')).toBe(good);
    expect(readFileSync(file('config.refused.json'), 'utf8')).toBe(text);
    await again();
    expect(await alerts()).toEqual([]);
  });

  test('changed in the console instead, it starts with them', async () => {
    writeFileSync(file(), '{"accounts": {"plan": "gold"}, "log": {"files": 3}}');
    await again();
    expect(await alerts()).toEqual(['settings:file']);
    await appliance.operator('/api/settings', 'PATCH', { set: { 'accounts.plan': 'pro' } });
    await again();
    expect(await alerts()).toEqual([]);
    const states: { path: string; value: unknown }[] = await appliance.operator('/api/settings');
    expect(
      states.filter(({ path }) => ['accounts.plan', 'log.files'].includes(path)).map(({ value }) => value),
    ).toEqual(['pro', 3]);
  });

  test('there is nothing to go back to while the settings are in effect', async () => {
    expect((await appliance.operator('/api/settings/recover', 'POST')).error.code).toBe('conflict');
    expect(existsSync(file('config.last-good.json'))).toBe(true);
  });
});
