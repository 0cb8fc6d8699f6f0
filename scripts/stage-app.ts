import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/*
 * Puts together in build/app what the desktop app is packed from: the shell, the server and gpu as JavaScript, the pages,
 * icons and defaults, and a manifest with the dependencies that run.
 */
const root = fileURLToPath(new URL('..', import.meta.url));
const app = join(root, 'build/app');
const run = (name: string, args: string[]): unknown =>
  execFileSync(process.execPath, [join(root, 'node_modules', name), ...args], {
    cwd: root,
    stdio: 'inherit',
  });

rmSync(app, { recursive: true, force: true });
mkdirSync(app, { recursive: true });
run('typescript/bin/tsc', ['-p', 'tsconfig.app.json']);
execFileSync(process.execPath, [join(root, 'scripts/make-icons.ts')], { stdio: 'inherit' });
for (const [from, to] of [
  ['build/console', 'build/console'],
  ['build/icons', 'build/icons'],
  ['resources/defaults', 'resources/defaults'],
  ['server/db/migrations', 'server/db/migrations'],
  ['electron/starting.html', 'electron/starting.html'],
  ['LICENSE', 'LICENSE'],
] as const)
  cpSync(join(root, from), join(app, to), { recursive: true });
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, unknown>;
const { name, version, description, license, type, dependencies, allowScripts } = manifest;
writeFileSync(
  join(app, 'package.json'),
  `${JSON.stringify(
    {
      name,
      productName: 'Kilnhouse',
      version,
      description,
      author: 'Kilnhouse',
      license,
      type,
      main: 'electron/main.js',
      dependencies,
      allowScripts,
    },
    null,
    2,
  )}\n`,
);
