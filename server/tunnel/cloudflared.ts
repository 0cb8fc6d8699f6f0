import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

export type TunnelMode = 'quick' | 'named';

/**
 * The arguments of cloudflared. A named tunnel's token is in a file: arguments are in every list of processes (D7). The
 * metrics stay on loopback, where they say whether it is connected.
 */
export function tunnelArgs(tunnel: {
  mode: TunnelMode;
  metricsPort: number;
  localPort: number;
  tokenFile: string;
}): string[] {
  const { mode, metricsPort, localPort, tokenFile } = tunnel;
  const common = ['tunnel', '--no-autoupdate', '--metrics', `127.0.0.1:${metricsPort}`];
  return mode === 'quick'
    ? [...common, '--url', `http://127.0.0.1:${localPort}`]
    : [...common, '--url', `http://127.0.0.1:${localPort}`, 'run', '--token-file', tokenFile];
}

/** Where the program is: as it was set, where its Windows installer says, or on the PATH. Null when it is nowhere. */
export async function findCloudflared(
  set: string | null,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string | null> {
  const name = process.platform === 'win32' ? 'cloudflared.exe' : 'cloudflared';
  const folders = [env['CFDPATH'], ...(env['PATH'] ?? '').split(delimiter)].filter(Boolean);
  const places = set === null ? folders.map((folder) => join(folder ?? '', name)) : [set];
  for (const place of places) {
    const isThere = await access(place, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return place;
  }
  return null;
}
