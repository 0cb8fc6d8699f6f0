import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestAppliance } from './appliance.ts';
import { startBrowser } from './browser.ts';

/*
 * D8, F54 to F57: what a page of somebody else's can do to the operator API from the operator's own browser, in which the
 * console is open: nothing. The page comes from another port of this machine, and under a name that was made to point here.
 */
let appliance: TestAppliance;
let stranger: Server;
let browser: Browser;
let consolePage: Page;
let operatorPort = '';
let strangerUrl = '';
let reboundUrl = '';

beforeAll(async () => {
  appliance = await TestAppliance.start();
  operatorPort = new URL(appliance.operatorUrl).port;
  stranger = createServer((_request, response) =>
    response
      .writeHead(200, { 'content-type': 'text/html' })
      .end('<!doctype html><title>harmless</title><body>'),
  );
  await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve));
  const { port } = stranger.address() as AddressInfo;
  strangerUrl = `http://127.0.0.1:${port}/`;
  reboundUrl = `http://rebound.test:${operatorPort}`;
  browser = await startBrowser(['--host-resolver-rules=MAP rebound.test 127.0.0.1']);
  const context = await browser.newContext();
  consolePage = await context.newPage();
  await consolePage.goto((await appliance.operator('/api/session/links', 'POST')).url);
  await consolePage.getByRole('heading', { level: 1, name: 'Dashboard' }).waitFor();
});
afterAll(async () => {
  await browser.close();
  stranger.close();
  await appliance.stop();
});

/** A page of the stranger in the same browser, with the same sessions. */
async function strangersPage(url = strangerUrl): Promise<Page> {
  const page = await consolePage.context().newPage();
  await page.goto(url);
  return page;
}

const mode = async (): Promise<string> => (await appliance.operator('/api/pause')).mode;

describe('a page of another program on this machine', () => {
  test('reads nothing: its calls are refused, and what is answered is not shown to it', async () => {
    const page = await strangersPage();
    for (const init of [{}, { credentials: 'include' }, { headers: { authorization: 'Bearer guessed' } }]) {
      const read = await page.evaluate(
        `fetch('${appliance.operatorUrl}/api/status', ${JSON.stringify(init)}).then((r) => r.text(), () => 'refused')`,
      );
      expect(read).toBe('refused');
    }
    await page.close();
  });

  test.each([
    [
      'a call that needs no asking first',
      `fetch('URL/api/pause', { method: 'POST', mode: 'no-cors', body: '{}' })`,
    ],
    [
      'a form',
      `(() => { const f = document.createElement('form'); f.method = 'POST'; f.action = 'URL/api/pause'; f.target = '_blank'; document.body.append(f); f.submit(); })()`,
    ],
    ['a beacon', `navigator.sendBeacon('URL/api/pause', '{}')`],
    [
      'a picture',
      `new Promise((done) => { const i = new Image(); i.onload = i.onerror = done; i.src = 'URL/api/pause'; })`,
    ],
  ])('does nothing by %s', async (_, script) => {
    const page = await strangersPage();
    await page.evaluate(script.replaceAll('URL', appliance.operatorUrl)).catch(() => undefined);
    await page.waitForLoadState('networkidle');
    expect(await mode()).toBe('running');
    await page.close();
  });

  test('opens no WebSocket, with a guess or without', async () => {
    const page = await strangersPage();
    for (const protocols of ['[]', `['kilnhouse', 'token.guessed']`]) {
      const opened = await page.evaluate(
        `new Promise((done) => { const s = new WebSocket('ws://127.0.0.1:${operatorPort}/api/live', ${protocols}); s.onopen = () => done('open'); s.onerror = () => done('refused'); })`,
      );
      expect(opened).toBe('refused');
    }
    await page.close();
  });

  test('even with a stolen token it is refused: what comes from another page does not come in', async () => {
    const page = await strangersPage();
    const token = await consolePage.evaluate(`localStorage.getItem('kilnhouse-session')`);
    const opened = await page.evaluate(
      `new Promise((done) => { const s = new WebSocket('ws://127.0.0.1:${operatorPort}/api/live', ['kilnhouse', 'token.${String(token)}']); s.onopen = () => done('open'); s.onerror = () => done('refused'); })`,
    );
    expect(opened).toBe('refused');
    await page.close();
  });

  test('cannot put the console into a frame, nor read its session', async () => {
    const page = await strangersPage();
    await page.evaluate(
      `new Promise((done) => { const f = document.createElement('iframe'); f.onload = done; f.src = '${appliance.operatorUrl}/'; document.body.append(f); })`,
    );
    const frame = page.frames().find((one) => one !== page.mainFrame());
    expect(await frame?.locator('#root').count()).toBe(0);
    expect(await page.evaluate(`localStorage.getItem('kilnhouse-session')`)).toBeNull();
    await page.close();
  });
});

describe('F54: a name that was made to point here', () => {
  test('is told nothing but that it is not ours', async () => {
    const page = await consolePage.context().newPage();
    const response = await page.goto(`${reboundUrl}/`);
    expect(response?.status()).toBe(421);
    // The answer's own policy lets its page ask nobody.
    const ask = `fetch('${reboundUrl}/api/session', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"proof":"guess"}' }).then((r) => r.status)`;
    await expect(page.evaluate(ask)).rejects.toThrow(/Failed to fetch/);
    const opened = await page.evaluate(
      `new Promise((done) => { const s = new WebSocket('ws://rebound.test:${operatorPort}/api/live'); s.onopen = () => done('open'); s.onerror = () => done('refused'); })`,
    );
    expect(opened).toBe('refused');
    await page.close();
  });
});

test('and the console itself works all the while, and loads nothing from elsewhere', async () => {
  const hosts = new Set<string>();
  consolePage.on('request', (request) => hosts.add(new URL(request.url()).host));
  await consolePage.reload();
  await consolePage.getByRole('heading', { level: 1, name: 'Dashboard' }).waitFor();
  await consolePage.waitForLoadState('networkidle');
  expect([...hosts]).toEqual([new URL(appliance.operatorUrl).host]);
});
