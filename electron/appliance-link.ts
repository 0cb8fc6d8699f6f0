import { apply } from 'json-merge-patch';
import { WebSocket } from 'ws';
import type { LiveMessage, LiveState } from '../server/contract/console.ts';
import type { Serving } from '../server/shell-link.ts';

const retryMs = 1_000;

/** The shell's own way into the operator API: the live state as it changes, and what the tray's items do. */
export class ApplianceLink {
  readonly #onState: (state: LiveState | null) => void;
  #serving: Serving | null = null;
  #session: Promise<string> | null = null;
  #socket: WebSocket | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(onState: (state: LiveState | null) => void) {
    this.#onState = onState;
  }

  /** Follows a server that has just begun to serve. */
  follow(serving: Serving): void {
    this.close();
    this.#serving = serving;
    // The link that it gave works once: it is used here, and windows get links of their own.
    this.#session = this.#open(serving);
    void this.#connect(serving);
  }

  close(): void {
    this.#serving = null;
    if (this.#timer) clearTimeout(this.#timer);
    this.#socket?.removeAllListeners();
    this.#socket?.on('error', () => undefined);
    this.#socket?.terminate();
    this.#socket = null;
  }

  /** A link to the console for a window. */
  async consoleLink(): Promise<string> {
    const { url } = (await this.call('POST', '/api/session/links')) as { url: string };
    return url;
  }

  /** What the operator API answers. Rejects with an Error in its words. */
  async call(method: string, path: string, body?: object): Promise<unknown> {
    if (!this.#serving || !this.#session) throw new Error('The appliance is not there at the moment.');
    const response = await fetch(this.#serving.operatorUrl + path, {
      method,
      headers: {
        authorization: `Bearer ${await this.#session}`,
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    const answer = (await response.json()) as { error?: { message: string } };
    if (!response.ok) throw new Error(answer.error?.message ?? `It answered ${response.status}.`);
    return answer;
  }

  async #open({ operatorUrl, link }: Serving): Promise<string> {
    const response = await fetch(`${operatorUrl}/api/session`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ proof: link.split('/').at(-1) }),
    });
    if (!response.ok) throw new Error(`The console could not be opened: ${response.status}.`);
    return ((await response.json()) as { token: string }).token;
  }

  async #connect(serving: Serving): Promise<void> {
    const token = await this.#session?.catch(() => null);
    if (this.#serving !== serving || !token) return;
    const address = serving.operatorUrl.replace(/^http/, 'ws');
    const socket = new WebSocket(`${address}/api/live`, ['kilnhouse', `token.${token}`]);
    this.#socket = socket;
    let state: LiveState | null = null;
    socket.on('message', (data: Buffer) => {
      const message = JSON.parse(data.toString()) as LiveMessage;
      // The patch is put on the state that is there, which is nobody else's.
      if (message.type === 'snapshot') ({ state } = message);
      else state = apply(state as never, message.patch as never) as unknown as LiveState;
      this.#onState(structuredClone(state));
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (this.#socket !== socket) return;
      this.#onState(null);
      this.#timer = setTimeout(() => void this.#connect(serving), retryMs);
    });
  }
}
