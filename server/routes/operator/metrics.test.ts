import Fastify from 'fastify';
import { expect, test } from 'vitest';
import { DurableWrites } from '../../db/durable-writes.ts';
import { metricsRoutes } from './metrics.ts';
import type { OperatorDeps } from './operator-context.ts';

test('bug 4: records that can never be written are counted by what they were', async () => {
  const writes = new DurableWrites({ atomically: (work) => work(), onError: () => undefined });
  const nothing = { onDecision: () => () => undefined, counts: () => new Map() };
  const status = { totalBytes: 1, budgetBytes: 1, reservedBytes: 0, othersBytes: 0, excessBytes: 0 };
  const gpu = { scheduler: nothing, status: () => status, models: () => [] };
  const app = Fastify();
  // The rest of the parts is not read by these routes.
  await app.register(metricsRoutes, { gpu, writes } as unknown as OperatorDeps);
  const text = async (): Promise<string> => (await app.inject('/metrics')).body;
  expect(await text()).toContain('kilnhouse_writes_waiting 0');
  const never = (): void => {
    throw new Error('a constraint');
  };
  for (const id of ['1', '2'])
    expect(await writes.commit({ what: 'the end of a request', id, write: never })).toBe('lost');
  expect(await text()).toContain('kilnhouse_writes_lost_total{what="the end of a request"} 2');
  expect(await text()).toContain('kilnhouse_writes_lost_total{what="the end of a request"} 2');
  await app.close();
});
