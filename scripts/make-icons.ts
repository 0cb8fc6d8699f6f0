import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';

/* Draws the icons of the desktop app from resources/icons into build/icons. */
const root = fileURLToPath(new URL('..', import.meta.url));
const from = join(root, 'resources/icons');
const to = join(root, 'build/icons');

const inks = { light: '#2b2522', dark: '#efe9e4' } as const;
const flames = { ok: '#2f9e76', busy: '#ee7d26', paused: '#3f8fd2', trouble: '#d64545' } as const;

mkdirSync(to, { recursive: true });
// electron-builder makes .ico and .icns of it.
await sharp(join(from, 'kilnhouse.svg'), { density: 1_152 }).resize(1024).png().toFile(join(to, 'icon.png'));
const tray = readFileSync(join(from, 'tray.svg'), 'utf8');
for (const [scheme, ink] of Object.entries(inks)) {
  for (const [mood, flame] of Object.entries(flames)) {
    const svg = Buffer.from(tray.replaceAll('INK', ink).replaceAll('FLAME', flame));
    for (const [end, size] of [
      ['', 22],
      ['@2x', 44],
    ] as const) {
      await sharp(svg, { density: 400 })
        .resize(size)
        .png()
        .toFile(join(to, `tray-${mood}-${scheme}${end}.png`));
    }
  }
}
