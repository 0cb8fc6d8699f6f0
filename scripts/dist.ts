import { execFileSync } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/* npm run dist: installers of the desktop app for this system, in build/dist. Electron's binary has to be reachable. */
await import('./stage-app.ts');
const root = fileURLToPath(new URL('..', import.meta.url));
const app = join(root, 'build/app');
const shell = process.platform === 'win32';
cpSync(join(root, 'package-lock.json'), join(app, 'package-lock.json'));
// Only what runs: the lockfile holds for the versions.
execFileSync('npm', ['install', '--omit=dev', '--no-audit', '--no-fund'], {
  cwd: app,
  stdio: 'inherit',
  shell,
});
execFileSync(
  'npx',
  ['electron-builder', '--config', 'electron-builder.config.mjs', ...process.argv.slice(2)],
  {
    cwd: root,
    stdio: 'inherit',
    shell,
  },
);
