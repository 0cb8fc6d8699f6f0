import { afterEach, expect, test } from 'vitest';
import { TestAppliance } from './appliance.ts';

/* An engine that the operator stopped, as tenants and the operator see it. */
let appliance: TestAppliance;
afterEach(() => appliance?.stop());

const chat = { model: 'demo-chat-3b', messages: [{ role: 'user', content: 'hello' }] };
const drawn = { prompt: 'x', width: 64, height: 64, steps: 1 };

async function engine(id: string): Promise<{ health: string; ownership: string; failure: string | null }> {
  return (await appliance.operator('/api/engines')).find((one: { id: string }) => one.id === id);
}
const stop = (id: string) => appliance.operator(`/api/engines/${id}/stop`, 'POST');
const start = (id: string) => appliance.operator(`/api/engines/${id}/start`, 'POST');

test('bug 8, D5, D17: a tenant’s request does not start it; the request waits, is explained, and is served after the start', async () => {
  appliance = await TestAppliance.start({ speed: 40 });
  await appliance.ready();
  expect((await appliance.post('/v1/chat/completions', chat)).status).toBe(200);
  await stop('lm-studio');
  expect(await engine('lm-studio')).toMatchObject({ health: 'stopped', ownership: 'ours', failure: null });
  expect(await (await fetch(`${appliance.tenantUrl}/ready`)).json()).toMatchObject({
    text: false,
    image: true,
  });
  const asked = appliance.post('/v1/chat/completions', chat);
  await appliance.until(async () => (await appliance.operator('/api/queue')).length === 1);
  expect((await appliance.operator('/api/queue'))[0]).toMatchObject({
    reason: 'engine_stopped',
    explanation: 'The operator has stopped the engine of this model.',
    etaMs: null,
  });
  const refused = await appliance.operator('/api/models/demo-chat-3b/load', 'POST');
  expect(refused.error.message).toContain('Its engine is not running; start the engine first.');
  // Others are served meanwhile.
  expect((await appliance.post('/generate-image', drawn)).status).toBe(200);
  expect((await engine('lm-studio')).health).toBe('stopped');
  await start('lm-studio');
  expect((await asked).status).toBe(200);
  const { items } = await appliance.operator('/api/audit?action=engine.*');
  expect(items.map(({ action }: { action: string }) => action)).toEqual(['engine.start', 'engine.stop']);
});

test('bug 8: a stopped engine stays stopped over a restart, and a job that waits for it goes on after the start', async () => {
  appliance = await TestAppliance.start({ speed: 40 });
  await appliance.ready();
  const { folder } = appliance;
  const ann = await appliance.register('ann@example.test', { plan: 'enterprise', credits: 100 });
  await stop('webui');
  const made = await appliance.call('POST', '/api/v1/jobs/image-generation', {
    as: ann.key,
    body: { prompt: 'x', size: '64x64', steps: 2, model: 'demo-sd15' },
  });
  expect(made.status).toBe(202);
  await appliance.stop();
  appliance = await TestAppliance.start({ speed: 40, folder });
  await appliance.until(async () => (await engine('lm-studio')).health === 'ready');
  expect((await engine('webui')).health).toBe('stopped');
  const state = async (): Promise<string> =>
    (await appliance.call('GET', `/api/v1/jobs/${made.data.id}`, { as: ann.key })).data.state;
  expect(['queued', 'running', 'processing']).toContain(await state());
  await start('webui');
  await appliance.until(async () => (await state()) === 'succeeded');
});

test('D18: a model that can never fit says so, and its load is refused with the same sentence', async () => {
  appliance = await TestAppliance.start({ speed: 40 });
  await appliance.ready();
  const models: { id: string; obstacle: string | null }[] = await appliance.operator('/api/models');
  const large = models.find(({ id }) => id === 'demo-chat-70b');
  expect(large?.obstacle).toMatch(/too large for this card \(\d+\.\d of 7\.\d GB\)/);
  const refused = await appliance.operator('/api/models/demo-chat-70b/load', 'POST');
  expect(refused.error.message).toBe(large?.obstacle);
  expect(models.find(({ id }) => id === 'demo-chat-3b')?.obstacle).toBeNull();
});
