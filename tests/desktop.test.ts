import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules, createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Ajv } from 'ajv';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ApplianceLink } from '../electron/appliance-link.ts';
import type { LiveState } from '../server/contract/console.ts';
import { TestAppliance } from './appliance.ts';
import config from '../electron-builder.config.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const app = join(root, 'build/app');

beforeAll(() => {
  execFileSync(process.execPath, [join(root, 'scripts/stage-app.ts')], { cwd: root });
});

describe('what the desktop app is packed from', () => {
  test('has everything that is imported when it runs', () => {
    const manifest = JSON.parse(readFileSync(join(app, 'package.json'), 'utf8')) as {
      main: string;
      dependencies: Record<string, string>;
    };
    expect(existsSync(join(app, manifest.main))).toBe(true);
    const files = readdirSync(app, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.js') && !path.startsWith(join('build', 'console')))
      .map((path) => join(app, path));
    expect(files.length).toBeGreaterThan(200);
    const missing: string[] = [];
    let seen = 0;
    for (const file of files) {
      const text = readFileSync(file, 'utf8');
      const imported = text.matchAll(
        /(?:^|\n)\s*(?:import|export)\b[^;'"]*?from\s*'([^']+)'|\bimport\(\s*'([^']+)'|(?:^|\n)import '([^']+)'/g,
      );
      for (const [, from, called, bare] of imported) {
        const name = from ?? called ?? bare ?? '';
        seen += 1;
        if (name.startsWith('node:') || builtinModules.includes(name) || name === 'electron') continue;
        const isThere = name.startsWith('.')
          ? existsSync(join(dirname(file), name))
          : packageOf(name) in manifest.dependencies;
        if (!isThere) missing.push(`${file}: ${name}`);
      }
      for (const [, name = ''] of text.matchAll(/programBeside\(import\.meta\.url, '([^']+)'\)/g))
        if (!existsSync(join(dirname(file), `${name}.js`))) missing.push(`${file}: ${name}`);
      for (const [, name = ''] of text.matchAll(/new URL\('([^']+)', import\.meta\.url\)/g))
        if (!existsSync(join(dirname(file), name))) missing.push(`${file}: ${name}`);
    }
    expect(missing).toEqual([]);
    expect(seen).toBeGreaterThan(1_000);
  });

  test('and nothing of the tests, nor of TypeScript', () => {
    const files = readdirSync(app, { recursive: true, encoding: 'utf8' });
    expect(files.filter((path) => /\.test\.|\.tsx?$|fixture/.test(path))).toEqual([]);
  });

  test('its icons: one for every mood and scheme, at both sizes', async () => {
    for (const mood of ['ok', 'busy', 'paused', 'trouble'])
      for (const scheme of ['light', 'dark'])
        for (const [end, width] of [
          ['', 22],
          ['@2x', 44],
        ] as const)
          expect(
            await sharp(join(app, `build/icons/tray-${mood}-${scheme}${end}.png`)).metadata(),
          ).toMatchObject({
            width,
            height: width,
            hasAlpha: true,
          });
    expect(await sharp(join(app, 'build/icons/icon.png')).metadata()).toMatchObject({ width: 1024 });
  });

  test('is described to electron-builder as its own schema wants it', () => {
    const builder = createRequire(createRequire(import.meta.url).resolve('electron-builder'));
    const schema = builder('app-builder-lib/scheme.json') as object;
    const validate = new Ajv({ strict: false, allErrors: true }).compile(schema);
    const { afterPack, ...data } = config;
    expect(afterPack).toBeTypeOf('function');
    const isValid = validate(data);
    expect(validate.errors ?? []).toEqual([]);
    expect(isValid).toBe(true);
    expect(validate({ ...data, asarUnpak: [] }), 'and would be told of a mistake').toBe(false);
  });

  test('serves, as JavaScript: a picture, whose work is done in a process of its own, and the console', async () => {
    const appliance = await TestAppliance.start({ program: join(app, 'server/main.js') });
    await appliance.ready();
    const body = { prompt: 'a kiln', size: '64x64', steps: 2 };
    const { data } = (await (await appliance.post('/api/v1/jobs/image-generation', body)).json()) as {
      data: { urls: { get: string } };
    };
    await vi.waitFor(
      async () =>
        expect(((await (await appliance.get(data.urls.get)).json()) as { data: object }).data).toMatchObject({
          state: 'succeeded',
        }),
      { timeout: 20_000 },
    );
    expect(await (await fetch(appliance.operatorUrl)).text()).toContain('<title>Kilnhouse</title>');
    expect(await appliance.stop()).toBe(0);
  });
});

describe('the shell’s way into the appliance', () => {
  let appliance: TestAppliance;
  let link: ApplianceLink;
  let state: LiveState | null = null;
  beforeAll(async () => {
    appliance = await TestAppliance.start({ speed: 40 });
    await appliance.ready();
    link = new ApplianceLink((now) => (state = now));
  });
  afterAll(async () => {
    link.close();
    await appliance.stop();
  });
  const serving = async () => {
    const { operatorUrl, tenantUrl } = appliance;
    const { url } = await appliance.operator('/api/session/links', 'POST');
    return { type: 'serving', operatorUrl, tenantUrl, link: url } as const;
  };

  test('follows the state, does what the tray says, and makes links for windows', async () => {
    link.follow(await serving());
    await vi.waitFor(() => expect(state).toMatchObject({ gpu: { mode: 'running' }, demo: true }), 5_000);
    await link.call('POST', '/api/pause', { minutes: 60 });
    await vi.waitFor(() => expect(state?.gpu.mode).toBe('paused'), 5_000);
    await link.call('POST', '/api/resume');
    await vi.waitFor(() => expect(state?.gpu.mode).toBe('running'), 5_000);
    await expect(link.call('POST', '/api/models/no-such/load')).rejects.toThrow('no-such');
    expect(await link.consoleLink()).toMatch(new RegExp(`^${appliance.operatorUrl}/#/enter/`));
  });

  test('says when the appliance is gone, and follows the next one', async () => {
    await appliance.kill();
    await vi.waitFor(() => expect(state).toBeNull(), 5_000);
    appliance = await TestAppliance.start({ folder: mkdtempSync(join(tmpdir(), 'kilnhouse-')), speed: 40 });
    link.follow(await serving());
    await vi.waitFor(() => expect(state).not.toBeNull(), 5_000);
  });
});

function packageOf(name: string): string {
  return name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/');
}
