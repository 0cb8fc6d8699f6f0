import { expect, test } from 'vitest';
import type { CatalogModel } from '../../gpu/catalog.ts';
import { limits } from '../contract/limits.ts';
import { demandFits, textCharacters } from './prompt-size.ts';

const model = (contextLength: number | null) => ({ id: 'small', contextLength }) as CatalogModel;

test('S1: text that cannot fit the context is refused with its length', () => {
  const most = 1_000 * limits.charactersPerToken;
  expect(() => demandFits(model(1_000), 'x'.repeat(most))).not.toThrow();
  expect(() => demandFits(model(1_000), [{ content: [{ text: 'x'.repeat(most) }] }])).toThrow(
    /cannot fit the context of small: 1000 tokens/,
  );
  expect(() =>
    demandFits(model(null), 'x'.repeat(limits.assumedContextTokens * limits.charactersPerToken + 1)),
  ).toThrow(/32768 tokens/);
});

test('S1: pictures are no text, and names of fields are', () => {
  const picture = { type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(1_000_000)}` } };
  expect(
    textCharacters([{ role: 'user', content: [picture, { type: 'text', text: 'What is it?' }] }]),
  ).toBeLessThan(100);
  expect(textCharacters({ ['k'.repeat(500)]: null })).toBe(500);
});
