import type { LiveState } from '../server/contract/console.ts';
import type { Status } from './status.ts';

const gib = 1024 ** 3;

export function model(id: string, more: object = {}): Record<string, object> {
  return { [id]: { id, phase: 'absent', vramBytes: 4 * gib, running: 0, waiting: 0, ...more } };
}

/** A machine that serves, with what a test wants to be otherwise. */
export function stateOf(more: object = {}): LiveState {
  return {
    version: '1.0.0',
    demo: false,
    tenantUrl: 'http://127.0.0.1:3050',
    gpu: { mode: 'running', totalBytes: 8 * gib, reservedBytes: 4 * gib, othersBytes: gib, excessBytes: 0 },
    pause: { mode: 'running' },
    machine: { card: { processes: [] } },
    engines: {},
    models: model('chat'),
    queue: {},
    alerts: {},
    tunnel: { state: 'off' },
    running: {},
    ...more,
  } as unknown as LiveState;
}

export function statusOf(more: Partial<Status> = {}): Status {
  return { server: 'serving', state: stateOf(), tenants: [], update: null, startsWithSystem: false, ...more };
}

export function alert(id: string, level: 'error' | 'warning' = 'error'): Record<string, object> {
  return { [id]: { id, level, title: `${id} is wrong`, advice: 'do this', page: '/engines' } };
}
