import { expect, test } from 'vitest';
import { defaultQueueLimits } from '../../gpu/vram/bounds.ts';
import { defaultPolicy } from '../../gpu/vram/policy.ts';
import { figuresOf } from './figures.ts';
import { kilnhouse } from './kilnhouse.ts';
import { companyBoundS } from './report.ts';
import { scenarios } from './workload.ts';

/* Simulated on a virtual clock: the figures depend on the code and the seeds alone, so they can be asserted. */

test('J5: six people of one company chat all the time, and no picture of theirs waits longer than its bound', () => {
  const scenario = scenarios.find(({ people }) => people !== undefined);
  if (!scenario) throw new Error('there is no scenario of one company');
  const ours = kilnhouse('Kilnhouse', defaultPolicy, defaultQueueLimits);
  const figures = figuresOf(ours, scenario, [1, 2, 3, 4, 5, 6, 7, 8]);
  expect(figures.imageWorst).toBeLessThanOrEqual(companyBoundS);
  expect(figures.refused).toBe(0);
});
