import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
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

const askTimeoutMs = 400;
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
    const asked = fetch(url, { headers, signal: AbortSignal.timeout(askTimeoutMs) });
    const response = await Promise.race([asked, delay(askTimeoutMs + 100, null, { ref: false })]);
    return response !== null && response.ok && recognise(await response.json());
  } catch {
    return false;
  }
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
