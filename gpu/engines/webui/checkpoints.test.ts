import { describe, expect, test } from 'vitest';
import { checkpointNamed, checkpointsOf } from './checkpoints.ts';

const sha = 'bbbbbbbbbb'.padEnd(64, '0');
const fresh = {
  title: 'fresh.safetensors',
  model_name: 'fresh',
  hash: null,
  sha256: null,
  filename: '/m/fresh.safetensors',
};
const hashed = { ...fresh, title: 'fresh.safetensors [bbbbbbbbbb]', hash: 'bbbbbbbbbb', sha256: sha };
const old = {
  title: 'old.safetensors [aaaaaaaaaa]',
  model_name: 'old',
  hash: 'aaaaaaaaaa',
  filename: '/m/old.safetensors',
};
const named = (...list: object[]) => checkpointsOf(list).map(({ key, name }) => [key, name]);

describe('case 1: a checkpoint is its file', () => {
  test('before its first load and after, with a hash in its title, it has one key and one name', () => {
    expect(named(fresh)).toEqual([['fresh.safetensors', 'fresh']]);
    expect(named(hashed)).toEqual(named(fresh));
  });

  test.each([
    [
      'a folder in the title (A1111)',
      { title: 'sd/x.safetensors [bbbbbbbbbb]', model_name: 'sd_x', hash: 'bbbbbbbbbb' },
      ['sd/x.safetensors', 'sd_x'],
    ],
    [
      'no ending in the title (SD.Next)',
      { title: 'x [bbbbbbbbbb]', model_name: 'x', hash: 'bbbbbbbbbb' },
      ['x', 'x'],
    ],
    ['the long hash alone', { title: 'x [bbbbbbbbbb]', model_name: 'x', hash: '', sha256: sha }, ['x', 'x']],
    ['no name beside the title', { title: 'x.safetensors [bbbbbbbbbb]' }, ['x.safetensors', 'x']],
    [
      'brackets that are part of the name',
      { title: 'x [deadbeef]', model_name: 'x [deadbeef]', hash: null },
      ['x [deadbeef]', 'x [deadbeef]'],
    ],
    [
      'brackets that are no hash',
      { title: 'x [final].safetensors', model_name: 'x [final]' },
      ['x [final].safetensors', 'x [final]'],
    ],
  ])('%s', (_, entry, expected) => {
    expect(named(entry)).toEqual([expected]);
  });

  test('two files of one name in two folders are two', () => {
    const of = (folder: string, hash: string | null) => ({
      title: hash === null ? 'x' : `x [${hash}]`,
      model_name: 'x',
      hash,
      filename: `/m/${folder}/x.safetensors`,
    });
    expect(named(of('a', null), of('b', 'bbbbbbbbbb'))).toEqual([
      ['/m/a/x.safetensors', 'a/x'],
      ['/m/b/x.safetensors', 'b/x'],
    ]);
    expect(named(fresh, fresh)).toEqual([['fresh.safetensors', 'fresh']]);
  });

  test.each([
    ['the title of now', hashed.title],
    ['the title of before its hash', fresh.title],
    ['the title with a hash of before', 'fresh.safetensors [cccccccccc]'],
    ['its name', 'fresh'],
    ['its name with the hash', 'fresh [bbbbbbbbbb]'],
    ['its path', '/m/fresh.safetensors'],
    ['its path on Windows', 'D:\\sd\\fresh.safetensors'],
    ['its short hash', 'bbbbbbbbbb'],
    ['its long hash', sha],
  ])('is found by %s, which the engine’s own window may have chosen', (_, name) => {
    expect(checkpointNamed(checkpointsOf([old, hashed]), name)?.key).toBe('fresh.safetensors');
  });

  test('is found by a title with a hash where the list has none yet', () => {
    expect(checkpointNamed(checkpointsOf([old, fresh]), hashed.title)?.key).toBe('fresh.safetensors');
  });

  test.each([['another.safetensors'], ['another.safetensors [dddddddddd]'], ['dddddddddd']])(
    'nothing is %s',
    (name) => {
      expect(checkpointNamed(checkpointsOf([old, hashed]), name)).toBeNull();
    },
  );

  test('a name that two could have is nobody’s', () => {
    const of = (folder: string) => ({ title: `${folder}/x.safetensors`, model_name: `${folder}_x` });
    const both = checkpointsOf([of('a'), of('b')]);
    expect(checkpointNamed(both, 'x')).toBeNull();
    expect(checkpointNamed(both, 'a/x')?.key).toBe('a/x.safetensors');
  });
});
