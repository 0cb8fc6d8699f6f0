import type { LiveState } from '../server/contract/console.ts';

/** What the shell knows of the appliance: what tray, notifications and the question at the end are made from. */
export interface Status {
  readonly server: 'starting' | 'serving' | 'restarting' | 'failed' | 'ended';
  /** Null until the server has said how it stands. */
  readonly state: LiveState | null;
  readonly tenants: readonly {
    readonly id: string;
    readonly name: string;
    readonly available: number | null;
  }[];
  /** A version that could be installed; null when there is none, or it was refused. */
  readonly update: { readonly version: string; readonly isLoaded: boolean } | null;
  readonly startsWithSystem: boolean;
}

/** How the appliance stands, for its icon. */
export type Mood = 'ok' | 'busy' | 'paused' | 'trouble';

/** Pure. */
export function moodOf({ server, state }: Pick<Status, 'server' | 'state'>): Mood {
  if (server === 'failed') return 'trouble';
  if (server !== 'serving' || !state) return 'busy';
  if (Object.values(state.alerts).some(({ level }) => level === 'error')) return 'trouble';
  if (state.gpu.mode !== 'running') return 'paused';
  const isWorking = Object.values(state.models).some(
    ({ running, phase }) => running > 0 || phase === 'loading',
  );
  return isWorking || Object.keys(state.queue).length > 0 ? 'busy' : 'ok';
}

/** Requests that run or wait. Pure. */
export function openWork(state: LiveState): number {
  const running = Object.values(state.models).reduce((sum, model) => sum + model.running, 0);
  return running + Object.keys(state.queue).length;
}

/** Whether the machine must not fall asleep: while it serves. Pure. */
export function staysAwake({ server, state }: Pick<Status, 'server' | 'state'>): boolean {
  return server === 'serving' && state?.gpu.mode === 'running';
}
