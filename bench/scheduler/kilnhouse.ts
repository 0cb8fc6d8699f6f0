import { overflow, type QueueLimits } from '../../gpu/vram/bounds.ts';
import { plan } from '../../gpu/vram/plan.ts';
import type { Policy } from '../../gpu/vram/policy.ts';
import { SchedulerState } from '../../gpu/vram/state.ts';
import { costs, type Job, type Kind } from './workload.ts';
import type { Contestant, World } from './world.ts';

const gib = 1024 ** 3;

/** The plan() that runs in production, on the world of the simulation. */
export function kilnhouse(
  name: string,
  policy: Policy,
  bounds: QueueLimits,
  bytes = { text: 5, image: 4 },
  loads = { text: 1, image: 1 },
): Contestant {
  return {
    name,
    attach(world: World) {
      const state = new SchedulerState();
      world.together = true;
      state.budgetBytes = state.capacityBytes = 7 * gib;
      for (const kind of ['text', 'image'] as const) {
        const { load, stop, slots, run } = costs[kind];
        state.models.set(kind, {
          id: kind,
          engineId: kind,
          vramBytes: bytes[kind] * gib,
          slots,
          loadMs: load * loads[kind] * 1000,
          unloadMs: stop * 1000,
          runMs: run * 1000,
          pinned: false,
          exclusive: false,
        });
      }
      const jobs = new Map<string, Job>();
      let wakeAt: number | null = null;
      const nowMs = (): number => world.now * 1000;
      const settle = (): void => {
        for (;;) {
          const next = plan(state, nowMs(), policy);
          if (next.actions.length === 0) {
            if (next.wakeAt !== null && next.wakeAt !== wakeAt) {
              wakeAt = next.wakeAt;
              world.after((next.wakeAt - nowMs()) / 1000 + 1e-6, () => (wakeAt = null));
            }
            return;
          }
          for (const action of next.actions) {
            if (action.type === 'grant') {
              const job = jobs.get(action.workId);
              if (!job) throw new Error('granted what nobody asked for');
              state.grant(action.workId, nowMs());
              world.start(job);
            } else if (action.type === 'load') {
              const kind = action.modelId as Kind;
              state.beginLoad(kind, nowMs());
              world.spend(costs[kind].load * loads[kind]);
              world.after(costs[kind].load * loads[kind], () => state.move(kind, 'ready', nowMs()));
            } else if (action.type === 'unload') {
              const kind = action.modelId as Kind;
              state.move(kind, 'unloading', nowMs(), action);
              const leaving = state.residents.get(kind);
              world.countSwap();
              world.spend(costs[kind].stop);
              world.after(costs[kind].stop, () => leaving && state.release(leaving));
            } else if (action.type === 'drain') {
              state.move(action.modelId, 'draining', nowMs(), action);
            } else state.move(action.modelId, 'ready', nowMs());
          }
        }
      };
      return {
        arrived(job) {
          const costMs = (costs[job.kind].run * 1000) / costs[job.kind].slots;
          const lane = job.batch ? 'batch' : 'interactive';
          if (overflow(state.queue, { tenant: job.tenant, lane, costMs }, bounds)) return world.refuse(job);
          const id = String(job.id);
          jobs.set(id, job);
          state.enqueue({
            id,
            tenant: job.tenant,
            weight: 1,
            concurrency: 10,
            modelId: job.kind,
            lane,
            costMs,
            since: nowMs(),
          });
        },
        finished(job) {
          state.finish(String(job.id), nowMs());
        },
        swapped() {},
        settle,
      };
    },
  };
}
