import { spawnSync } from 'node:child_process';
import { findChromium } from './chromium.ts';

/* What the tests need beside npm's packages. On a machine of nobody's (CI, a container: root, with apt) it is installed. */
if (findChromium() === null) install('chromium');

function install(name: string): void {
  const canInstall = process.getuid?.() === 0 && spawnSync('apt-get', ['--version']).status === 0;
  if (!canInstall)
    fail(
      `The browser tests need ${name}. Install it (Debian: sudo apt-get install ${name}), or name it in CHROMIUM.`,
    );
  console.error(`Installing ${name} for the browser tests...`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  for (const args of [['update'], ['install', '-y', '--no-install-recommends', name]]) {
    const { status, stderr } = spawnSync('apt-get', ['-qq', ...args], { env, encoding: 'utf8' });
    if (status !== 0) fail(`apt-get ${args.join(' ')} failed: ${stderr.slice(-2_000)}`);
  }
  if (findChromium() === null) fail(`${name} was installed and is not found.`);
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
