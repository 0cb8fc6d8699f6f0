import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/* npm run desktop: the desktop app from the sources. Electron's binary is fetched the first time. */
await import('./stage-app.ts');
const electron = findElectron();
const app = fileURLToPath(new URL('../build/app', import.meta.url));
const env: NodeJS.ProcessEnv = { ...process.env, KILNHOUSE_NODE: process.execPath };
delete env['ELECTRON_RUN_AS_NODE'];
const child = spawn(electron, [app, ...process.argv.slice(2)], { stdio: 'inherit', env });
child.on('exit', (code) => (process.exitCode = code ?? 1));

/** The package gives the place of its binary, and fetches it where it is not there yet. */
function findElectron(): string {
  try {
    return createRequire(import.meta.url)('electron') as string;
  } catch (error) {
    console.error(
      `Electron’s binary could not be had: ${error instanceof Error ? error.message : String(error)}\n` +
        'The console opens in a browser as well: npm start prints a link to it.',
    );
    process.exit(1);
  }
}
