import type { EngineModel } from '../engine.ts';
import { textField } from '../http.ts';

/** One checkpoint of a web UI, as its list has it now. */
export interface Checkpoint extends EngineModel {
  /** What the web UI calls it at the moment, and takes to load it. */
  readonly title: string;
  /** The short hash in the title, to check what an image was really made with. */
  readonly hash: string | null;
  readonly sha256: string | null;
  /** Where its file lies, as far as the web UI says. */
  readonly path: string;
}

const bracketed = / \[([0-9a-f]{6,64})\]$/i;
const extension = /\.(safetensors|ckpt|pt|pth|bin|gguf|sft)$/i;

/**
 * The checkpoints of `/sdapi/v1/sd-models`. What stays the same of a checkpoint is its file: its key is the title
 * without ` [hash]`, since A1111 reads the hash with the weights, at the first load, and has another title from then
 * on.
 */
export function checkpointsOf(list: readonly unknown[]): Checkpoint[] {
  const read = list.flatMap((entry): Checkpoint[] => {
    const title = textField(entry, 'title');
    if (title === '') return [];
    const [hash, sha256] = [textField(entry, 'hash') || null, textField(entry, 'sha256') || null];
    const key = withoutHash(title, hash ?? sha256);
    return [
      {
        key,
        title,
        name: textField(entry, 'model_name') || stem(key),
        hash,
        sha256,
        path: textField(entry, 'filename') || key,
        modality: 'image' as const,
        sizeBytes: null,
        contextLength: null,
        vision: false,
        tools: false,
        embeds: false,
      },
    ];
  });
  return apart(read);
}

/** Two files of one name in two folders are two checkpoints, where the web UI leaves the folders out of its names. */
function apart(listed: readonly Checkpoint[]): Checkpoint[] {
  const read = [...new Map(listed.map((one) => [`${one.title}\n${one.path}`, one])).values()];
  const isTwice = (name: 'key' | 'name', one: Checkpoint): boolean =>
    read.filter((other) => other[name] === one[name]).length > 1;
  return read.map((one) => ({
    ...one,
    key: isTwice('key', one) ? one.path : one.key,
    name: isTwice('name', one) ? stem(one.path.split(/[\\/]/).slice(-2).join('/')) : one.name,
  }));
}

/**
 * The checkpoint that a web UI means by a name of its own: a title of now or of before, a file's name with or
 * without its folder and ending, or a hash. Its window and its settings know them all by each of these.
 */
export function checkpointNamed(checkpoints: readonly Checkpoint[], name: string): Checkpoint | null {
  const bare = keyOfTitle(name);
  const hash = bracketed.exec(name)?.[1] ?? name;
  const means: readonly ((one: Checkpoint) => boolean)[] = [
    ({ title }) => title === name,
    ({ key }) => key === name,
    ({ key, hash: own }) => key === bare && (own === null || isSameHash(own, hash)),
    ({ key }) => key === bare,
    (one) => one.name === bare,
    ({ key }) => stem(key) === stem(bare),
    ({ path }) => path === bare,
    ({ path }) => baseName(path) === baseName(bare),
    ({ path }) => stem(baseName(path)) === stem(baseName(bare)),
    ({ hash: short, sha256 }) => [short, sha256].some((own) => own !== null && isSameHash(own, hash)),
  ];
  for (const isMeant of means) {
    const [found, ...others] = checkpoints.filter(isMeant);
    if (found && others.length === 0) return found;
  }
  return null;
}

/** The key that a checkpoint would have which is not in the list, by what the web UI calls it. */
export function keyOfTitle(title: string): string {
  return title.replace(bracketed, '');
}

/** Builds differ in how much of a hash they give. */
export function isSameHash(a: string, b: string): boolean {
  const length = Math.min(a.length, b.length);
  return length >= 6 && a.slice(0, length).toLowerCase() === b.slice(0, length).toLowerCase();
}

/** What is in brackets is a hash where the list says so, or where a file's ending stands before it. */
function withoutHash(title: string, hash: string | null): string {
  const written = bracketed.exec(title)?.[1];
  const bare = keyOfTitle(title);
  if (written === undefined) return title;
  return hash === null ? (extension.test(bare) ? bare : title) : isSameHash(written, hash) ? bare : title;
}

function baseName(path: string): string {
  return path.split(/[\\/]/).at(-1) ?? path;
}

function stem(name: string): string {
  return name.replace(extension, '');
}
