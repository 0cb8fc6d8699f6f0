import type { CatalogModel } from '../../gpu/catalog.ts';
import { limits } from '../contract/limits.ts';
import { ApiError } from '../http/api-error.ts';

/** Parts of a message that carry bytes of pictures and sound rather than text. */
const binaryParts = new Set(['image_url', 'input_audio', 'file']);

/** The characters of text in a request for text, names of fields included: some of them become part of the prompt. */
export function textCharacters(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 0;
  let characters = 0;
  if (Array.isArray(value)) {
    for (const one of value) characters += textCharacters(one);
    return characters;
  }
  for (const [name, one] of Object.entries(value)) {
    characters += name.length;
    if (!binaryParts.has(name)) characters += textCharacters(one);
  }
  return characters;
}

/**
 * Throws for text that cannot fit the context of its model, before credits are held for it or an engine gets it.
 * Engines count exactly what comes near; what is many times too long can only stop or end them.
 */
export function demandFits({ id, contextLength }: CatalogModel, text: unknown): void {
  const context = contextLength ?? limits.assumedContextTokens;
  const most = context * limits.charactersPerToken;
  const characters = textCharacters(text);
  if (characters <= most) return;
  throw new ApiError(
    'invalid_request',
    `The text has ${characters} characters, which cannot fit the context of ${id}: ${context} tokens. Shorten it, or choose a model with a longer context.`,
  );
}
