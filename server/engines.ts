import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Engine } from '../gpu/engines/engine.ts';
import { LlamaCpp } from '../gpu/engines/llama-cpp/adapter.ts';
import { LmStudio } from '../gpu/engines/lm-studio/adapter.ts';
import { LmsCli } from '../gpu/engines/lm-studio/lms.ts';
import { chooseProfile, type ProfileOverrides } from '../gpu/engines/profiles.ts';
import { Webui } from '../gpu/engines/webui/adapter.ts';
import type { Supervisor } from '../gpu/supervisor/supervisor.ts';
import type { Config } from './config/config.ts';
import type { Found } from './config/discovery.ts';
import type { DemoMachine } from './demo/demo.ts';

export interface EngineSetup {
  readonly config: Config;
  readonly found: Found;
  readonly demo: DemoMachine | null;
  readonly supervisor: Supervisor;
  readonly dataFolder: string;
  readonly modelsFolder: string;
  /** The VRAM the launch profiles are chosen for. */
  readonly totalBytes: number;
}

/** The engines of this machine: the found ones, or the stand-ins, and the built-in one where there are files for it. */
export function enginesFor(setup: EngineSetup): Engine[] {
  const { found, demo, config } = setup;
  return [
    ...(demo || found.lmStudio ? [lmStudio(setup)] : []),
    ...(demo || found.webui ? [webui(setup)] : []),
    ...(config.llamaCpp.enabled && found.ggufFiles ? [llamaCpp(setup)] : []),
  ];
}

function lmStudio({ config, found, demo, supervisor, totalBytes }: EngineSetup): Engine {
  const settings = config.lmStudio;
  const lmsPath = demo?.lmsPath ?? found.lmStudio?.lmsPath ?? null;
  // The mark lets the keeper end the daemon that lms leaves behind when it was started for us.
  const mark = 'lm-studio:daemon';
  return new LmStudio({
    id: 'lm-studio',
    port: demo?.lmStudioPort ?? settings.port,
    lms: lmsPath === null ? null : new LmsCli({ path: lmsPath, env: supervisor.envFor(mark) }),
    apiToken: demo ? null : settings.apiToken,
    profile: chooseProfile('text', totalBytes, overrides(settings)),
    loadsByCli: settings.gpuRatio !== null || settings.slots !== null,
    demo: demo !== null,
    onDaemon: (pid) => supervisor.guard(pid, mark),
  });
}

function webui({ config, found, demo, supervisor, totalBytes }: EngineSetup): Engine {
  const settings = config.webui;
  const profile = chooseProfile(settings.flavour === 'forge' ? 'forge' : 'webui', totalBytes, {
    args: settings.args,
  });
  const { folder = null, python = null, port = settings.port } = found.webui ?? {};
  return new Webui({
    id: 'webui',
    port: demo?.webuiPort ?? port,
    flavour: demo ? 'automatic1111' : settings.flavour,
    launch: demo?.webui ?? (folder !== null && python !== null ? { command: python, folder } : null),
    auth: demo ? null : settings.auth,
    profile,
    supervisor,
    demo: demo !== null,
  });
}

function llamaCpp({ config, supervisor, dataFolder, modelsFolder, totalBytes }: EngineSetup): Engine {
  return new LlamaCpp({
    id: 'llama-cpp',
    modelsFolder,
    runFolder: socketFolder(dataFolder),
    profile: chooseProfile('text', totalBytes, overrides(config.llamaCpp)),
    supervisor,
  });
}

function overrides({
  slots,
  contextLength,
  gpuRatio,
}: Config['llamaCpp'] | Config['lmStudio']): ProfileOverrides {
  return { slots, contextLength, gpuRatio };
}

/** A Unix socket's path has about a hundred bytes at most. */
function socketFolder(dataFolder: string): string {
  const folder = join(dataFolder, 'run');
  if (folder.length < 80) return folder;
  return join(tmpdir(), `kilnhouse-${createHash('sha256').update(dataFolder).digest('hex').slice(0, 12)}`);
}
