import { createStore } from 'zustand/vanilla';

/*
 * The session of this page. It is kept for this address alone and sent by us with each call: a cookie would go to every
 * program that listens on this machine.
 */
const storageKey = 'kilnhouse-session';

interface SessionState {
  readonly token: string | null;
}

export const session = createStore<SessionState>(() => ({ token: localStorage.getItem(storageKey) }));

export function keepSession(token: string | null): void {
  if (token === null) localStorage.removeItem(storageKey);
  else localStorage.setItem(storageKey, token);
  session.setState({ token });
}
