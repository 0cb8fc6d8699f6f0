/** Zero-width and other marks that split a word for a reader's eye not at all. */
const invisible = /\p{Default_Ignorable_Code_Point}/gu;
const plain = /^[\t\n\r -~]*$/;
const lookAlikes: Readonly<Record<string, string>> = {
  '0': 'o',
  '1': 'i',
  '3': 'e',
  '4': 'a',
  '5': 's',
  '7': 't',
  '@': 'a',
  $: 's',
};

/**
 * The words of a text as they are compared: compatibility forms and accents folded, invisible marks dropped,
 * digits that stand for letters read as those.
 */
export function wordsOf(text: string): string[] {
  // Most prompts are plain ASCII, where nothing has to be folded.
  const folded = plain.test(text)
    ? text
    : text.normalize('NFKD').replaceAll(invisible, '').replaceAll(/\p{M}/gu, '');
  return folded
    .toLowerCase()
    .split(/[^\p{L}\p{N}@$]+/u)
    .filter(Boolean)
    .map((word) =>
      /\p{L}/u.test(word) ? word.replaceAll(/[013457@$]/g, (mark) => lookAlikes[mark] ?? mark) : word,
    );
}

interface Node {
  readonly next: Map<string, Node>;
  ends: boolean;
}

/**
 * Finds listed words and phrases in a text. Whole words only, so that a town's name is not a swear word. The time
 * is that of splitting the text, times the longest phrase at worst: no pattern can make it slow.
 */
export class PhraseList {
  readonly #root: Node = { next: new Map(), ends: false };

  constructor(phrases: Iterable<string>) {
    for (const phrase of phrases) {
      let node = this.#root;
      for (const word of wordsOf(phrase)) {
        let next = node.next.get(word);
        if (!next) node.next.set(word, (next = { next: new Map(), ends: false }));
        node = next;
      }
      if (node !== this.#root) node.ends = true;
    }
  }

  /** The first listed phrase in the text, as it was normalised; null when there is none. */
  find(text: string): string | null {
    const words = wordsOf(text);
    for (let start = 0; start < words.length; start += 1) {
      let node: Node | undefined = this.#root;
      for (let at = start; node && at < words.length; at += 1) {
        node = node.next.get(words[at] ?? '');
        if (node?.ends) return words.slice(start, at + 1).join(' ');
      }
    }
    return null;
  }
}

/** Every text in a value, however deep: the prompts of a chat with parts, tools and all. */
export function* textsIn(value: unknown): Generator<string, void, void> {
  if (typeof value === 'string') {
    // A picture as a data URL is no text.
    if (!value.startsWith('data:')) yield value;
  } else if (Array.isArray(value)) for (const item of value) yield* textsIn(item);
  else if (typeof value === 'object' && value !== null)
    for (const item of Object.values(value)) yield* textsIn(item);
}
