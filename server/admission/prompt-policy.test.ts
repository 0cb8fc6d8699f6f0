import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
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

test('F46: the work grows with the text times the longest phrase, whatever is in it', () => {
  const list = new PhraseList(['a a a a a a a a b']);
  const words = 2_000;
  const lookups = vi.spyOn(Map.prototype, 'get');
  list.find('a '.repeat(words));
  const count = lookups.mock.calls.length;
  lookups.mockRestore();
  // Nine words in the phrase; a backtracking matcher would need thousands of times more.
  expect(count).toBeGreaterThan(words);
  expect(count).toBeLessThanOrEqual(words * 9);
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
