import { openWork, type Status } from './status.ts';

export interface Question {
  readonly message: string;
  readonly detail: string;
  readonly buttons: readonly [quit: string, stay: string];
}

/** What is asked before it ends; null when nobody is served. Pure. */
export function quitQuestion({ state }: Pick<Status, 'state'>): Question | null {
  const work = state ? openWork(state) : 0;
  if (work === 0) return null;
  return {
    message: work === 1 ? 'A request is being served' : `${work} requests are being served`,
    detail:
      'Whoever waits for an answer is told that the appliance is shutting down, and is not charged. Jobs go on where they are at the next start.',
    buttons: ['Quit', 'Keep serving'],
  };
}
