// Runs a command of this project on a machine that has only Node (20 or newer) and npm.
//
//   node scripts/bootstrap.mjs [--keep] <command> [args...]
//
// Installs the locked dependencies when they are missing or the lockfile changed, builds the pages when their sources
// changed, then runs the command with the project's own Node (the `node` package) first on the PATH. With --keep, a
// command that dies or ends with code 75 is started again (keep-running.mjs). Uses only built-ins that Node 20 has.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { keepRunning } from './keep-running.mjs';

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

const stamp = hashOf(['package-lock.json']);
if (!isStamped(stampFile, stamp) || !existsSync(join(modules, '.bin'))) await install();

const pagesStampFile = join(root, 'build', 'console', '.built-from');
const pagesStamp = hashOf([
  'package-lock.json',
  'vite.config.ts',
  ...filesIn('renderer'),
  ...filesIn('server/contract'),
]);
if (!isStamped(pagesStampFile, pagesStamp)) await build();

const given = process.argv.slice(2);
const isKept = given[0] === '--keep';
const [command, ...args] = isKept ? given.slice(1) : given;
if (command)
  process.exitCode = isKept
    ? await keepRunning(() => launch(command, args, { KILNHOUSE_RESTARTS: '1' }))
    : await run(command, args);

function isStamped(file, wanted) {
  return existsSync(file) && readFileSync(file, 'utf8') === wanted;
}

/** Of files' names and contents. */
function hashOf(paths) {
  const hash = createHash('sha256');
  for (const path of paths) hash.update(`${path}\n`).update(readFileSync(join(root, path)));
  return hash.digest('hex');
}

function filesIn(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
    .toSorted();
}

/** The console's pages, from their sources. */
async function build() {
  const code = await run('vite', ['build', '--logLevel', 'warn']);
  if (code !== 0)
    fail(`the pages could not be built (vite ended with code ${code}).`, 'Its output above says why.');
  writeFileSync(pagesStampFile, pagesStamp);
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
      'Most often the npm registry could not be reached or the disk is full (about 1.7 GB is needed).\n' +
        'Run "npm ci" in this folder to see all of its output, then start again.',
    );
  }
  writeFileSync(stampFile, stamp);
  console.error(`Installed in ${Math.round((Date.now() - began) / 1000)} s.`);
}

/** Starts a command with the project's binaries first on the PATH, and with `more` in its environment. */
function launch(name, argv, more = {}) {
  const env = { ...process.env, ...more };
  const pathKey = Object.keys(env).find((key) => key.toUpperCase() === 'PATH') ?? 'PATH';
  env[pathKey] = join(modules, '.bin') + delimiter + (env[pathKey] ?? '');
  // Compiled code is kept, so that the next start is quicker by a quarter.
  env.NODE_COMPILE_CACHE ??= join(modules, '.cache', 'compiled');
  // npm is a script on Windows, which only a shell can start; the arguments are ours alone.
  return spawn(name, argv, { cwd: root, env, stdio: 'inherit', shell: windows });
}

/** Runs a command; resolves to its exit code. */
function run(name, argv) {
  return new Promise((resolve) => {
    const child = launch(name, argv);
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
