import { mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AxeBuilder } from '@axe-core/playwright';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { TestAppliance } from './appliance.ts';
import { tinyGguf } from '../scripts/make-tiny-gguf.ts';
import { startBrowser } from './browser.ts';
import { makeCloudflared } from './tunnel-program.ts';

/*
 * The console as its operator walks through it, in a real browser, against the real server. SCREENSHOTS=1 keeps pictures
 * of every page in docs/screenshots.
 */
const screenshots = fileURLToPath(new URL('../docs/screenshots', import.meta.url));
const keepsScreenshots = process.env['SCREENSHOTS'] === '1';
const { cloudflared, control } = makeCloudflared();
let appliance: TestAppliance;
let browser: Browser;
let context: BrowserContext;
let page: Page;
/** What pages complained of to the browser. */
let complaints: string[] = [];

beforeAll(async () => {
  browser = await startBrowser();
  appliance = await TestAppliance.start({
    speed: 20,
    config: { tunnel: { cloudflared } },
    env: { KILNHOUSE_RESTARTS: '1', STANDIN_TUNNEL_CONTROL: control },
  });
  await appliance.ready();
});
afterAll(async () => {
  await browser.close();
  await appliance.stop();
});
beforeEach(async () => {
  context = await newContext();
  page = await newPage(context);
});
afterEach(async () => {
  appliance.faults('');
  await context.close();
});

async function newContext(options: object = {}): Promise<BrowserContext> {
  const made = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    colorScheme: 'dark',
    ...options,
  });
  made.setDefaultTimeout(15_000);
  return made;
}

async function newPage(of: BrowserContext): Promise<Page> {
  const made = await of.newPage();
  complaints = [];
  made.on('pageerror', (error) => complaints.push(String(error)));
  made.on('console', (message) => {
    // What is refused on purpose is told by the browser as well.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
      complaints.push(message.text());
  });
  return made;
}

async function link(): Promise<string> {
  return (await appliance.operator('/api/session/links', 'POST')).url;
}

/** Opens the console by a fresh link, at a page. */
async function enter(path = '/', on = page): Promise<void> {
  await on.goto(await link());
  await on.getByRole('heading', { level: 1, name: 'Dashboard' }).waitFor();
  if (path !== '/') await show(path, on);
}

async function show(path: string, on = page): Promise<void> {
  await on.evaluate(`window.location.hash = ${JSON.stringify(`#${path}`)}`);
  await on.waitForLoadState('networkidle');
}

const heading = (name: string | RegExp) => page.getByRole('heading', { level: 1, name }).waitFor();
const button = (name: string | RegExp, on: Page | ReturnType<Page['locator']> = page) =>
  on.getByRole('button', { name, exact: typeof name === 'string' });

/** Nothing serious is found in what is shown. */
async function expectAccessible(on = page): Promise<void> {
  // Colors are judged once nothing fades in any more.
  const isFading = `document.getAnimations().some((one) => one.effect.getComputedTiming().iterations !== Infinity)`;
  await expect.poll(() => on.evaluate(isFading)).toBe(false);
  const { violations } = await new AxeBuilder({ page: on }).analyze();
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  expect(
    serious.map(
      ({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html.slice(0, 200)).join(' | ')}`,
    ),
  ).toEqual([]);
}

/** Work for the queue to show: chats that wait for each other. The stand-ins are twenty times as fast as life. */
function keepBusy(count: number): Promise<unknown> {
  const body = { model: 'demo-chat-8b', stream: true, messages: [{ role: 'user', content: 'hello' }] };
  return Promise.allSettled(
    Array.from({ length: count }, async () => (await appliance.post('/v1/chat/completions', body)).text()),
  );
}

describe('the door', () => {
  test('D8: a link opens it once, and the session outlives the page', async () => {
    const once = await link();
    await page.goto(once);
    await heading('Dashboard');
    expect(page.url()).not.toContain(once.split('/').at(-1));
    await page.reload();
    await heading('Dashboard');
    const other = await newContext();
    const second = await newPage(other);
    await second.goto(once);
    await second.getByRole('alert').getByText('A link works once').waitFor();
    await other.close();
    expect(complaints).toEqual([]);
  });

  test('the token opens it, a wrong one does not; leaving shuts it', async () => {
    await page.goto(appliance.operatorUrl);
    await page.getByLabel('Operator token').fill('wrong');
    await button('Open the console').click();
    await page.getByRole('alert').waitFor();
    await expectAccessible();
    await page.getByLabel('Operator token').fill(appliance.token);
    await page.keyboard.press('Enter');
    await heading('Dashboard');
    await show('/about');
    await button('Leave the console').click();
    await page.getByLabel('Operator token').waitFor();
    expect(await page.evaluate(`localStorage.getItem('kilnhouse-session')`)).toBeNull();
  });

  test('the page says what it may do, and does nothing else', async () => {
    const response = await page.goto(appliance.operatorUrl);
    const policy = response?.headers()['content-security-policy'] ?? '';
    for (const part of [
      "default-src 'none'",
      "script-src 'self'",
      "connect-src 'self'",
      "frame-ancestors 'none'",
    ])
      expect(policy).toContain(part);
    expect(policy).not.toContain('unsafe-eval');
    expect(policy.replace("style-src 'self' 'unsafe-inline'", '')).not.toContain('unsafe-inline');
  });
});

const pages = [
  ['/', 'Dashboard'],
  ['/engines', 'Engines'],
  ['/models', 'Models'],
  ['/tenants', 'Tenants and keys'],
  ['/jobs', 'Jobs'],
  ['/usage', 'Usage'],
  ['/offers', 'Plans and prices'],
  ['/ledger', 'Ledger'],
  ['/network', 'LAN and tunnel'],
  ['/backups', 'Backups'],
  ['/settings', 'Settings'],
  ['/webhooks', 'Webhooks'],
  ['/outbox', 'Outbox'],
  ['/audit', 'Audit'],
  ['/about', 'About'],
  ['/setup', 'First run'],
] as const;

describe.each(['dark', 'light'] as const)('every page, %s', (colorScheme) => {
  test('can be read by everybody, and breaks nothing', async () => {
    const own = await newContext({ colorScheme, reducedMotion: 'reduce' });
    const on = await newPage(own);
    appliance.faults('latency=12000');
    const work = keepBusy(28);
    await enter('/', on);
    await on.getByRole('region', { name: 'Queue' }).getByText('demo-chat-8b').first().waitFor();
    for (const [path, title] of pages) {
      await show(path, on);
      await on.getByRole('heading', { level: 1, name: title }).waitFor();
      await expectAccessible(on);
      if (!keepsScreenshots) continue;
      mkdirSync(screenshots, { recursive: true });
      const name = path === '/' ? 'dashboard' : path.slice(1);
      const file = join(screenshots, `${name}-${colorScheme}.png`);
      await sharp(await on.screenshot())
        .png({ palette: true, effort: 10 })
        .toFile(file);
    }
    appliance.faults('');
    await work;
    await own.close();
    expect(complaints).toEqual([]);
  });
});

describe.each([
  ['1024 px', 1024, 768],
  ['a phone', 390, 844],
])('on %s', (_, width, height) => {
  test('nothing is cut off sideways, and the menu is at hand', async () => {
    const own = await newContext({ viewport: { width, height } });
    const on = await newPage(own);
    await enter('/', on);
    for (const [path] of pages) {
      await show(path, on);
      const overflow = await on.evaluate('document.documentElement.scrollWidth - window.innerWidth');
      expect(overflow, path).toBeLessThanOrEqual(0);
    }
    if (width < 600) await button('Open the menu', on).click();
    await on.getByRole('link', { name: 'Engines' }).click();
    await on.getByRole('heading', { level: 1, name: 'Engines' }).waitFor();
    await own.close();
  });
});

describe('the dashboard', () => {
  test('the card, and who waits for what and why', async () => {
    await enter();
    await page.getByRole('img', { name: /^Video memory\. / }).waitFor();
    appliance.faults('latency=12000');
    const work = keepBusy(28);
    const queue = page.getByRole('region', { name: 'Queue' });
    await queue.getByText('demo-chat-8b').first().waitFor();
    await queue
      .getByRole('button', { name: /^Why is number 1,/ })
      .first()
      .click();
    const why = page.getByRole('dialog');
    await why.getByText(/^It probably starts at|^It waits no longer/).waitFor();
    await why.getByRole('heading', { name: 'What was decided meanwhile' }).waitFor();
    await expectAccessible();
    await page.keyboard.press('Escape');
    appliance.faults('');
    await work;
    await queue.getByText('Nobody waits').waitFor();
    await page
      .getByRole('region', { name: 'Swaps' })
      .getByText(/^\d+ loads? in \d+ minutes/)
      .waitFor();
    expect(complaints).toEqual([]);
  });

  test('the GPU is taken back with one press, and given again with another', async () => {
    await enter();
    await button('Pause').click();
    await page.getByRole('menuitem', { name: 'Until I resume' }).click();
    await page.getByRole('status').getByText('Paused').first().waitFor();
    expect((await appliance.operator('/api/pause')).mode).toBe('paused');
    await button(/^Resume/).click();
    await page.getByRole('status').getByText('Serving').first().waitFor();
    await button('Pause').click();
    await page.getByRole('menuitem', { name: 'For an hour' }).click();
    await button(/^Resume \(paused until/).click();
    await page.getByRole('status').getByText('Serving').first().waitFor();
  });

  test('with the keyboard alone: past the menu, through the pages, to the switch', async () => {
    await enter();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    expect(await page.evaluate('document.activeElement.id')).toBe('main');
    await page.getByRole('link', { name: 'Models' }).focus();
    await page.keyboard.press('Enter');
    await heading('Models');
    await button('Pause').focus();
    await page.keyboard.press('Enter');
    await page.getByRole('menuitem').first().waitFor();
    await page.keyboard.press('Escape');
  });
});

const isPinned = ({ path }: { path: string }): boolean => path === 'scheduler.pinned';

test('models: loaded, pinned, made the default, tried, unloaded', async () => {
  await enter('/models');
  await button('Load demo-chat-3b').click();
  await button('Unload demo-chat-3b').waitFor();
  const more = async (item: string): Promise<void> => {
    await button('More for demo-chat-3b').click();
    await page.getByRole('menuitem', { name: item }).click();
  };
  const row = page.getByRole('row').filter({ hasText: 'demo-chat-3b' }).first();
  // What a pin refuses is said before, and shown after.
  await more('Never unload it for others');
  const question = page.getByRole('dialog', { name: 'Pin demo-chat-3b?' });
  await question.getByText('demo-chat-8b').waitFor();
  await expectAccessible();
  await button('Cancel', question).click();
  await question.waitFor({ state: 'detached' });
  expect((await appliance.operator('/api/settings')).find(isPinned)).toMatchObject({ value: [] });
  await more('Never unload it for others');
  await button('Pin demo-chat-3b', question).click();
  await row.getByLabel('pinned').waitFor();
  const blocked = page.getByRole('row').filter({ hasText: 'demo-chat-8b' }).first();
  await blocked.getByText('blocked by pin').waitFor();
  expect((await appliance.post('/generate-text', { prompt: 'hi', model: 'demo-chat-8b' })).status).toBe(400);
  const { minutes, refusals } = await appliance.operator('/api/traffic');
  expect(minutes.at(-1).refused + minutes.at(-2).refused).toBeGreaterThan(0);
  expect(refusals).toContainEqual({ code: 'model_infeasible', count: expect.any(Number) });
  await more('Let it be unloaded for others');
  await blocked.getByText('blocked by pin').waitFor({ state: 'detached' });
  await more('Take it where none is named');
  await row.getByLabel('default').waitFor();
  expect(
    (await appliance.operator('/api/settings')).find(
      (one: { path: string }) => one.path === 'scheduler.defaultText',
    ),
  ).toMatchObject({
    value: 'demo-chat-3b',
    pending: false,
  });
  const plain = { prompt: 'hello' };
  expect(await (await appliance.post('/generate-text', plain)).json()).toMatchObject({
    model: 'demo-chat-3b',
  });
  await more('Try it');
  await button('Ask it to say hello').click();
  await page
    .getByRole('dialog')
    .getByText(/By demo-chat-3b, in/)
    .waitFor();
  await page.keyboard.press('Escape');
  await button('Unload demo-chat-3b').click();
  await button('Load demo-chat-3b').waitFor();
  await appliance.operator('/api/settings', 'PATCH', { reset: ['scheduler.defaultText'] });
});

test('engines: stopped after a question, started again; their log is searched', async () => {
  await enter('/engines');
  const card = page.getByRole('region', { name: 'AUTOMATIC1111 (demo stand-in)' });
  await button('Stop', card).click();
  await button('Stop AUTOMATIC1111 (demo stand-in)').click();
  await card.getByText('stopped').waitFor();
  await button('Start', card).click();
  await card.getByText('ready').waitFor();
  await button('Log', card).click();
  await page.getByLabel('Search').fill('no such line anywhere');
  await page.getByText('No line has that in it').waitFor();
});

test('a tenant: made, given a key that works and is shown once, credits, suspended', async () => {
  await enter('/tenants');
  await button('New tenant').click();
  await page.getByLabel('Name').fill('The potters');
  await button('Make it').click();
  await heading('The potters');
  await button('New key').click();
  await page.getByLabel('Name').fill('the studio');
  await button('Make it').click();
  const key = await page.getByTestId('key').textContent();
  await page.getByRole('img', { name: 'The key as a QR code' }).waitFor();
  await expectAccessible();
  expect((await appliance.get('/v1/models', key ?? '')).status).toBe(200);
  await button('I have kept it').click();
  await page.getByTestId('key').waitFor({ state: 'detached' });
  expect(await page.content()).not.toContain(key);
  const credits = page.getByRole('region', { name: 'Credits' });
  await credits.getByLabel('Grant, or take back with a minus').fill('250');
  await credits.getByLabel('Reason, for the audit log').fill('a present');
  await button('Grant', credits).click();
  await credits.getByText('250').first().waitFor();
  await page.getByRole('tab', { name: 'Transactions' }).click();
  await page.getByRole('table', { name: 'Transactions' }).getByText('a present').waitFor();
  await page.getByLabel('Suspended: every request is refused').click();
  await page.getByRole('region', { name: 'Terms' }).getByText('suspended', { exact: true }).waitFor();
  expect((await appliance.get('/v1/models', key ?? '')).status).toBe(403);
  await page.getByLabel('Suspended: every request is refused').click();
  await page.getByRole('region', { name: 'Terms' }).getByText('active').waitFor();
  await page.getByRole('tab', { name: 'Keys' }).click();
  await button('Revoke the studio').click();
  await button('Revoke it').click();
  await page.getByRole('table', { name: 'Keys' }).getByText('revoked').waitFor();
  expect((await appliance.get('/v1/models', key ?? '')).status).toBe(401);
  await page.getByRole('tab', { name: 'Export and end' }).click();
  await button('Delete the tenant').first().click();
  const sure = page.getByRole('dialog');
  expect(await button('Delete the tenant', sure).isDisabled()).toBe(true);
  await sure.getByLabel('Type "The potters" to go on').fill('The potters');
  await button('Delete the tenant', sure).click();
  await heading('Tenants and keys');
  expect(complaints).toEqual([]);
});

test('a job: opened, with its results and what happened', async () => {
  const { data } = (await (
    await appliance.post('/api/v1/jobs/image-generation', { prompt: 'a kiln', size: '64x64', steps: 2 })
  ).json()) as { data: { id: string } };
  await enter('/jobs');
  await button(`image-generation ${data.id}`).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('picture-1.png').waitFor();
  await dialog.getByText(/on demo-.*: succeeded/).waitFor();
  await expectAccessible();
});

test('settings: at once or after a restart, refused with what is wrong, back to the default', async () => {
  await enter('/settings');
  await page.getByLabel('Search').fill('reserve');
  await page.getByLabel(/^Reserve \(MiB\)/).fill('512');
  await button('Save').click();
  await page.getByText('Saved.').first().waitFor();
  const one = async (path: string) =>
    (await appliance.operator('/api/settings')).find((setting: { path: string }) => setting.path === path);
  expect(await one('gpu.reserveMib')).toMatchObject({ value: 512, pending: false });
  await button('Default for gpu.reserveMib').click();
  await expect.poll(async () => (await one('gpu.reserveMib')).value).toBe(256);
  await page.getByLabel('Search').fill('backup.folder');
  await page.getByLabel(/^Folder/).fill('/somewhere/else');
  await button('Save').click();
  await page.getByText('Some changes wait for a restart').waitFor();
  await button('Default for backup.folder').click();
  await page.getByText('Some changes wait for a restart').waitFor({ state: 'detached' });
  await page.getByLabel('Search').fill('publicUrl');
  await page.getByLabel('Search').fill('tunnel.address');
  await page.getByLabel(/^Address/).fill('not an address');
  await button('Save').click();
  await page.getByRole('alert').filter({ hasText: 'tunnel.address' }).first().waitFor();
  await button('Undo').click();
});

test('backups: made, checked; the log of who did what', async () => {
  await enter('/backups');
  await button('Back up now').click();
  await page.getByText(/^It is there and was read back/).waitFor();
  await button(/^Check the backup of/)
    .first()
    .click();
  await page.getByText('It is good: every file, every page, every credit.').waitFor();
  await show('/audit');
  await page.getByRole('table', { name: 'Audit log' }).getByText('backup.make').first().waitFor();
});

test('a model file: fetched, with its progress; one that is no file is refused with why', async () => {
  const host = createServer((_, response) => response.end(tinyGguf()));
  await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve));
  const { port } = host.address() as AddressInfo;
  await enter('/models');
  await button('Download a model').click();
  await page.getByLabel('Address of the file').fill('http://example.test/model.gguf');
  await button('Download').click();
  await page.getByText(/^Give the https:\/\/ address/).waitFor();
  await page.getByLabel('Address of the file').fill(`http://127.0.0.1:${port}/tiny.gguf`);
  await button('Download').click();
  const downloads = page.getByRole('region', { name: 'Downloads' });
  await downloads.getByText('tiny.gguf').waitFor();
  await downloads.getByText('done').waitFor();
  host.close();
});

test('plans: edited, refused with what is wrong, in force', async () => {
  await enter('/offers');
  await page.getByRole('table', { name: 'Plans' }).waitFor();
  const before = await appliance.operator('/api/plans');
  const edit = async (plans: object): Promise<void> => {
    await page.getByRole('textbox', { name: 'Plans' }).fill(JSON.stringify(plans));
    await button('Save').click();
  };
  await button('Edit').click();
  await edit({ ...before, free: { ...before.free, concurrent: 0 } });
  await page.getByRole('dialog').getByRole('alert').filter({ hasText: 'free.concurrent' }).waitFor();
  expect(await appliance.operator('/api/plans')).toEqual(before);
  await edit({ ...before, free: { ...before.free, concurrent: 3 } });
  await page.getByText('The plans are changed.').waitFor();
  expect((await appliance.operator('/api/plans')).free.concurrent).toBe(3);
});

test('tenants: the first of 130 is in the list, in its search and in the filter of usage', async () => {
  for (let number = 1; number <= 130; number += 1)
    await appliance.operator('/api/tenants', 'POST', { name: `Studio ${String(number).padStart(3, '0')}` });
  await enter('/tenants');
  const table = page.getByRole('table', { name: 'Tenants' });
  await table.getByText('Studio 130', { exact: true }).waitFor();
  await page.getByLabel('Search by name').fill('studio 001');
  await table.getByText('Studio 001', { exact: true }).waitFor();
  await page.getByLabel('Search by name').fill('nobody');
  await page.getByText('No tenant is called "nobody"').waitFor();
  await page.getByLabel('Search by name').fill('');
  await expect
    .poll(
      async () => {
        await table.hover();
        await page.mouse.wheel(0, 10_000);
        return table.getByText('Studio 001', { exact: true }).isVisible();
      },
      { timeout: 15_000 },
    )
    .toBe(true);
  await show('/usage');
  await page.getByRole('combobox', { name: 'Tenant' }).fill('Studio 002');
  const { items } = await appliance.operator('/api/tenants?search=studio 002');
  const filtered = page.waitForResponse((response) => response.url().endsWith(`tenant=${items[0].id}`));
  await page.getByRole('option', { name: 'Studio 002', exact: true }).click();
  expect((await filtered).status()).toBe(200);
});

test('the tunnel: opened, its address to copy and to photograph, shut', async () => {
  await enter('/network');
  const card = page.getByRole('region', { name: 'Tunnel' });
  await button('Open the tunnel', card).click();
  const address = 'https://seven-brave-kilns.trycloudflare.com';
  await card.getByRole('img', { name: `${address} as a QR code` }).waitFor();
  await expectAccessible();
  await button('Log', card).click();
  await page.getByRole('log').waitFor();
  await page.keyboard.press('Escape');
  await button('Shut the tunnel', card).click();
  await button('Open the tunnel', card).waitFor();
});

test('the first run: from the machine to a tenant, a real text and a real picture', async () => {
  await enter();
  await page.getByRole('link', { name: 'Begin' }).click();
  await heading('First run');
  await page.getByText('Demo RTX 3050 (stand-in) with 8.0 GB').waitFor();
  await page.getByText('Stand-ins answer for now').waitFor();
  await button('Next').click();
  await page.getByLabel('Keep free beside what others use (MiB)').waitFor();
  await expectAccessible();
  await button('Next').click();
  await page.getByLabel('Who is to use this machine?').fill('The family');
  await button('Make the tenant and its first key').click();
  const key = await page.getByTestId('key').textContent();
  expect((await appliance.get('/v1/models', key ?? '')).status).toBe(200);
  await expectAccessible();
  await button('Next').click();
  await button('Ask it to say hello').click();
  await page.getByText(/^This is a demo stand-in/).waitFor();
  await button('Have it paint a kiln at night').click();
  await page.getByRole('img', { name: 'A kiln at night, as the model painted it' }).waitFor();
  await expectAccessible();
  await button('Next').click();
  await page.getByRole('heading', { name: 'Cloudflare Tunnel' }).waitFor();
  await button('Done').click();
  await heading('Dashboard');
  await page.getByText('Set this machine up').waitFor({ state: 'detached' });
  await page.reload();
  await heading('Dashboard');
  await page.waitForLoadState('networkidle');
  expect(await page.getByText('Set this machine up').count()).toBe(0);
  expect(complaints).toEqual([]);
});

test('the LAN: let in after a restart that is asked for here, with addresses to photograph', async () => {
  await enter('/network');
  const port = new URL(appliance.operatorUrl).port;
  await page.getByLabel('Let other machines on the LAN in').click();
  const waits = page.getByRole('alert').filter({ hasText: 'This waits for a restart' });
  await button('Restart', waits).click();
  await button('Restart', page.getByRole('dialog')).click();
  await appliance.ended();
  expect(appliance.process.exitCode).toBe(75);
  const { folder } = appliance;
  appliance = await TestAppliance.start({ folder, speed: 20, env: { KILNHOUSE_OPERATOR_PORT: port } });
  const card = page.getByRole('region', { name: 'LAN' });
  await card
    .getByRole('img', { name: /^http:\/\/.* as a QR code$/ })
    .first()
    .waitFor();
  expect((await appliance.operator('/api/lan')).open).toBe(true);
  await appliance.operator('/api/settings', 'PATCH', { reset: ['tenant.host'] });
});

test('when the appliance is gone that is said, and when it is back so is the page', async () => {
  await enter();
  const port = new URL(appliance.operatorUrl).port;
  await appliance.kill();
  await page.getByRole('alert').getByText('The appliance does not answer').waitFor();
  await expectAccessible();
  appliance = await TestAppliance.start({
    folder: appliance.folder,
    speed: 20,
    env: { KILNHOUSE_OPERATOR_PORT: port },
  });
  await page.getByText('The appliance does not answer').waitFor({ state: 'detached', timeout: 20_000 });
  // Its engines may still be on their way.
  await page
    .getByRole('status')
    .getByText(/^(Serving|Trouble)$/)
    .first()
    .waitFor();
});
