import { useStore } from 'zustand';
import { createStore } from 'zustand/vanilla';
import type { LiveMessage, LiveState } from '../../server/contract/console.ts';
import { mergePatch } from './merge-patch.ts';
import { keepSession, session } from './session.ts';

/** As it is after patches: in a merge patch null takes away, so what may be null may also be missing. */
type Received<Value> = Value extends readonly (infer Item)[]
  ? readonly Received<Item>[]
  : Value extends object
    ? { readonly [Key in keyof Value]: Received<Value[Key]> | (null extends Value[Key] ? undefined : never) }
    : Value;
export type LiveView = Received<LiveState>;

interface Live {
  /** offline: it was there, and is not at the moment. What is shown is how it was then. */
  readonly connection: 'connecting' | 'live' | 'offline';
  readonly state: LiveView | null;
}

export const live = createStore<Live>(() => ({ connection: 'connecting', state: null }));

/** A part of the live state; drawn anew only when that part changes. Only below the page's gate, where there is one. */
export function useLive<Part>(select: (state: LiveView) => Part): Part {
  return useStore(live, ({ state }) => {
    if (!state) throw new Error('The live state is not there yet.');
    return select(state);
  });
}

const retry = { firstMs: 500, longestMs: 10_000 } as const;

/** Follows the state of the appliance until the result is called, coming back whenever the connection breaks. */
export function follow(token: string): () => void {
  let socket: WebSocket | null = null;
  let timer: number | undefined;
  let waitMs: number = retry.firstMs;
  let isOver = false;

  const connect = (): void => {
    if (isOver) return;
    const { host } = window.location;
    socket = new WebSocket(`ws://${host}/api/live`, ['kilnhouse', `token.${token}`]);
    socket.addEventListener('message', ({ data }: MessageEvent<string>) => {
      const message = JSON.parse(data) as LiveMessage;
      waitMs = retry.firstMs;
      if (message.type === 'snapshot') live.setState({ connection: 'live', state: message.state });
      else live.setState(({ state }) => ({ state: mergePatch(state, message.patch) as LiveView }));
    });
    socket.addEventListener('close', () => {
      if (isOver) return;
      live.setState(({ state }) => ({ connection: state ? 'offline' : 'connecting' }));
      void isStillIn(token);
      timer = window.setTimeout(connect, waitMs);
      waitMs = Math.min(retry.longestMs, waitMs * 2);
    });
  };
  connect();
  return () => {
    isOver = true;
    window.clearTimeout(timer);
    socket?.close();
    live.setState({ connection: 'connecting', state: null });
  };
}

/** A WebSocket does not say why it was refused: a plain call does. */
async function isStillIn(token: string): Promise<void> {
  const answer = await fetch('/api/pause', { headers: { authorization: `Bearer ${token}` } }).catch(
    () => null,
  );
  if (answer?.status === 401 && session.getState().token === token) keepSession(null);
}
