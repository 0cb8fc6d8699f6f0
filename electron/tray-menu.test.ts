import { describe, expect, test } from 'vitest';
import { moodOf, staysAwake } from './status.ts';
import { alert, model, stateOf, statusOf } from './status.fixture.ts';
import { type Action, type Item, trayMenu, trayTip } from './tray-menu.ts';

const labels = (items: readonly Item[]): string[] =>
  items.flatMap((item) =>
    item.kind === 'line' ? [] : item.kind === 'menu' ? [item.label, ...labels(item.items)] : [item.label],
  );
const actionOf = (items: readonly Item[], label: string | RegExp): Action | undefined => {
  for (const item of items) {
    if (item.kind === 'menu') {
      const found = actionOf(item.items, label);
      if (found) return found;
    } else if ((item.kind === 'press' || item.kind === 'check') && new RegExp(label).test(item.label))
      return item.action;
  }
  return undefined;
};

test('D5: the icon says that not everything is served while an engine is stopped', () => {
  const tipWith = (...healths: string[]): string =>
    trayTip(
      statusOf({
        state: stateOf({ engines: Object.fromEntries(healths.map((health, i) => [String(i), { health }])) }),
      }),
    );
  expect(tipWith('ready', 'ready')).toContain('Kilnhouse: serving');
  expect(tipWith('ready', 'stopped')).toContain('Kilnhouse: partly serving');
  expect(tipWith('stopped')).toContain('Kilnhouse: stopped');
});

describe('the tray menu', () => {
  test('of a machine that serves', () => {
    const state = stateOf({
      models: { ...model('sd', { phase: 'ready', running: 1 }), ...model('chat') },
      queue: { a: {}, b: {} },
      running: { potters: 2, family: 1 },
    });
    expect(trayMenu(statusOf({ state }))).toMatchInlineSnapshot(`
      [
        {
          "kind": "text",
          "label": "VRAM 5.0 of 8.0 GB",
        },
        {
          "kind": "text",
          "label": "3 requests of 2 tenants",
        },
        {
          "kind": "line",
        },
        {
          "action": {
            "do": "open-console",
          },
          "kind": "press",
          "label": "Open the console",
        },
        {
          "items": [
            {
              "action": {
                "do": "load",
                "model": "chat",
              },
              "enabled": true,
              "kind": "press",
              "label": "○ Start chat (4.0 GB)",
            },
            {
              "action": {
                "do": "unload",
                "model": "sd",
              },
              "enabled": true,
              "kind": "press",
              "label": "● Stop sd (4.0 GB)",
            },
          ],
          "kind": "menu",
          "label": "Models",
        },
        {
          "items": [
            {
              "action": {
                "do": "pause",
                "minutes": 60,
              },
              "kind": "press",
              "label": "For an hour",
            },
            {
              "action": {
                "do": "pause",
              },
              "kind": "press",
              "label": "Until I give it back",
            },
            {
              "action": {
                "do": "pause",
                "stop": true,
              },
              "kind": "press",
              "label": "At once, ending what runs",
            },
          ],
          "kind": "menu",
          "label": "Take the GPU back",
        },
        {
          "kind": "line",
        },
        {
          "action": {
            "do": "copy",
            "text": "http://127.0.0.1:3050/v1",
          },
          "kind": "press",
          "label": "Copy the API address",
        },
        {
          "action": {
            "do": "tunnel",
            "on": true,
          },
          "checked": false,
          "kind": "check",
          "label": "Tunnel to the internet",
        },
        {
          "action": {
            "do": "start-with-system",
            "on": true,
          },
          "checked": false,
          "kind": "check",
          "label": "Start with the system",
        },
        {
          "kind": "line",
        },
        {
          "action": {
            "do": "quit",
          },
          "kind": "press",
          "label": "Quit Kilnhouse",
        },
      ]
    `);
  });

  test('of one that was taken back, with the tunnel open', () => {
    const state = stateOf({
      gpu: { mode: 'paused', totalBytes: 0, reservedBytes: 0, othersBytes: 0 },
      tunnel: { state: 'up', address: 'https://kiln.example' },
    });
    const menu = trayMenu(statusOf({ state }));
    expect(actionOf(menu, 'Give the GPU back')).toEqual({ do: 'resume' });
    expect(labels(menu)).not.toContain('Take the GPU back');
    expect(actionOf(menu, 'Copy the API address')).toEqual({ do: 'copy', text: 'https://kiln.example/v1' });
    expect(actionOf(menu, 'Tunnel')).toEqual({ do: 'tunnel', on: false });
  });

  test('the GPU for as long as a program runs that has memory of it', () => {
    const processes = [{ pid: 7, name: 'C:\\Games\\kiln\\game.exe', usedBytes: 3 * 1024 ** 3 }];
    const menu = trayMenu(statusOf({ state: stateOf({ machine: { card: { processes } } }) }));
    expect(actionOf(menu, '^Until game.exe ends \\(3.0 GB\\)$')).toEqual({ do: 'pause', whileProcess: 7 });
    expect(actionOf(menu, 'For an hour')).toEqual({ do: 'pause', minutes: 60 });
  });

  test('a model on its way cannot be pressed', () => {
    const state = stateOf({ models: model('chat', { phase: 'loading' }) });
    const models = trayMenu(statusOf({ state })).find(
      (item) => item.kind === 'menu' && item.label === 'Models',
    );
    expect(models).toMatchObject({ items: [{ enabled: false, label: '● Stop chat (4.0 GB), loading' }] });
  });

  test('trouble is named, and an update offered and refused', () => {
    const menu = trayMenu(
      statusOf({ state: stateOf({ alerts: alert('lm') }), update: { version: '2.0.0', isLoaded: false } }),
    );
    expect(labels(menu)).toContain('⚠ lm is wrong');
    expect(actionOf(menu, 'Get version 2.0.0')).toEqual({ do: 'update', version: '2.0.0' });
    expect(actionOf(menu, 'Not version 2.0.0')).toEqual({ do: 'skip-update', version: '2.0.0' });
  });

  test.each(['starting', 'restarting', 'failed', 'ended'] as const)(
    '%s: it can be left at any time',
    (server) => {
      const menu = trayMenu(statusOf({ server, state: null }));
      expect(actionOf(menu, 'Quit')).toEqual({ do: 'quit' });
      expect(actionOf(menu, 'Start it again')).toEqual(
        server === 'failed' ? { do: 'restart-server' } : undefined,
      );
      expect(trayTip(statusOf({ server, state: null }))).toMatch(/^Kilnhouse: /);
    },
  );
});

test.each([
  ['nothing to do', {}, 'ok'],
  ['somebody waits', { queue: { a: {} } }, 'busy'],
  ['a model works', { models: model('chat', { running: 1 }) }, 'busy'],
  ['a model is loaded', { models: model('chat', { phase: 'loading' }) }, 'busy'],
  ['taken back', { gpu: { mode: 'paused' }, queue: { a: {} } }, 'paused'],
  ['an engine is down', { gpu: { mode: 'paused' }, alerts: alert('lm') }, 'trouble'],
  ['a warning', { alerts: alert('mail', 'warning') }, 'ok'],
])('the icon: %s', (_, more, mood) => expect(moodOf(statusOf({ state: stateOf(more) }))).toBe(mood));

test('the icon of a server that does not run, and sleep, which waits while it serves', () => {
  expect(moodOf(statusOf({ server: 'failed' }))).toBe('trouble');
  expect(moodOf(statusOf({ server: 'restarting' }))).toBe('busy');
  expect(staysAwake(statusOf())).toBe(true);
  expect(staysAwake(statusOf({ state: stateOf({ gpu: { mode: 'paused' } }) }))).toBe(false);
  expect(staysAwake(statusOf({ server: 'restarting' }))).toBe(false);
});
