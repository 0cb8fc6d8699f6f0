/** The life of a supervised process: state -> event -> state. What is not listed cannot happen. */
export const childStates = {
  stopped: { start: 'starting' },
  starting: { ready: 'ready', died: 'backoff', stop: 'stopping', refuse: 'failed' },
  ready: { died: 'backoff', stop: 'stopping' },
  backoff: { start: 'starting', stop: 'stopped', exhausted: 'failed' },
  stopping: { gone: 'stopped' },
  failed: { start: 'starting', stop: 'stopped' },
} as const;

export type ChildState = keyof typeof childStates;
export type ChildEvent = { [S in ChildState]: keyof (typeof childStates)[S] }[ChildState];

/** The state after an event; throws on a move the table does not have. */
export function nextState(state: ChildState, event: ChildEvent): ChildState {
  const moves: Partial<Record<ChildEvent, ChildState>> = childStates[state];
  const next = moves[event];
  if (!next) throw new Error(`a process that is ${state} cannot ${event}`);
  return next;
}
