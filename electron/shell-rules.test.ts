import { mkdtempSync, readFileSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FuseV1Options } from '@electron/fuses';
import { describe, expect, test, vi } from 'vitest';
import { fuses } from '../scripts/fuses.ts';
import { autostart, desktopEntry } from './autostart.ts';
import { noticesOf } from './notices.ts';
import { quitQuestion } from './quit-question.ts';
import { isAllowed, isOwnPage, opensOutside } from './security.ts';
import { alert, model, stateOf, statusOf } from './status.fixture.ts';
import { windowOptions } from './window-options.ts';

/* Electron's security checklist, as far as it can be asserted without Electron; docs/desktop.md has the rest. */
const operatorUrl = 'http://127.0.0.1:3051';
const tenantUrl = 'http://127.0.0.1:3050';

describe('D9: pages stay in their place', () => {
  test('the window gives them nothing of Node', () => {
    expect(windowOptions({ icon: 'x', isPackaged: true }).webPreferences).toEqual({
      nodeIntegration: false,
      nodeIntegrationInWorker: false,
      nodeIntegrationInSubFrames: false,
      contextIsolation: true,
      sandbox: true,
      webSecurity: true,
      allowRunningInsecureContent: false,
      experimentalFeatures: false,
      webviewTag: false,
      navigateOnDragDrop: false,
      spellcheck: false,
      devTools: false,
    });
  });

  test.each([
    ['http://127.0.0.1:3051/', true],
    ['http://127.0.0.1:3051/#/models', true],
    ['http://127.0.0.1:3050/', false],
    ['http://localhost:3051/', false],
    ['https://127.0.0.1:3051/', false],
    ['http://127.0.0.1:3051.evil.test/', false],
    ['http://127.0.0.1:3051@evil.test/', false],
    ['http://user@127.0.0.1:3051/', false],
    ['http://evil.test/?http://127.0.0.1:3051', false],
    ['file:///etc/passwd', false],
    ['javascript:alert(1)', false],
    ['data:text/html,x', false],
    ['nonsense', false],
  ])('may the window show %s: %s', (address, isOwn) => {
    expect(isOwnPage(address, operatorUrl)).toBe(isOwn);
    expect(isOwnPage(address, null)).toBe(false);
  });

  test.each([
    ['https://lmstudio.ai/download', true],
    ['https://huggingface.co/models', true],
    ['http://127.0.0.1:3050/docs', true],
    ['http://lmstudio.ai', false],
    ['https://lmstudio.ai.evil.test', false],
    ['https://evil.test/lmstudio.ai', false],
    ['https://x@lmstudio.ai', false],
    ['https://lmstudio.ai:8443', false],
    ['file:///C:/Windows/System32/calc.exe', false],
    ['ms-settings:privacy', false],
    ['smb://evil.test/share', false],
    ['nonsense', false],
  ])('may the system’s browser open %s: %s', (address, opens) =>
    expect(opensOutside(address, tenantUrl)).toBe(opens),
  );

  test.each([
    ['clipboard-sanitized-write', operatorUrl, true],
    ['clipboard-sanitized-write', 'https://evil.test', false],
    ['clipboard-read', operatorUrl, false],
    ['media', operatorUrl, false],
    ['geolocation', operatorUrl, false],
    ['notifications', operatorUrl, false],
    ['openExternal', operatorUrl, false],
    ['fileSystem', operatorUrl, false],
  ])('permission %s for %s: %s', (permission, origin, isGiven) =>
    expect(isAllowed(permission, origin, operatorUrl)).toBe(isGiven),
  );

  test('there is no preload script, no IPC and no way around the sandbox in the shell', () => {
    const folder = fileURLToPath(new URL('.', import.meta.url));
    for (const name of readdirSync(folder).filter((file) => !file.includes('.test.'))) {
      const text = readFileSync(join(folder, name), 'utf8');
      expect(text, name).not.toMatch(
        /ipcMain|ipcRenderer|contextBridge|preload:|executeJavaScript|webSecurity: false|sandbox: false|no-sandbox|contextIsolation: false|enableBlinkFeatures|disable-web-security|remote-debugging/,
      );
    }
  });

  test('the page shown while it starts runs nothing', () => {
    const page = readFileSync(new URL('starting.html', import.meta.url), 'utf8');
    expect(page).toContain(`content="default-src 'none'; style-src 'unsafe-inline'"`);
    expect(page).not.toMatch(/<script| on[a-z]+="/);
  });

  test('D9: fuses shut what a shipped app does not need', () => {
    expect(fuses).toMatchObject({
      [FuseV1Options.RunAsNode]: false,
      [FuseV1Options.EnableNodeOptionsEnvironmentVariable]: false,
      [FuseV1Options.EnableNodeCliInspectArguments]: false,
      [FuseV1Options.OnlyLoadAppFromAsar]: true,
      [FuseV1Options.EnableEmbeddedAsarIntegrityValidation]: true,
      [FuseV1Options.EnableCookieEncryption]: true,
      [FuseV1Options.GrantFileProtocolExtraPrivileges]: false,
    });
  });
});

describe('what the operator is told of', () => {
  test('trouble, when it begins and only then', () => {
    const good = statusOf();
    const bad = statusOf({ state: stateOf({ alerts: { ...alert('lm'), ...alert('mail', 'warning') } }) });
    expect(noticesOf(good, bad)).toEqual([{ title: 'lm is wrong', body: 'do this', page: '/engines' }]);
    expect(noticesOf(bad, bad)).toEqual([]);
    expect(noticesOf(bad, good)).toEqual([]);
    expect(noticesOf(statusOf({ state: null }), bad), 'it is in the console already').toEqual([]);
  });

  test('a tenant whose credits run low, once', () => {
    const with_ = (available: number | null) =>
      statusOf({ tenants: [{ id: 'ten_1', name: 'Potters', available }] });
    expect(noticesOf(with_(25), with_(19))).toMatchObject([
      { title: 'Potters has 19 credits left', page: '/tenants/ten_1' },
    ]);
    expect(noticesOf(with_(19), with_(3))).toEqual([]);
    expect(noticesOf(statusOf(), with_(3)), 'known from the start').toEqual([]);
    expect(noticesOf(with_(null), with_(null))).toEqual([]);
  });

  test('a server that is given up, and a new version', () => {
    expect(noticesOf(statusOf(), statusOf({ server: 'failed' }))).toHaveLength(1);
    const offered = statusOf({ update: { version: '2.0.0', isLoaded: false } });
    expect(noticesOf(statusOf(), offered)).toMatchObject([{ title: 'Version 2.0.0 is there' }]);
    expect(noticesOf(offered, statusOf({ update: { version: '2.0.0', isLoaded: true } }))).toEqual([]);
  });
});

test('before it ends it asks, when somebody is served', () => {
  expect(quitQuestion(statusOf())).toBeNull();
  expect(quitQuestion(statusOf({ state: null }))).toBeNull();
  const state = stateOf({ models: model('chat', { running: 2 }), queue: { a: {} } });
  expect(quitQuestion({ state })).toMatchObject({ message: '3 requests are being served' });
});

describe('start with the system', () => {
  test('on Linux: a file in the autostart folder, with the program quoted as desktops want it', () => {
    const configFolder = mkdtempSync(join(tmpdir(), 'kilnhouse-config-'));
    const app = { getLoginItemSettings: vi.fn(), setLoginItemSettings: vi.fn() };
    const one = autostart(app, { platform: 'linux', configFolder, program: '/opt/Kiln house/kilnhouse' });
    expect(one.isOn()).toBe(false);
    one.set(true);
    expect(one.isOn()).toBe(true);
    expect(readFileSync(join(configFolder, 'autostart/kilnhouse.desktop'), 'utf8')).toContain(
      'Exec="/opt/Kiln house/kilnhouse" --hidden',
    );
    one.set(false);
    one.set(false);
    expect(one.isOn()).toBe(false);
    expect(app.setLoginItemSettings).not.toHaveBeenCalled();
    expect(desktopEntry('/a "b" $c 100%/k')).toContain('Exec="/a \\\\"b\\\\" \\\\$c 100%%/k" --hidden');
  });

  test('elsewhere: as the system does it', () => {
    const app = { getLoginItemSettings: vi.fn(() => ({ openAtLogin: true })), setLoginItemSettings: vi.fn() };
    const one = autostart(app, { platform: 'win32', configFolder: '', program: '' });
    expect(one.isOn()).toBe(true);
    one.set(false);
    expect(app.setLoginItemSettings).toHaveBeenCalledWith({ openAtLogin: false, args: ['--hidden'] });
  });
});
