import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { dataFolder } from './config/config.ts';

/* npm run console: a fresh link to the console of the appliance that runs. */
const folder = dataFolder(process.env);
try {
  const address = readFileSync(join(folder, 'run', 'operator-url'), 'utf8').trim();
  const token = readFileSync(join(folder, 'operator-token'), 'utf8').trim();
  const response = await fetch(`${address}/api/session/links`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
  });
  if (!response.ok) throw new Error(`it answered ${response.status}`);
  const { url } = (await response.json()) as { url: string };
  console.log(`\n  ${url}\n\nOpen it in a browser on this machine. It works once, for 15 minutes.`);
} catch (error) {
  const why =
    error instanceof Error
      ? error.cause instanceof Error
        ? error.cause.message
        : error.message
      : String(error);
  console.error(`\nNo appliance answers for ${folder} (${why}). Start it with: npm start`);
  process.exitCode = 1;
}
