import type { LeftOut } from '../engine.ts';
import type { GgufHeader } from './gguf-header.ts';

/** A file of the models folder, and what its head says; or why it cannot be read. */
export interface GgufFile {
  /** Its path below the models folder, with forward slashes. */
  readonly path: string;
  readonly bytes: number;
  readonly header: GgufHeader | { readonly problem: string };
}

/** A model that the built-in engine can serve: one file, or the parts that it was split into. */
export interface GgufModel {
  readonly name: string;
  readonly modality: 'text' | 'embedding';
  /** The first part is the one that llama.cpp is given; it finds the others by their names. */
  readonly paths: readonly [string, ...string[]];
  /** Of all parts together. */
  readonly bytes: number;
  readonly contextLength: number | null;
}

/** How gguf-split names the parts, and llama.cpp looks for them. */
const partName = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i;

/** Kinds of `general.type` that go with a model and are none. A model says `model`, or nothing. */
const companions: Readonly<Record<string, string>> = {
  adapter: 'It is an adapter (LoRA): it changes a model, and is none.',
  imatrix: 'It is an importance matrix, for making smaller copies of a model.',
  mmproj: 'It is a projector: it lets a model see, and is none.',
};

/** Architectures that neither write nor embed. */
const otherWork: readonly (readonly [RegExp, string])[] = [
  [/^clip$/, companions['mmproj'] ?? ''],
  [/^imatrix$/, companions['imatrix'] ?? ''],
  [
    /^(flux|sd[123]|sdxl|aura|chroma|cosmos|hidream|hunyuan[_-]?image|hyvid|hunyuan[_-]?video|kandinsky|ltxv?|lumina|omnigen|pig|pixart|qwen[_-]?image|wan|z[_-]?image)/,
    'It makes images or videos; the built-in engine serves text.',
  ],
  [
    /^(whisper|wavtokenizer|qwen3tts|outetts|kokoro|parler)/,
    'It makes or reads sound; the built-in engine serves text.',
  ],
  [/^(eagle3|dflash)$/, 'It is a draft, which only works beside its model.'],
];

/** Architectures that only embed. */
const embeddingOnly =
  /^(bert|eurobert|gemma-embedding|jina-bert|llama-embed|modern-bert|neo-bert|nomic-bert|t5encoder|xlm-roberta)/;

/** `pooling_type` as llama.cpp numbers it: none 0, mean 1, first token 2, last token 3, rank 4. */
const rankPooling = 4;

/** Sorts the files of the models folder into models and what is none, and says why. */
export function ggufModels(files: readonly GgufFile[]): {
  readonly models: readonly GgufModel[];
  readonly leftOut: readonly LeftOut[];
} {
  const models: GgufModel[] = [];
  const leftOut: LeftOut[] = [];
  for (const [group, parts] of groupsOf(files)) {
    const found = modelOf(parts);
    if (typeof found === 'string') leftOut.push({ file: parts[0]?.path ?? group, reason: found });
    else models.push(found);
  }
  return { models: withOwnNames(models), leftOut };
}

/** Files by the model they are of, in order: the parts of a split together, in the order of their numbers. */
function groupsOf(files: readonly GgufFile[]): ReadonlyMap<string, readonly GgufFile[]> {
  const groups = new Map<string, GgufFile[]>();
  for (const file of files.toSorted((a, b) => (a.path < b.path ? -1 : 1))) {
    const part = partName.exec(file.path);
    // A whole file and a split one may have the same name.
    const group = part ? `${part[1]}-of-${part[3]}` : file.path;
    groups.set(group, [...(groups.get(group) ?? []), file]);
  }
  return groups;
}

/** The model of one group of files, or why it is none. */
function modelOf(parts: readonly GgufFile[]): GgufModel | string {
  const [first, ...others] = parts;
  if (!first) return 'There is no file.';
  const damaged = parts.find(({ header }) => 'problem' in header);
  if (damaged && 'problem' in damaged.header) {
    return others.length === 0 ? damaged.header.problem : `${damaged.path}: ${damaged.header.problem}`;
  }
  const headers = parts.flatMap(({ header }) => ('problem' in header ? [] : [header]));
  const [head] = headers;
  if (!head) return 'There is no file.';
  const incomplete = missingParts(parts, headers);
  if (incomplete !== null) return incomplete;
  const modality = modalityOf(head);
  if (modality !== 'text' && modality !== 'embedding') return modality.reason;
  if (headers.every(({ tensors }) => tensors === 0)) return 'It holds a vocabulary and no weights.';
  return {
    name: nameOf(first.path),
    modality,
    paths: [first.path, ...others.map(({ path }) => path)],
    bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    contextLength: head.contextLength,
  };
}

/** What is wrong with the parts of a split; null where they are all there, or where it is not split. */
function missingParts(parts: readonly GgufFile[], headers: readonly GgufHeader[]): string | null {
  const named = partName.exec(parts[0]?.path ?? '');
  const count = Math.max(1, ...headers.map(({ split }) => split?.count ?? 1));
  if (!named) {
    return count === 1
      ? null
      : `It is one of ${count} parts, but is not named as one (…-00001-of-${pad(count)}.gguf), so that the others cannot be found.`;
  }
  const total = Math.max(count, Number(named[3]));
  const there = new Set(parts.map(({ path }) => Number(partName.exec(path)?.[2])));
  // One that was renamed would otherwise be taken for another.
  for (const [position, { split }] of headers.entries()) {
    const number = Number(partName.exec(parts[position]?.path ?? '')?.[2]);
    if (total > 1 && split !== null && split.no + 1 !== number) {
      return `${parts[position]?.path} is part ${split.no + 1}, whatever its name says.`;
    }
  }
  // A bound of what is listed: a damaged head may say any number.
  const missing = Array.from({ length: Math.min(total, 1_000) }, (_, i) => i + 1).filter(
    (n) => !there.has(n),
  );
  if (missing.length === 0) return null;
  const some = missing.slice(0, 5).join(', ');
  return missing.length === 1
    ? `Part ${some} of ${total} is missing.`
    : `Parts ${some}${missing.length > 5 ? ' and more' : ''} of ${total} are missing.`;
}

function modalityOf(header: GgufHeader): GgufModel['modality'] | { readonly reason: string } {
  const { type, architecture, poolingType, isClassifier, ownKeys } = header;
  const companion = type === null ? undefined : companions[type];
  if (companion !== undefined) return { reason: companion };
  if (type !== null && type !== 'model')
    return { reason: `It says of itself that it is "${type}", and not a model.` };
  if (architecture === null) return { reason: 'It does not name its architecture.' };
  const other = otherWork.find(([pattern]) => pattern.test(architecture));
  if (other) return { reason: other[1] };
  if (poolingType === rankPooling || isClassifier)
    return { reason: 'It is a reranker or classifier, which neither writes nor embeds.' };
  // llama.cpp needs the figures of an architecture; converters for image programs leave them out.
  if (ownKeys === 0)
    return { reason: `It has no figures for its architecture "${architecture}": it is of another program.` };
  if (architecture === 't5encoder' && poolingType === null)
    return { reason: 'It is the text encoder of an image model.' };
  return poolingType !== null && poolingType > 0
    ? 'embedding'
    : embeddingOnly.test(architecture)
      ? 'embedding'
      : 'text';
}

/**
 * Two files of one name in two folders are two models: the folder is part of their names then. A split beside a whole
 * file, or beside another split of it, is told apart by the number of its parts.
 */
function withOwnNames(models: readonly GgufModel[]): GgufModel[] {
  const isTwice = (name: string, names: readonly string[]): boolean =>
    names.filter((one) => one === name).length > 1;
  const plain = models.map(({ name }) => name);
  const inFolders = models.map(({ name, paths: [path] }) =>
    isTwice(name, plain) && path.includes('/') ? `${folderOf(path)}/${name}` : name,
  );
  return models.map((model, i) => {
    const name = inFolders[i] ?? model.name;
    const [path] = model.paths;
    return { ...model, name: isTwice(name, inFolders) && partName.test(path) ? withoutEnding(path) : name };
  });
}

function withoutEnding(path: string): string {
  return path.replace(/\.gguf$/i, '');
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

/** The name tenants use: the file's, without its ending and the number of its part. */
function nameOf(path: string): string {
  const base = path.slice(path.lastIndexOf('/') + 1);
  return partName.exec(base)?.[1] ?? withoutEnding(base);
}

function pad(number: number): string {
  return String(number).padStart(5, '0');
}
