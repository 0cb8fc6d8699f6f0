import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { findInstalls } from './installs.ts';

let home = '';
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'kilnhouse-home-'));
});
const put = (...paths: string[]): void => {
  for (const path of paths) {
    const place = join(home, path);
    mkdirSync(dirname(place), { recursive: true });
    if (path.endsWith('/')) mkdirSync(place, { recursive: true });
    else writeFileSync(place, '');
  }
};
const found = () =>
  findInstalls({ roots: [home], path: join(home, 'bin') }).map(
    ({ kind, path }) => `${kind} ${path.slice(home.length + 1)}`,
  );

test('each is told by what lies in its folder, under any name', () => {
  put('pictures/launch.py', 'pictures/webui.py', 'pictures/modules/');
  put('forge/launch.py', 'forge/webui.py', 'forge/modules/', 'forge/modules_forge/');
  put('sdnext/launch.py', 'sdnext/webui.py', 'sdnext/installer.py', 'sdnext/modules/');
  put('ai/ComfyUI/main.py', 'ai/ComfyUI/nodes.py', 'ai/ComfyUI/comfy/');
  put('bin/sd-server');
  expect(found().toSorted()).toEqual([
    'automatic1111 pictures',
    `comfyui ${join('ai', 'ComfyUI')}`,
    'forge forge',
    `sd-server ${join('bin', 'sd-server')}`,
    'sdnext sdnext',
  ]);
});

test('what only looks like one is none, and folders that cannot be read are passed over', () => {
  put(
    'stable-diffusion-webui/webui.py',
    '.hidden/main.py',
    '.hidden/nodes.py',
    '.hidden/comfy/',
    'docs/notes.txt',
  );
  expect(found()).toEqual([]);
  expect(findInstalls({ roots: [join(home, 'nowhere')], path: '' })).toEqual([]);
});
