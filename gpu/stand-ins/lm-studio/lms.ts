import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { demoModels } from './models.ts';
import { programBeside } from '../../program.ts';

/* Stands in for LM Studio's command line: people's words on stderr, --json alone on stdout, its odd exit codes. */
const folder = process.env['STANDIN_DIR'] ?? '.';
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean' },
    quiet: { type: 'boolean' },
    yes: { type: 'boolean', short: 'y' },
    all: { type: 'boolean' },
    port: { type: 'string', short: 'p' },
    bind: { type: 'string' },
    gpu: { type: 'string' },
    'context-length': { type: 'string', short: 'c' },
    parallel: { type: 'string' },
    identifier: { type: 'string' },
  },
});

interface Daemon {
  readonly pid: number;
  readonly port: number;
}

async function daemon(): Promise<Daemon | null> {
  try {
    const known = JSON.parse(readFileSync(join(folder, 'lm-studio', 'daemon.json'), 'utf8')) as Daemon;
    const response = await fetch(`http://127.0.0.1:${known.port}/lms-status`);
    return response.ok ? known : null;
  } catch {
    return null;
  }
}

/** Wakes the daemon as nearly every real command does. */
async function wake(): Promise<Daemon> {
  const known = await daemon();
  if (known) return known;
  const script = programBeside(import.meta.url, 'server');
  spawn(process.execPath, [script], { detached: true, stdio: 'ignore' }).unref();
  for (let tries = 0; tries < 200; tries += 1) {
    await delay(50);
    const woken = await daemon();
    if (woken) return woken;
  }
  throw new Error('Could not wake the daemon.');
}

async function ask({ port }: Daemon, path: string, body?: object): Promise<Record<string, unknown>> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    ...(body && { method: 'POST', body: JSON.stringify(body) }),
  });
  const answer = (await response.json()) as Record<string, unknown>;
  if (!response.ok) throw new Error(String(answer['error']));
  return answer;
}

const commands: Readonly<Record<string, (argument?: string) => Promise<void>>> = {
  'daemon up': async () => {
    const { pid } = await wake();
    print({ status: 'running', pid, isDaemon: true, version: '0.4.0-demo' });
  },
  'daemon status': async () => {
    const known = await daemon();
    print(known ? { status: 'running', pid: known.pid, isDaemon: true } : { status: 'not-running' });
  },
  'daemon down': async () => {
    const known = await daemon();
    if (!known) throw new Error('The daemon is not running.');
    await ask(known, '/down', {}).catch(() => undefined);
  },
  'server start': async () =>
    void (await ask(await wake(), '/server/start', { port: Number(values.port ?? 1234) })),
  'server stop': async () => void (await ask(await wake(), '/server/stop', {})),
  'server status': async () => {
    const known = await daemon();
    const port = known ? (await ask(known, '/state'))['port'] : null;
    print(port === null ? { running: false } : { running: true, port });
  },
  ls: async () => {
    await wake();
    print(
      demoModels.map(({ key, type, title, sizeBytes, vision }) => ({
        type,
        modelKey: key,
        format: 'gguf',
        displayName: title,
        sizeBytes,
        deviceIdentifier: null,
        ...(type === 'llm' && { vision, trainedForToolUse: true }),
        maxContextLength: 8_192,
      })),
    );
  },
  ps: async () => {
    const { loaded } = await ask(await wake(), '/state');
    print((loaded as string[]).map((identifier) => ({ identifier, status: 'idle', queued: 0, ttlMs: null })));
  },
  load: async (key) => {
    // Like the real one with -y: the first model whose key contains the argument.
    const model = demoModels.find((candidate) => candidate.key.includes(key ?? ''));
    if (!model) throw new Error(`No model found that matches "${key}".`);
    await ask(await wake(), '/load', {
      key: model.key,
      contextLength: Number(values['context-length'] ?? 4_096),
      ...(values.parallel && { parallel: Number(values.parallel) }),
    });
  },
  unload: async (key) => {
    const { found } = await ask(await wake(), '/unload', { key });
    if (!found) console.error(`Model Not Found: ${key}`);
  },
  version: async () => print({ version: 'demo' }),
};

const [first = '', second = ''] = positionals;
const run = commands[`${first} ${second}`] ?? commands[first];
if (!run) {
  console.error(`Unknown command: ${positionals.join(' ')}`);
  process.exitCode = 1;
} else {
  await run(second).catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  });
}

function print(value: unknown): void {
  console.log(JSON.stringify(value));
}
