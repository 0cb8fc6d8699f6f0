import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

/** A program for images that lies on this machine, whether it runs or not. */
export interface Install {
  readonly kind: 'automatic1111' | 'forge' | 'sdnext' | 'comfyui' | 'sd-server';
  readonly path: string;
}

/** What a folder has to hold to be one of them; the first that fits is it: Forge is AUTOMATIC1111 and more. */
const marks: readonly (readonly [Exclude<Install['kind'], 'sd-server'>, readonly string[]])[] = [
  ['forge', ['launch.py', 'webui.py', 'modules_forge']],
  ['sdnext', ['launch.py', 'webui.py', 'installer.py']],
  ['automatic1111', ['launch.py', 'webui.py', 'modules']],
  ['comfyui', ['main.py', 'nodes.py', 'comfy']],
];

/** Looks where people put them: two levels under their home and the roots of drives. Nothing is started. */
export function findInstalls({
  roots = usualRoots(),
  path = process.env['PATH'] ?? '',
}: { roots?: readonly string[]; path?: string } = {}): Install[] {
  const found = new Map<string, Install>();
  for (const root of roots) {
    for (const folder of foldersIn(root)) {
      for (const candidate of [folder, ...foldersIn(folder).filter(isLikely)]) {
        const kind = kindOf(candidate);
        if (kind !== null) found.set(candidate, { kind, path: candidate });
      }
    }
  }
  for (const folder of path.split(delimiter)) {
    for (const name of ['sd-server', 'sd-server.exe']) {
      const program = join(folder, name);
      if (folder !== '' && existsSync(program)) found.set(program, { kind: 'sd-server', path: program });
    }
  }
  return [...found.values()];
}

function kindOf(folder: string): Exclude<Install['kind'], 'sd-server'> | null {
  const mark = marks.find(([, names]) => names.every((name) => existsSync(join(folder, name))));
  return mark?.[0] ?? null;
}

/** One level down only names are looked into that such programs have. */
function isLikely(folder: string): boolean {
  return /stable|diffusion|webui|forge|comfy|sd[._-]?next|automatic/i.test(
    folder.split(/[/\\]/).at(-1) ?? '',
  );
}

function foldersIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.') && entry.name !== 'node_modules')
      .map(({ name }) => join(folder, name));
  } catch {
    return [];
  }
}

function usualRoots(): string[] {
  const home = homedir();
  const drives = process.platform === 'win32' ? ['C:\\', 'D:\\', 'E:\\'] : ['/opt'];
  // StabilityMatrix keeps what it installs there.
  const managed = join(
    process.env['APPDATA'] ?? join(home, '.local', 'share'),
    'StabilityMatrix',
    'Packages',
  );
  return [home, managed, ...drives];
}
