import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { faultNames } from '../gpu/stand-ins/faults.ts';

/* The rules of the house, held by machine. */
const root = fileURLToPath(new URL('..', import.meta.url));
const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file && existsSync(join(root, file)));
const sources = tracked.filter((file) => file.endsWith('.ts'));

/** What the linter finds in a small tree with the project's own settings. */
function lint(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-lint-'));
  cpSync(join(root, '.oxlintrc.json'), join(folder, '.oxlintrc.json'));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), text);
  }
  try {
    return execFileSync(join(root, 'node_modules/.bin/oxlint'), ['--format', 'unix'], {
      cwd: folder,
      encoding: 'utf8',
    });
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

describe('layers: a planted violation of each rule is found', () => {
  const exported = 'export const x = 1;\n';
  test.each<[string, Record<string, string>]>([
    [
      'gpu imports the server',
      { 'gpu/a.ts': "import { x } from '../server/b.ts';\nexport const y = x;\n", 'server/b.ts': exported },
    ],
    [
      'gpu imports a type of the server',
      {
        'gpu/a.ts': "import type { X } from '../server/b.ts';\nexport type Y = X;\n",
        'server/b.ts': 'export type X = 1;\n',
      },
    ],
    ['gpu imports Fastify', { 'gpu/a.ts': "import fastify from 'fastify';\nexport const y = fastify;\n" }],
    [
      'gpu imports SQL',
      { 'gpu/a.ts': "import Database from 'better-sqlite3';\nexport const y = Database;\n" },
    ],
    [
      'the contract imports the server',
      {
        'server/contract/a.ts': "import { x } from '../b.ts';\nexport const y = x;\n",
        'server/b.ts': exported,
      },
    ],
    [
      'the contract imports Node',
      { 'server/contract/a.ts': "import { join } from 'node:path';\nexport const y = join;\n" },
    ],
    [
      'the server imports Electron',
      { 'server/a.ts': "import { app } from 'electron';\nexport const y = app;\n" },
    ],
    [
      'the server imports a test',
      { 'server/a.ts': "import { x } from '../tests/b.ts';\nexport const y = x;\n", 'tests/b.ts': exported },
    ],
    [
      'a page imports the server',
      {
        'renderer/a.ts': "import { x } from '../server/b.ts';\nexport const y = x;\n",
        'server/b.ts': exported,
      },
    ],
    [
      'a page imports Node',
      { 'renderer/a.ts': "import { join } from 'node:path';\nexport const y = join;\n" },
    ],
    [
      'the shell imports a page',
      {
        'electron/a.ts': "import { x } from '../renderer/b.ts';\nexport const y = x;\n",
        'renderer/b.ts': exported,
      },
    ],
    [
      'the shell imports gpu',
      { 'electron/a.ts': "import { x } from '../gpu/b.ts';\nexport const y = x;\n", 'gpu/b.ts': exported },
    ],
    ['a test imports Electron', { 'tests/a.ts': "import { app } from 'electron';\nexport const y = app;\n" }],
    [
      'two files import each other',
      {
        'server/a.ts': "import { y } from './b.ts';\nexport const x = (): number => y();\n",
        'server/b.ts': "import { x } from './a.ts';\nexport const y = (): number => x();\n",
      },
    ],
  ])('%s', (_, files) => {
    expect(lint(files)).toMatch(/no-restricted-imports|no-cycle/);
  });

  test('and a tree that keeps them is clean', () => {
    expect(
      lint({
        'server/a.ts': "import { x } from '../gpu/b.ts';\nexport const y = x;\n",
        'gpu/b.ts': exported,
        'renderer/a.ts': "import { z } from '../server/contract/c.ts';\nexport const y = z;\n",
        'server/contract/c.ts': 'export const z = 1;\n',
        'electron/a.ts': "import { app } from 'electron';\nexport const y = app;\n",
      }),
    ).not.toMatch(/restricted|cycle/);
  });
});

/**
 * What makes a test depend on how busy the machine is: a measured time or memory. Count events instead, or their order;
 * what is timed is a ratio in bench/ or a test in tests/slow.
 */
const clocks = /performance\s*\.\s*now|hrtime|memoryUsage|VmRSS|expect\(\s*Date\.now\(\)/;

test('no test of the default lane looks at a clock', () => {
  const tests = sources.filter((file) => file.endsWith('.test.ts') && !file.startsWith('tests/slow/'));
  expect(tests.length).toBeGreaterThan(50);
  const found = tests.filter((file) => clocks.test(readFileSync(join(root, file), 'utf8')));
  expect(found.filter((file) => file !== 'tests/tidy.test.ts')).toEqual([]);
});

test.each([
  'const began = performance.now();',
  'expect(Date.now() - began).toBeLessThan(100);',
  'process.hrtime.bigint()',
  'expect(process.memoryUsage().rss).toBeLessThan(1e9)',
])('and one that did would be found: %s', (planted) => {
  expect(planted).toMatch(clocks);
});

test('every route says what it answers, and every one with a body says what it takes', () => {
  for (const file of sources.filter(
    (path) => path.startsWith('server/routes/') && !path.endsWith('live.ts'),
  )) {
    const text = readFileSync(join(root, file), 'utf8');
    const routes = text.split(/\bapp\.(?=get|post|put|patch|delete)\(?/).slice(1);
    for (const route of routes) {
      const head = route.slice(0, route.indexOf('async ('));
      expect(head, `${file}: ${head.slice(0, 60)}`).toMatch(/response/);
    }
  }
});

test('no grab-bag files', () => {
  expect(tracked.filter((file) => /(^|\/)(utils?|helpers?|common|misc|lib)(\.ts$|\/)/.test(file))).toEqual(
    [],
  );
});

test('migrations are numbered from one, without gaps', () => {
  const names = readdirSync(join(root, 'server/db/migrations')).toSorted();
  names.forEach((name, index) =>
    expect(name).toMatch(new RegExp(`^${String(index + 1).padStart(4, '0')}-[a-z-]+\\.sql$`)),
  );
});

test('the list of faults in docs/reliability.md is the list of the stand-ins', () => {
  const document = readFileSync(join(root, 'docs/reliability.md'), 'utf8');
  for (const name of Object.keys(faultNames)) expect(document, name).toContain(`\`${name}\``);
});

test('links in the documents lead somewhere', () => {
  for (const file of tracked.filter((path) => path.endsWith('.md'))) {
    const text = readFileSync(join(root, file), 'utf8');
    for (const [, target = ''] of text.matchAll(/\]\((?!https?:|#|mailto:)([^)#]+)/g)) {
      expect(existsSync(join(root, dirname(file), target)), `${file}: ${target}`).toBe(true);
    }
  }
});

test('the lockfile names no registry', () => {
  expect(readFileSync(join(root, 'package-lock.json'), 'utf8')).not.toContain('"resolved"');
});
