import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'microsoft-edge'];

/** The place of a Chromium: what CHROMIUM says, or the first on the PATH; null where there is none. */
export function findChromium(env: NodeJS.ProcessEnv = process.env): string | null {
  const { CHROMIUM: given, PATH = '' } = env;
  const places = [
    ...(given ? [given] : []),
    ...names.flatMap((name) => PATH.split(delimiter).map((folder) => join(folder, name))),
  ];
  return places.find(isProgram) ?? null;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
