import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestAppliance } from './appliance.ts';
import { startBrowser } from './browser.ts';

/* What every answer says to a browser. */
let appliance: TestAppliance;
beforeAll(async () => {
  appliance = await TestAppliance.start();
  await appliance.ready();
});
afterAll(() => appliance.stop());

const chat = { model: 'demo-chat-8b', messages: [{ role: 'user', content: 'hello' }] };
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

test('security headers are on every answer of both listeners, and none speaks of TLS where there is none', async () => {
  const { tenantUrl, operatorUrl, key, token } = appliance;
  const answers = await Promise.all([
    fetch(`${tenantUrl}/health`),
    fetch(`${tenantUrl}/nothing`),
    fetch(`${tenantUrl}/v1/models`),
    fetch(`${tenantUrl}/v1/models`, { headers: bearer(key) }),
    fetch(`${tenantUrl}/docs`),
    fetch(`${tenantUrl}/payments/done`),
    appliance.post('/v1/chat/completions', chat),
    appliance.post('/v1/chat/completions', { ...chat, stream: true }),
    fetch(`${operatorUrl}/`),
    fetch(`${operatorUrl}/api/engines`),
    fetch(`${operatorUrl}/api/engines`, { headers: bearer(token) }),
    fetch(`${operatorUrl}/metrics`, { headers: bearer(token) }),
  ]);
  for (const { url, headers } of answers) {
    expect([url, headers.get('x-content-type-options')]).toEqual([url, 'nosniff']);
    expect([url, headers.get('referrer-policy')]).toEqual([url, 'no-referrer']);
    expect([url, headers.get('x-frame-options')]).toEqual([url, 'DENY']);
    expect(headers.get('content-security-policy'), url).toMatch(/default-src 'none'/);
    expect(headers.get('content-security-policy'), url).not.toMatch(/upgrade-insecure-requests/);
    expect(headers.get('strict-transport-security'), url).toBeNull();
    expect(headers.get('x-request-id'), url).toMatch(/^[\w-]{36}$/);
  }
});

test('/docs is drawn from another machine over plain http, within its policy', async () => {
  // A name that no browser takes for this machine.
  const browser = await startBrowser(['--host-resolver-rules=MAP kiln.test 127.0.0.1']);
  try {
    const page = await browser.newPage();
    const problems: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'error') problems.push(message.text());
    });
    page.on('requestfailed', (failed) => problems.push(failed.url()));
    await page.goto(`http://kiln.test:${new URL(appliance.tenantUrl).port}/docs`);
    await page.getByText('/v1/chat/completions').first().waitFor();
    expect(problems).toEqual([]);
  } finally {
    await browser.close();
  }
});
