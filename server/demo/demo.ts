import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodePath, programBeside } from '../../gpu/program.ts';
import { freePorts } from '../free-ports.ts';

/** Where the stand-ins are, and how they are started: what discovery would have found of real engines. */
export interface DemoMachine {
  /** Holds `nvidia-smi` and `lms`. */
  readonly binFolder: string;
  readonly lmsPath: string;
  readonly lmStudioPort: number;
  readonly webuiPort: number;
  readonly webui: {
    command: string;
    folder: string;
    args: readonly string[];
    env: Readonly<Record<string, string>>;
  };
}

/**
 * Sets up a machine of stand-ins in a folder: an 8 GB card, LM Studio with its command, and a web UI. The appliance
 * then runs its real adapters, probes and supervisor against them.
 */
export async function prepareDemo(folder: string, speed: number): Promise<DemoMachine> {
  const binFolder = join(folder, 'bin');
  mkdirSync(binFolder, { recursive: true });
  const env = { STANDIN_DIR: folder, STANDIN_SPEED: String(speed) };
  writeCommand(binFolder, 'nvidia-smi', scriptOf('nvidia-smi'), env);
  const lmsPath = writeCommand(binFolder, 'lms', scriptOf('lm-studio/lms'), env);
  const [lmStudioPort = 0, webuiPort = 0] = await freePorts(2);
  return {
    binFolder,
    lmsPath,
    lmStudioPort,
    webuiPort,
    webui: {
      command: nodePath,
      folder,
      args: [scriptOf('webui/server'), '--port', String(webuiPort)],
      env,
    },
  };
}

/** A small program that starts a script with our own Node and the stand-ins' settings. Returns its path. */
function writeCommand(
  folder: string,
  name: string,
  script: string,
  env: Readonly<Record<string, string>>,
): string {
  const settings = Object.entries(env);
  if (process.platform === 'win32') {
    const path = join(folder, `${name}.cmd`);
    const lines = settings.map(([key, value]) => `@set "${key}=${value}"`);
    writeFileSync(path, [...lines, `@"${nodePath}" "${script}" %*`, ''].join('\r\n'));
    return path;
  }
  const path = join(folder, name);
  const exports = settings.map(([key, value]) => `export ${key}=${quote(value)}`);
  writeFileSync(
    path,
    ['#!/bin/sh', ...exports, `exec ${quote(nodePath)} ${quote(script)} "$@"`, ''].join('\n'),
  );
  chmodSync(path, 0o755);
  return path;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function scriptOf(name: string): string {
  return programBeside(import.meta.url, `../../gpu/stand-ins/${name}`);
}
