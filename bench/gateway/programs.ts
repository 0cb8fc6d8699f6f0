import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Program {
  readonly process: ChildProcess;
  readonly url: string;
  readonly startedMs: number;
  /** Everything it printed until it served. */
  readonly output: string;
}

export const key = 'kh_benchmark-key-with-no-limits';
/** The key of a tenant that pays with credits. */
export const payingKey = 'kh_benchmark-key-that-pays';
/** As in the start script of package.json: a small nursery, since the process mostly waits. */
const applianceFlags = ['--max-semi-space-size=6'];
const root = fileURLToPath(new URL('../..', import.meta.url));

/** Starts a program of the project and waits for the line that says where it serves. */
export function start(
  script: string,
  args: readonly string[],
  serving: RegExp,
  env: Record<string, string> = {},
  flags: readonly string[] = [],
): Promise<Program> {
  const began = performance.now();
  const child = spawn(process.execPath, [...flags, join(root, script), ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return new Promise((resolve, reject) => {
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (piece: string) => {
      output += piece;
      const found = serving.exec(output)?.[1];
      if (!found) return;
      const url = found.startsWith('http') ? found : `http://127.0.0.1:${found}`;
      resolve({ process: child, url, startedMs: performance.now() - began, output });
    });
    child.once('exit', (code) => reject(new Error(`${script} ended with ${code}: ${output}`)));
  });
}

/** The appliance, with one tenant nobody holds back, and engines only where a port is given. */
export function startAppliance(
  lmStudioPort: number | null,
  { folder = mkdtempSync(join(tmpdir(), 'kilnhouse-bench-')), webuiPort = 0 } = {},
): Promise<Program> {
  const limits = { requestsPerMinute: 1_000_000_000, concurrent: 256, queued: 1_000 };
  writeFileSync(
    join(folder, 'tenants.json'),
    JSON.stringify({
      [key]: { name: 'bench', plan: 'enterprise', limits },
      [payingKey]: { name: 'payer', plan: 'enterprise', limits, credits: true },
    }),
  );
  writeFileSync(
    join(folder, 'config.json'),
    JSON.stringify({
      demo: 'never',
      lmStudio: { enabled: lmStudioPort !== null, port: lmStudioPort ?? 1 },
      webui: webuiPort === 0 ? { enabled: false } : { port: webuiPort },
      gpu: { declaredMib: 16_384 },
      llamaCpp: { enabled: false },
      scheduler: { interactiveQueueSeconds: 100_000 },
    }),
  );
  return start(
    'server/main.ts',
    [],
    /Tenant API\s+(\S+)[\s\S]*The models:/,
    {
      KILNHOUSE_DATA: folder,
      HOME: folder,
      KILNHOUSE_TENANT_PORT: '0',
      KILNHOUSE_OPERATOR_PORT: '0',
    },
    applianceFlags,
  );
}

export async function stop({ process: child }: Program): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

/** Resident memory in MiB, from /proc; NaN elsewhere. */
export function residentMib({ process: child }: Program): number {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024;
  } catch {
    return Number.NaN;
  }
}

/** Seconds of processor time so far, from /proc; NaN elsewhere. */
export function cpuSeconds({ process: child }: Program): number {
  try {
    const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return Number.NaN;
  }
}
