/** Where a job can be. The last four are ends: nothing leaves them. */
export const jobStates = [
  'queued',
  'starting',
  'processing',
  'succeeded',
  'failed',
  'canceled',
  'expired',
] as const;
export type JobState = (typeof jobStates)[number];

/** Every way from one state to another, by what happens (J8). The database refuses all others, too. */
export const transitions: Readonly<Record<JobState, Readonly<Partial<Record<JobEvent, JobState>>>>> = {
  queued: { claim: 'starting', cancel: 'canceled', expire: 'expired', fail: 'failed' },
  starting: { begin: 'processing', requeue: 'queued', cancel: 'canceled', fail: 'failed' },
  processing: { finish: 'succeeded', requeue: 'queued', cancel: 'canceled', fail: 'failed' },
  succeeded: {},
  failed: {},
  canceled: {},
  expired: {},
};
export type JobEvent = 'claim' | 'begin' | 'finish' | 'fail' | 'cancel' | 'expire' | 'requeue';

/** Where an event leads from a state; null when it does not happen there. */
export function next(state: JobState, event: JobEvent): JobState | null {
  return transitions[state][event] ?? null;
}

export function isFinal(state: JobState): boolean {
  return Object.keys(transitions[state]).length === 0;
}
