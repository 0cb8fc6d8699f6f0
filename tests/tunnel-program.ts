import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A cloudflared to be found: its place, and the file that it takes orders from. */
export function makeCloudflared(): { cloudflared: string; control: string } {
  const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-tunnel-'));
  const cloudflared = join(folder, 'cloudflared');
  const control = join(folder, 'control');
  const program = fileURLToPath(new URL('cloudflared.ts', import.meta.url));
  writeFileSync(cloudflared, `#!${process.execPath}\nimport(${JSON.stringify(program)});\n`);
  chmodSync(cloudflared, 0o755);
  writeFileSync(control, '{}');
  return { cloudflared, control };
}
