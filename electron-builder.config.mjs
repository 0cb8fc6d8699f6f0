import { readFileSync } from 'node:fs';
import afterPack from './scripts/fuses.ts';

/* The desktop app, packed from build/app (scripts/stage-app.ts): npm run dist */
const lock = JSON.parse(readFileSync(new URL('package-lock.json', import.meta.url), 'utf8'));
const updates = process.env['KILNHOUSE_UPDATES'];

/** @type {import('electron-builder').Configuration} */
export default {
  appId: 'org.kilnhouse.desktop',
  productName: 'Kilnhouse',
  directories: { app: 'build/app', output: 'build/dist', buildResources: 'build/icons' },
  electronVersion: lock.packages['node_modules/electron'].version,
  // Native modules speak Node-API: they are the same for Electron.
  npmRebuild: false,
  afterPack,
  asar: true,
  // Programs of our own run in the Node that comes with the app, which cannot look into an archive.
  asarUnpack: ['server/**', 'gpu/**', 'resources/**', 'build/console/**', 'package.json', 'node_modules/**'],
  files: ['**/*', '!**/*.{ts,map}'],
  extraResources: [{ from: 'node_modules/node/bin', to: 'node' }],
  icon: 'build/icons/icon.png',
  win: { target: 'nsis' },
  nsis: { oneClick: false, perMachine: false, allowToChangeInstallationDirectory: true },
  linux: {
    target: ['AppImage', 'deb'],
    category: 'Development',
    maintainer: 'Kilnhouse',
    synopsis: 'Shares one GPU among many',
  },
  mac: { target: 'dmg', category: 'public.app-category.developer-tools', hardenedRuntime: true },
  // Where updates are looked for: said by whoever publishes them. Without it the app looks for none.
  publish: updates ? { provider: 'generic', url: updates } : null,
};
