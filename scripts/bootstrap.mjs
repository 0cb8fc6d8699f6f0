// Runs a command of this project on a machine that has only Node (20 or newer) and npm.
//
//   node scripts/bootstrap.mjs <command> [args...]
//
// Installs the locked dependencies when they are missing or the lockfile changed, then runs the command with
// the project's own Node (the `node` package) first on the PATH. Uses only built-ins that Node 20 has.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const modules = join(root, 'node_modules');
const stampFile = join(modules, '.kilnhouse-install');
const windows = process.platform === 'win32';

const [major] = process.versions.node.split('.').map(Number);
if (major < 20) {
  fail(
    `Node 20 or newer is needed; this is ${process.version}.`,
    'Install a current Node from https://nodejs.org.',
  );
}

const stamp = createHash('sha256')
  .update(readFileSync(join(root, 'package-lock.json')))
  .digest('hex');
if (!installed()) await install();

const [command, ...args] = process.argv.slice(2);
if (command) process.exitCode = await run(command, args);

function installed() {
  return (
    existsSync(join(modules, '.bin')) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp
  );
}

/** `npm ci`, with its output shown while it works and explained if it fails. */
async function install() {
  const began = Date.now();
  console.error('Installing the dependencies (once; about a minute, most of it the built-in text engine)...');
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
  const code = await run('npm', ['ci', ...quiet]);
  if (code !== 0) {
    fail(
      `npm ci failed with code ${code}.`,
      'Most often the npm registry could not be reached or the disk is full (about 1.5 GB is needed).\n' +
        'Run "npm ci" in this folder to see all of its output, then start again.',
    );
  }
  writeFileSync(stampFile, stamp);
  console.error(`Installed in ${Math.round((Date.now() - began) / 1000)} s.`);
}

/** Runs a command with the project's binaries first on the PATH; resolves to its exit code. */
function run(name, argv) {
  return new Promise((resolve) => {
    const env = { ...process.env };
    const pathKey = Object.keys(env).find((key) => key.toUpperCase() === 'PATH') ?? 'PATH';
    env[pathKey] = join(modules, '.bin') + delimiter + (env[pathKey] ?? '');
    // Compiled code is kept, so that the next start is quicker by a quarter.
    env.NODE_COMPILE_CACHE ??= join(modules, '.cache', 'compiled');
    // npm is a script on Windows, which only a shell can start; the arguments are ours alone.
    const child = spawn(name, argv, { cwd: root, env, stdio: 'inherit', shell: windows });
    const forward = (signal) => child.kill(signal);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, forward);
    child.on('error', (error) =>
      fail(`"${name}" could not be started: ${error.message}`, 'Is npm installed?'),
    );
    child.on('exit', (code, signal) => {
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.removeListener(name, forward);
      resolve(code ?? (signal ? 1 : 0));
    });
  });
}

function fail(what, advice) {
  console.error(`\nKilnhouse could not start: ${what}\n${advice}`);
  process.exit(1);
}
