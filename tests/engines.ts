import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Engine } from '../gpu/engines/engine.ts';
import { LlamaCpp } from '../gpu/engines/llama-cpp/adapter.ts';
import { LmStudio } from '../gpu/engines/lm-studio/adapter.ts';
import { LmsCli } from '../gpu/engines/lm-studio/lms.ts';
import { chooseProfile } from '../gpu/engines/profiles.ts';
import { Webui } from '../gpu/engines/webui/adapter.ts';
import type { HttpLimits } from '../gpu/engines/http.ts';
import { processes } from '../gpu/supervisor/processes.ts';
import { Supervisor } from '../gpu/supervisor/supervisor.ts';
import { tinyGguf } from '../scripts/make-tiny-gguf.ts';
import { prepareDemo } from '../server/demo/demo.ts';

const card = 8 * 1024 ** 3;

/** A machine with all engines, in a folder of its own: stand-ins, and the real llama.cpp with a tiny model. */
export async function testMachine(limits: Partial<HttpLimits> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-engines-'));
  const demo = await prepareDemo(join(folder, 'demo'), 40);
  const supervisor = new Supervisor({
    owner: `engines-${folder}`,
    rosterFile: join(folder, 'roster.json'),
    processes,
  });
  const models = join(folder, 'models');
  mkdirSync(models);
  writeFileSync(join(models, 'tiny.gguf'), tinyGguf());

  const lmStudio = (own = true, slots: number | null = null): Engine =>
    new LmStudio({
      id: 'lm-studio',
      port: demo.lmStudioPort,
      lms: own ? new LmsCli({ path: demo.lmsPath, env: supervisor.envFor('lm-studio:daemon') }) : null,
      apiToken: null,
      profile: chooseProfile('text', card, { slots }),
      loadsByCli: slots !== null,
      demo: true,
      limits,
      onDaemon: (pid) => supervisor.guard(pid, 'lm-studio:daemon'),
    });
  const webui = (flavour = 'automatic1111', own = true): Engine =>
    new Webui({
      id: 'webui',
      port: demo.webuiPort,
      flavour: null,
      launch: own ? { ...demo.webui, args: [...demo.webui.args, '--flavour', flavour] } : null,
      auth: null,
      profile: chooseProfile('webui', card),
      supervisor,
      demo: true,
      limits,
    });
  const llamaCpp = (): Engine =>
    new LlamaCpp({
      id: 'llama-cpp',
      modelsFolder: models,
      runFolder: join(folder, 'run'),
      profile: chooseProfile('text', card, { contextLength: 512, slots: 2 }),
      supervisor,
      limits,
    });
  return {
    lmStudio,
    webui,
    llamaCpp,
    modelsFolder: models,
    faults: (words: string) => writeFileSync(join(folder, 'demo', 'faults'), words),
    close: () => supervisor.close(),
  };
}
export type TestMachine = Awaited<ReturnType<typeof testMachine>>;
