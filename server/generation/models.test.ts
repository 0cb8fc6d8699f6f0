import { expect, test } from 'vitest';
import type { CatalogModel } from '../../gpu/catalog.ts';
import type { EngineHealth } from '../../gpu/engine-care.ts';
import type { Identity } from '../tenants/tenant.ts';
import { modelFor } from './models.ts';

type Deps = Parameters<typeof modelFor>[0];

function model(id: string, modality: CatalogModel['modality'], engineId: string): CatalogModel {
  const rest = { key: id, name: id, sizeBytes: null, contextLength: null, vision: false, tools: false };
  return { id, modality, engineId, embeds: modality === 'embedding', ...rest };
}

/** Engines with their health, and the models that are known before and after the engines were waited for. */
function deps(engines: Record<string, EngineHealth>, before: CatalogModel[], after = before): Deps {
  let known = before;
  const gpu = {
    model: (id: string) => known.find((one) => one.id === id),
    models: () => known,
    defaultModel: (kind: string) => known.find(({ modality }) => modality === kind),
    settled: async () => {
      known = after;
    },
    engines: () => Object.entries(engines).map(([id, health]) => ({ id, health })),
  };
  const admission: Deps['admission'] = { whileOpen: (_, work) => work() };
  return { gpu: gpu as unknown as Deps['gpu'], admission };
}

const identity = { tenant: { limits: { models: ['*'] } }, models: [] } as unknown as Identity;
const chat = model('chat', 'text', 'text-engine');
const draw = model('draw', 'image', 'image-engine');
const vectors = model('vectors', 'embedding', 'text-engine');

test('an engine that has just been started is waited for', async () => {
  const just = deps({ 'text-engine': 'starting' }, [], [chat]);
  expect(await modelFor(just, identity, 'text', 'chat')).toBe(chat);
});

test.each<EngineHealth>(['unknown', 'starting', 'failing', 'stopped'])(
  'while an engine that has said nothing is %s, nobody says that a model is not there',
  async (health) => {
    const some = deps({ 'text-engine': 'ready', 'image-engine': health }, [chat]);
    await expect(modelFor(some, identity, 'image', 'draw')).rejects.toMatchObject({
      code: 'engine_unavailable',
      retryAfterMs: expect.any(Number),
    });
  },
);

test('an engine that failed after it said what it has, or was stopped, leaves no doubt', async () => {
  for (const health of ['failing', 'stopped'] as const) {
    const known = deps({ 'text-engine': health, 'image-engine': health }, [chat, draw]);
    await expect(modelFor(known, identity, 'text', 'chta')).rejects.toMatchObject({
      code: 'model_not_found',
    });
  }
});

test('models of the kind that was asked for are named, and no others', async () => {
  const all = deps({ 'text-engine': 'ready', 'image-engine': 'ready' }, [chat, draw, vectors]);
  await expect(modelFor(all, identity, 'image', 'x')).rejects.toThrow(
    'There is no model "x". Available: draw.',
  );
  await expect(modelFor(all, identity, 'embedding', 'x')).rejects.toThrow('Available: vectors.');
  await expect(modelFor(all, identity, 'text', 'draw')).rejects.toThrow('is for image, not text');
});
