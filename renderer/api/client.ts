import { keepSession, session } from './session.ts';

/** What the appliance refused, in its words. `code` and `param` are for programs. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly status: number;
  readonly code: string;
  readonly param: string | null;

  constructor(status: number, code: string, message: string, param: string | null) {
    super(message);
    this.status = status;
    this.code = code;
    this.param = param;
  }
}

/** The appliance does not answer: it is stopped, or starting. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

async function send(method: Method, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const { token } = session.getState();
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers: {
        ...(token !== null && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(signal && { signal }),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable('The appliance does not answer. Is it running?', { cause: error });
  }
  if (response.ok) return response;
  const refusal = await refusalOf(response);
  // The session has expired, or its token was replaced.
  if (response.status === 401 && token !== null) keepSession(null);
  throw refusal;
}

async function refusalOf(response: Response): Promise<Refusal> {
  const answer = (await response.json().catch(() => null)) as {
    error?: { code?: string; message?: string; param?: string | null };
  } | null;
  const { code = 'unknown', message = `It answered ${response.status}.`, param = null } = answer?.error ?? {};
  return new Refusal(response.status, code, message, param);
}

/** The JSON that is answered. Rejects with Refusal or Unreachable. The caller names the type of the route's schema. */
export async function call<Answer>(
  method: Method,
  path: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<Answer> {
  const response = await send(method, path, body, signal);
  return (response.status === 204 ? null : await response.json()) as Answer;
}

/** Has the browser save what is answered under a name. */
export async function saveAs(path: string, name: string): Promise<void> {
  const response = await send('GET', path);
  const url = URL.createObjectURL(await response.blob());
  const link = Object.assign(document.createElement('a'), { href: url, download: name });
  link.click();
  URL.revokeObjectURL(url);
}

/** Opens the session with the code of a link, or with the operator token. */
export async function openSession(proof: string): Promise<void> {
  const { token } = await call<{ token: string }>('POST', '/api/session', { proof });
  keepSession(token);
}
