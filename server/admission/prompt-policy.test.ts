import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PhraseList, textsIn, wordsOf } from './prompt-policy.ts';

const list = new PhraseList(['nude', 'sex scene', 'Übel']);

test.each([
  ['plain', 'a nude portrait', 'nude'],
  ['capitals and punctuation', 'NUDE!!!', 'nude'],
  ['a phrase over a line break', 'a sex\n scene', 'sex scene'],
  ['digits for letters', 'a nud3 portrait', 'nude'],
  ['zero-width marks inside', 'n\u200Bu\u200Dde', 'nude'],
  ['full-width letters', 'ｎｕｄｅ', 'nude'],
  ['accents', 'núdè', 'nude'],
  ['an accent in the list', 'ubel', 'ubel'],
])('found: %s', (_, text, found) => {
  expect(list.find(text)).toBe(found);
});

test.each([
  ['inside another word', 'the denuded hills'],
  ['half a phrase', 'a sex education scene'],
  ['numbers are numbers', '5 3 x'],
  ['nothing', ''],
])('not found: %s', (_, text) => {
  expect(list.find(text)).toBeNull();
});

test('F46: the time grows with the text, not with what is in it', () => {
  const cost = (text: string): number => {
    const began = performance.now();
    new PhraseList(['a a a a a a a a b']).find(text);
    return performance.now() - began;
  };
  cost('a '.repeat(1_000));
  const small = cost('a '.repeat(20_000));
  const large = cost('a '.repeat(160_000));
  expect(large / Math.max(small, 1)).toBeLessThan(64);
});

test('any text can be read', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void wordsOf(text)));
});

test('every text of a chat is looked at, and pictures are not', () => {
  const messages = [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'hello' },
        { type: 'image_url', image_url: { url: 'data:image/png;base64,xx' } },
      ],
    },
    { role: 'assistant', tool_calls: [{ function: { arguments: '{"a":1}' } }] },
  ];
  const texts = [...textsIn(messages)];
  expect(texts).toEqual(expect.arrayContaining(['hello', '{"a":1}']));
  expect(texts.some((text) => text.startsWith('data:'))).toBe(false);
});
