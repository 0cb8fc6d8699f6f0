import { generate } from 'selfsigned';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { Agent, request } from 'undici';
import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { lanCertificate } from '../server/tls/lan-certificate.ts';
import { TestAppliance } from './appliance.ts';

/* The tenant API in the house: over TLS, with a certificate that can be told. */
const empty = (): string => mkdtempSync(join(tmpdir(), 'kilnhouse-tls-'));
const none = { certificateFile: null, keyFile: null };

/** The fingerprint of what a port shows. */
function shownBy(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.end();
    });
    socket.on('error', reject);
  });
}

test('with a certificate of our own: who trusts it gets in, who does not is warned, and its fingerprint is shown', async () => {
  const appliance = await TestAppliance.start({ speed: 50, config: { tenant: { https: true } } });
  await appliance.until(async () => (await appliance.operator('/api/status')) !== null);
  const url = new URL(appliance.tenantUrl);
  expect(url.protocol).toBe('https:');
  const { certificate, open } = await appliance.operator('/api/lan');
  expect(open).toBe(false);
  expect(certificate).toMatchObject({ ours: true, fingerprint: await shownBy(Number(url.port)) });
  expect(appliance.output).toContain(certificate.fingerprint);
  await expect(fetch(`${url.origin}/health`)).rejects.toThrow();
  const dispatcher = new Agent({ connect: { ca: certificate.pem } });
  const health = await request(`${url.origin}/health`, { dispatcher });
  expect(health.statusCode).toBe(200);
  expect(health.headers['strict-transport-security']).toMatch(/^max-age=\d+$/);
  const headers = { authorization: `Bearer ${appliance.key}` };
  const socket = new WebSocket(`wss://${url.host}/api/v1/events`, { headers, ca: certificate.pem });
  const first = await new Promise<string>((resolve) =>
    socket.once('message', (data) => resolve((data as Buffer).toString())),
  );
  expect(JSON.parse(first)).toMatchObject({ type: 'jobs' });
  socket.close();
  await expect(fetch(`http://${url.host}/health`)).rejects.toThrow();
  const { folder } = appliance;
  await appliance.stop();
  const again = await TestAppliance.start({ folder, speed: 50 });
  expect((await again.operator('/api/lan')).certificate.fingerprint).toBe(certificate.fingerprint);
  await again.stop();
});

test('with one that the operator gives', async () => {
  const folder = empty();
  const given = await generate([{ name: 'commonName', value: 'kiln.example' }]);
  const [certificateFile, keyFile] = [join(folder, 'c.pem'), join(folder, 'k.pem')];
  writeFileSync(certificateFile, given.cert);
  writeFileSync(keyFile, given.private);
  expect(await lanCertificate({ certificateFile, keyFile }, folder)).toMatchObject({
    isOurs: false,
    cert: given.cert,
  });
  await expect(lanCertificate({ certificateFile: '/nowhere', keyFile }, folder)).rejects.toThrow('/nowhere');
});

test('ours is kept, and made anew when the machine has another address', async () => {
  const folder = empty();
  const first = await lanCertificate(none, folder, ['localhost', '192.168.1.5']);
  expect((await lanCertificate(none, folder, ['localhost', '192.168.1.5'])).fingerprint).toBe(
    first.fingerprint,
  );
  const moved = await lanCertificate(none, folder, ['localhost', '192.168.1.77']);
  expect(moved.fingerprint).not.toBe(first.fingerprint);
});

test('open to the LAN: refused without a key; with one, it says where it is', async () => {
  const config = {
    tenant: { host: '0.0.0.0' },
    demo: 'never',
    lmStudio: { enabled: false },
    webui: { enabled: false },
  };
  const refused = TestAppliance.launch({ config, tenants: {}, env: { KILNHOUSE_DEMO: '0' } });
  await refused.ended();
  expect(refused.output).toContain('refused while there is no key');
  const opened = await TestAppliance.start({
    config,
    tenants: { 'kh_a-key-for-the-house': { name: 'a', plan: 'pro' } },
    env: { KILNHOUSE_DEMO: '0' },
  });
  const { open, addresses, certificate } = await opened.operator('/api/lan');
  expect([open, certificate]).toEqual([true, null]);
  for (const address of addresses) expect((await fetch(`${address}/health`)).status).toBe(200);
  await opened.stop();
});
