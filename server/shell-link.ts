/** What the server tells the desktop shell that runs it as a utility process. */
export interface Serving {
  readonly type: 'serving';
  readonly tenantUrl: string;
  readonly operatorUrl: string;
  /** To the console; works once. */
  readonly link: string;
}

/** Electron's channel to the process that started a utility process; not there under plain Node. */
interface ParentPort {
  postMessage(message: unknown): void;
  on(event: 'message', listener: (event: { data: unknown }) => void): void;
}

const port = (process as { parentPort?: ParentPort }).parentPort;

export function tellShell(message: Serving): void {
  port?.postMessage(message);
}

/** Calls back when the shell asks the server to end: a utility process gets no signals on Windows. */
export function toldToEnd(end: () => void): void {
  port?.on('message', ({ data }) => {
    if (data === 'end') end();
  });
}
