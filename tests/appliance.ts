import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { vi } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

export interface Options {
  /** Written to config.json before the start. */
  readonly config?: object;
  readonly env?: Readonly<Record<string, string>>;
  /** Start with another one's data. */
  readonly folder?: string;
  /** How many times faster than life the stand-ins are. */
  readonly speed?: number;
  /** Faults of the stand-ins from the start on. */
  readonly faults?: string;
  readonly tenants?: object;
  /** Another server than that of the sources. */
  readonly program?: string;
  /** Gives its data a disk of its own, of so many MiB (Linux: a mount in a namespace of its own). */
  readonly diskMib?: number;
}

/** Makes the disk, then becomes the program. */
const onOwnDisk = (mib: number): string[] => [
  'unshare',
  '-Urm',
  'sh',
  '-c',
  `mount -t tmpfs -o size=${mib}m tmpfs "$KILNHOUSE_DATA" && exec "$0" "$@"`,
];

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // oxlint-disable typescript/no-explicit-any -- the shape of each answer is the business of the test that asks
  readonly json: any;
  /** What the platform's envelope holds. */
  readonly data: any;
  // oxlint-enable typescript/no-explicit-any
  readonly code: string | undefined;
  readonly message: string | undefined;
}

/** The real program as its users start it: a process of its own on free ports, with stand-ins for engines. */
export class TestAppliance {
  readonly folder: string;
  readonly process: ChildProcess;
  output = '';
  tenantUrl = '';
  operatorUrl = '';
  key = '';
  #token = '';

  private constructor(folder: string, child: ChildProcess) {
    this.folder = folder;
    this.process = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    }
  }

  /** Starts it and waits until it serves. */
  static async start(options: Options = {}): Promise<TestAppliance> {
    const appliance = TestAppliance.launch(options);
    await appliance.serving();
    return appliance;
  }

  /** Starts it without waiting. */
  static launch(options: Options = {}): TestAppliance {
    const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'kilnhouse-'));
    if (options.config) writeFileSync(join(folder, 'config.json'), JSON.stringify(options.config));
    if (options.tenants) writeFileSync(join(folder, 'tenants.json'), JSON.stringify(options.tenants));
    const program = [process.execPath, options.program ?? join(root, 'server/main.ts')];
    const disk = options.diskMib === undefined ? [] : onOwnDisk(options.diskMib);
    const [command = '', ...args] = [...disk, ...program];
    const child = spawn(command, args, {
      env: {
        PATH: process.env['PATH'],
        NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
        TMPDIR: tmpdir(),
        HOME: folder,
        KILNHOUSE_DATA: folder,
        KILNHOUSE_TENANT_PORT: '0',
        KILNHOUSE_OPERATOR_PORT: '0',
        KILNHOUSE_DEMO: '1',
        STANDIN_SPEED: String(options.speed ?? 20),
        ...(options.faults && { STANDIN_FAULTS: options.faults }),
        ...options.env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return new TestAppliance(folder, child);
  }

  async serving(): Promise<void> {
    const hasEnded = (): boolean => this.process.exitCode !== null || this.process.signalCode !== null;
    await this.until(() => /An image:/.test(this.output) || hasEnded(), 60_000);
    if (hasEnded()) throw new Error(`it ended: ${this.output}`);
    this.tenantUrl = /Tenant API\s+(\S+)/.exec(this.output)?.[1] ?? '';
    this.operatorUrl = /Operator API\s+(\S+)/.exec(this.output)?.[1] ?? '';
    this.key = /kh_[\w-]{20,}/.exec(this.output)?.[0] ?? '';
  }

  /** Waits until every engine was tried and text and images can be had. */
  async ready(): Promise<void> {
    await this.until(async () => (await fetch(`${this.tenantUrl}/ready`)).ok);
    await this.until(async () =>
      (await this.operator('/api/engines')).every((e: { health: string }) => e.health === 'ready'),
    );
  }

  /** Waits for a condition; requests that count against a limit want a longer interval. */
  async until(condition: () => boolean | Promise<boolean>, timeout = 60_000, interval = 20): Promise<void> {
    await vi.waitFor(
      async () => {
        if (!(await condition()))
          throw new Error(`still not so: ${condition.toString()}; its output: ${this.output.slice(-2_000)}`);
      },
      { timeout, interval },
    );
  }

  get token(): string {
    if (this.#token !== '') return this.#token;
    // As the process sees it: its disk may be its own.
    const seen = process.platform === 'linux' ? `/proc/${this.process.pid}/root` : '';
    this.#token = readFileSync(join(seen, this.folder, 'operator-token'), 'utf8').trim();
    return this.#token;
  }

  /** Sets or clears faults of the running stand-ins. */
  faults(words: string): void {
    writeFileSync(join(this.folder, 'demo', 'faults'), words);
  }

  /** A tenant request with the key, as JSON. */
  post(path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
    return fetch(this.tenantUrl + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      ...init,
    });
  }

  /** A tenant request as anybody: `as` is a key or token. The platform's envelope and OpenAI's errors come unpacked. */
  async call(
    method: string,
    path: string,
    {
      as,
      body,
      headers = {},
    }: { as?: string | undefined; body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<Answer> {
    const response = await fetch(this.tenantUrl + path, {
      method,
      headers: {
        ...(as !== undefined && { authorization: `Bearer ${as}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    return answerOf(response);
  }

  /** Sends files as a form. */
  async upload(
    as: string,
    files: readonly { name: string; bytes: Buffer; type?: string }[],
    path = '/api/v1/upload',
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const form = new FormData();
    for (const { name, bytes, type = 'image/png' } of files)
      form.append('file', new Blob([new Uint8Array(bytes)], { type }), name);
    if (files.length === 0) form.append('nothing', '');
    return answerOf(
      await fetch(this.tenantUrl + path, {
        method: 'POST',
        headers: { authorization: `Bearer ${as}`, ...headers },
        body: form,
      }),
    );
  }

  get(path: string, key = this.key): Promise<Response> {
    return fetch(this.tenantUrl + path, { headers: { authorization: `Bearer ${key}` } });
  }

  /** An operator request with the token; its JSON. */
  // oxlint-disable-next-line typescript/no-explicit-any -- the shape of each answer is the business of the test that asks
  async operator(path: string, method = 'GET', body?: object): Promise<any> {
    const response = await fetch(this.operatorUrl + path, {
      method,
      headers: {
        authorization: `Bearer ${this.token}`,
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    return response.json();
  }

  /** Registers somebody, by an invitation of the operator where that is how it is. */
  async register(email: string, more: object = {}): Promise<Person> {
    const invited = await this.operator('/api/invitations', 'POST', { email, ...more });
    const { status, data, text } = await this.call('POST', '/api/v1/auth/register', {
      body: { email, password: passwordOf(email), name: email.split('@')[0], invitation: invited.token },
    });
    if (status !== 201) throw new Error(`${email} could not register: ${text}`);
    return { ...data.user, email, token: data.token, refreshToken: data.refreshToken, key: data.apiKey };
  }

  /** Resolves when it is gone, however that came. */
  async ended(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    await new Promise((resolve) => this.process.once('exit', resolve));
  }

  /** Kills it as a power cut would, and waits until it is gone. */
  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.ended();
  }

  /** Asks it to end, and waits for it. */
  async stop(): Promise<number | null> {
    this.process.kill('SIGTERM');
    await this.ended();
    return this.process.exitCode;
  }
}

/** What was answered, with the platform's envelope and OpenAI's errors unpacked. */
async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const json = response.headers.get('content-type')?.startsWith('application/json') ? JSON.parse(text) : null;
  const { status, headers: answered } = response;
  const error = json?.errors?.[0] ?? json?.error ?? null;
  return {
    status,
    headers: answered,
    text,
    json,
    data: json?.data,
    code: error?.code,
    message: error?.message,
  };
}

/** Somebody with an account, a session and a first key. */
export interface Person {
  readonly id: string;
  readonly company: string;
  readonly email: string;
  readonly token: string;
  readonly refreshToken: string;
  readonly key: string;
}

export function passwordOf(email: string): string {
  return `password of ${email}`;
}

/** The living processes whose environment holds the marker of an appliance's folder: its engines and theirs. */
export async function survivorsOf(appliance: TestAppliance): Promise<number[]> {
  const { readdir, readFile, readlink } = await import('node:fs/promises');
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const environ = await readFile(`/proc/${name}/environ`, 'latin1').catch(() => '');
    const gone = await readlink(`/proc/${name}/exe`).catch(() => null);
    if (gone !== null && environ.includes(appliance.folder) && Number(name) !== process.pid)
      found.push(Number(name));
  }
  return found;
}
