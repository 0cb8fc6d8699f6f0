import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { field } from '../../gpu/engines/http.ts';
import type { Config } from './config.ts';

/** What this machine has to run models with. */
export interface Found {
  readonly lmStudio: { readonly lmsPath: string | null; readonly running: boolean } | null;
  readonly webui: {
    readonly python: string | null;
    readonly folder: string | null;
    readonly port: number;
  } | null;
  readonly ggufFiles: boolean;
}

/**
 * Windows takes two seconds to say that nobody listens on a port; who listens is connected to at once, however busy. An
 * engine that is busy may take long to answer, and one that is not found is not there until the next start.
 */
const limits = { connectMs: 400, answerMs: 5_000 } as const;
/** The usual ports of web UIs, with and without --nowebui. */
const webuiPorts = [7861, 7860] as const;

/** Looks for engines without waking or starting any. */
export async function discover(config: Config, modelsFolder: string): Promise<Found> {
  const { lmStudio, webui } = config;
  const lmsPath = lmStudio.enabled ? (lmStudio.lmsPath ?? findLms()) : null;
  const ports = [...new Set([webui.port, ...webuiPorts])];
  const [lmStudioRuns, ...webuiRuns] = await Promise.all([
    lmStudio.enabled &&
      answers(
        `http://127.0.0.1:${lmStudio.port}/lmstudio-greeting`,
        (body) => field(body, 'lmstudio') === true,
      ),
    ...ports.map(
      (port) =>
        webui.enabled &&
        answers(
          `http://127.0.0.1:${port}/sdapi/v1/options`,
          (body) => field(body, 'sd_model_checkpoint') !== undefined,
          webui.auth,
        ),
    ),
  ]);
  const runningPort = ports.find((_, index) => webuiRuns[index]);
  const folder = webui.enabled ? webui.folder : null;
  return {
    lmStudio: lmsPath !== null || lmStudioRuns ? { lmsPath, running: lmStudioRuns } : null,
    webui:
      runningPort !== undefined || folder !== null
        ? { folder, python: folder && (webui.python ?? pythonIn(folder)), port: runningPort ?? webui.port }
        : null,
    ggufFiles: config.llamaCpp.enabled && hasGguf(modelsFolder),
  };
}

/** LM Studio's own order: the pointer file, the old cache folder, the home folder. */
export function findLms(home: string = homedir()): string | null {
  const pointer = join(home, '.lmstudio-home-pointer');
  const folders = [
    ...(existsSync(pointer) ? [readFileSync(pointer, 'utf8').trim()] : []),
    join(home, '.cache', 'lm-studio'),
    join(home, '.lmstudio'),
  ];
  for (const folder of folders) {
    for (const name of ['lms', 'lms.exe']) {
      const path = join(folder, 'bin', name);
      if (isExecutable(path)) return path;
    }
  }
  return null;
}

/** Where LM Studio keeps its models, from where its command lies (<home>/bin/lms); null where that is not. */
export function lmStudioModels(lmsPath: string | null): string | null {
  const folder = lmsPath === null ? null : join(dirname(dirname(lmsPath)), 'models');
  return folder !== null && existsSync(folder) ? folder : null;
}

/** The Python of a web UI's own environment, by the layouts of the three. */
export function pythonIn(folder: string): string | null {
  const places = ['venv/bin/python', 'venv/Scripts/python.exe', '../system/python/python.exe'];
  return places.map((place) => join(folder, place)).find(isExecutable) ?? null;
}

async function answers(
  url: string,
  recognise: (body: unknown) => boolean,
  auth: string | null = null,
): Promise<boolean> {
  try {
    const headers: Record<string, string> =
      auth === null ? {} : { authorization: `Basic ${Buffer.from(auth).toString('base64')}` };
    if (!(await listens(Number(new URL(url).port)))) return false;
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(limits.answerMs) });
    return response.ok && recognise(await response.json());
  } catch {
    return false;
  }
}

/** Whether anybody listens on a port of this machine. */
function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    const ended = (isThere: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(isThere);
    };
    // In a process that was held up the time can be over before the connection was noticed: it is looked for once more.
    const timer = setTimeout(() => setImmediate(() => setImmediate(ended, false)), limits.connectMs);
    socket.once('connect', () => ended(true)).once('error', () => ended(false));
  });
}

function hasGguf(folder: string): boolean {
  try {
    return readdirSync(folder, { recursive: true }).some((name) =>
      String(name).toLowerCase().endsWith('.gguf'),
    );
  } catch {
    return false;
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
