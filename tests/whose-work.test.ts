import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { type Answer, type Person, TestAppliance } from './appliance.ts';
import { picture } from './picture-files.ts';

/* S15, S16: who sees and changes whose jobs, uploads and results within one company, and what outlives a key. */
let appliance: TestAppliance;
let admin: Person;
let member: Person;
let other: Person;
let companyKey = '';
/** The administrator's own. */
let job: Answer['data'];
let upload: Answer['data'];
let batch: Answer['data'];

const wish = { prompt: 'a kiln', size: '64x64', steps: 1 };
const call = (method: string, path: string, as: string, body?: object): Promise<Answer> =>
  appliance.call(method, path, { as, body });
const ask = async (as: string, more: object = {}) =>
  (
    await appliance.call('POST', '/api/v1/jobs/image-generation', {
      as,
      body: { ...wish, ...more },
      headers: { prefer: 'wait=30' },
    })
  ).data;
const credits = async () => (await call('GET', '/api/v1/credits/balance', admin.token)).data;

beforeAll(async () => {
  appliance = await TestAppliance.start({ speed: 50 });
  await appliance.ready();
  admin = await appliance.register('admin@example.test', { plan: 'enterprise', credits: 1_000 });
  member = await appliance.register('member@example.test', { tenant: admin.company });
  other = await appliance.register('other@example.test', { tenant: admin.company });
  companyKey = (await appliance.operator(`/api/tenants/${admin.company}/keys`, 'POST', { name: 'backend' }))
    .key;
  upload = (await appliance.upload(admin.token, [{ name: 'a.png', bytes: await picture() }])).data;
  job = await ask(admin.token);
  const items = [{ feature: 'image-generation', input: wish }];
  batch = (await call('POST', '/api/v1/jobs/batch', admin.token, { items })).data;
});
afterAll(() => appliance.stop());

/** Every way to a job, an upload or a batch of somebody's, that does not end it. */
const looks = (): [string, string][] => [
  ['GET', `/api/v1/jobs/${job.id}`],
  ['GET', `/api/v1/jobs/${job.id}/status`],
  ['GET', `/api/v1/inference/${job.id}`],
  ['GET', `/api/v1/jobs/${job.id}/download`],
  ['GET', `/api/v1/download/${job.id}/files`],
  ['GET', `/api/v1/jobs/batch/${batch.id}`],
  ['GET', `/api/v1/uploads/${upload.id}`],
];
const changes = (): [string, string][] => [
  ['POST', `/api/v1/jobs/${job.id}/cancel`],
  ['POST', `/api/v1/jobs/batch/${batch.id}/cancel`],
  ['DELETE', `/api/v1/jobs/${job.id}`],
  ['DELETE', `/api/v1/uploads/${upload.id}`],
];
const listed = async (as: string): Promise<boolean[]> => {
  const [jobs, uploads] = await Promise.all([
    call('GET', '/api/v1/jobs', as),
    call('GET', '/api/v1/uploads', as),
  ]);
  const has = (answer: Answer, id: string): boolean =>
    answer.data.items.some((one: { id: string }) => one.id === id);
  return [has(jobs, job.id), has(uploads, upload.id)];
};

describe('S16: the administrator’s work', () => {
  beforeEach(() => call('PATCH', '/api/v1/company', admin.token, { sharesWork: false }));

  test.each([
    ['a member who signed in', () => member.token],
    ['a member’s key', () => member.key],
  ])('is not there for %s', async (_, as) => {
    for (const [method, path] of [...looks(), ...changes()])
      expect([path, (await call(method, path, as())).status]).toEqual([path, 404]);
    expect(await listed(as())).toEqual([false, false]);
    const taken = await call('POST', '/api/v1/jobs/image-generation', as(), { ...wish, image: upload.id });
    expect([taken.status, taken.json.errors[0].param]).toEqual([400, 'image']);
    expect((await call('GET', `/api/v1/jobs/${job.id}/events`, as())).status).toBe(404);
  });

  test.each([
    ['the administrator', () => admin.token],
    ['a key that the administrator made', () => admin.key],
    ['a key of the company', () => companyKey],
  ])('is there for %s', async (_, as) => {
    for (const [method, path] of looks())
      expect([path, (await call(method, path, as())).status]).toEqual([path, 200]);
    expect(await listed(as())).toEqual([true, true]);
  });

  test('a key of the administrator has not the administrator’s eyes; a session has', async () => {
    const { id } = await ask(member.key);
    expect((await call('GET', `/api/v1/jobs/${id}`, admin.key)).status).toBe(404);
    for (const as of [member.token, admin.token, companyKey])
      expect((await call('GET', `/api/v1/jobs/${id}`, as)).status).toBe(200);
  });

  test('is everybody’s where the company shares its work', async () => {
    const { data } = await call('PATCH', '/api/v1/company', admin.token, { sharesWork: true });
    expect(data.sharesWork).toBe(true);
    for (const as of [member.token, member.key]) {
      for (const [method, path] of looks())
        expect([path, (await call(method, path, as)).status]).toEqual([path, 200]);
      expect(await listed(as)).toEqual([true, true]);
    }
  });

  test('is not told of over a member’s WebSocket, the member’s own is', async () => {
    const heard: string[] = [];
    const socket = new WebSocket(`${appliance.tenantUrl.replace('http', 'ws')}/api/v1/events`, {
      headers: { authorization: `Bearer ${member.token}` },
    });
    socket.on('message', (text: Buffer) => heard.push(text.toString()));
    await appliance.until(() => heard.length > 0);
    const hidden = await ask(admin.token);
    const own = await ask(member.token);
    await appliance.until(() => heard.some((text) => text.includes(own.id)));
    socket.close();
    expect(heard.join()).not.toContain(hidden.id);
    expect(heard.join()).not.toContain(job.id);
  });
});

describe('S15: who asked for jobs loses the right to', () => {
  /** Three jobs that wait, of a key made for it. */
  async function three(): Promise<{ key: { id: string; key: string }; ids: string[] }> {
    await appliance.operator('/api/pause', 'POST', { unload: false });
    const key = (await call('POST', '/api/v1/api-keys', other.token, { name: 'short-lived' })).data;
    const ids: string[] = [];
    for (let count = 0; count < 3; count += 1)
      ids.push((await call('POST', '/api/v1/jobs/image-generation', key.key, wish)).data.id);
    return { key, ids };
  }
  const states = async (ids: readonly string[]) =>
    (await Promise.all(ids.map((id) => call('GET', `/api/v1/jobs/${id}`, admin.token)))).map(({ data }) => [
      data.state,
      data.error?.code ?? null,
      data.credits.charged,
    ]);

  test('by revoking a key: the jobs end, uncharged', async () => {
    const before = await credits();
    const { key, ids } = await three();
    await call('DELETE', `/api/v1/api-keys/${key.id}`, other.token);
    await appliance.until(async () => (await states(ids)).every(([state]) => state === 'canceled'));
    expect(new Set((await states(ids)).map(String))).toEqual(new Set(['canceled,access_revoked,0']));
    await appliance.operator('/api/resume', 'POST');
    expect(await credits()).toEqual(before);
  });

  test('by revoking a key with keepJobs: they go on, and are charged', async () => {
    const before = await credits();
    const { key, ids } = await three();
    await call('DELETE', `/api/v1/api-keys/${key.id}?keepJobs=true`, other.token);
    await appliance.operator('/api/resume', 'POST');
    await appliance.until(async () => (await states(ids)).every(([state]) => state === 'succeeded'));
    expect((await credits()).posted).toBe(before.posted - 6);
  });

  test('by the operator’s hand, and by disabling the person, with and without keepJobs', async () => {
    const revoked = await three();
    await appliance.operator(`/api/keys/${revoked.key.id}`, 'DELETE');
    await appliance.until(async () => (await states(revoked.ids)).every(([state]) => state === 'canceled'));
    const kept = await three();
    const path = `/api/v1/company/users/${other.id}`;
    await call('PATCH', path, admin.token, { disabled: true, keepJobs: true });
    await call('PATCH', path, admin.token, { disabled: false });
    await appliance.operator('/api/resume', 'POST');
    await appliance.until(async () => (await states(kept.ids)).every(([state]) => state === 'succeeded'));
    other = { ...other, token: (await signIn()).data.token };
    const ended = await three();
    await call('PATCH', path, admin.token, { disabled: true });
    await appliance.until(async () => (await states(ended.ids)).every(([state]) => state === 'canceled'));
    await appliance.operator('/api/resume', 'POST');
    expect((await credits()).held).toBe(0);
  });

  const signIn = (): Promise<Answer> =>
    appliance.call('POST', '/api/v1/auth/login', {
      body: { email: other.email, password: `password of ${other.email}` },
    });
});
