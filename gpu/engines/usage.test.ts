import { expect, test } from 'vitest';
import { believableUsage } from './usage.ts';

const seen = { promptBytes: 400, completionBytes: 80, completionEvents: 20 };

test('a claim that can be true is taken', () => {
  expect(believableUsage({ prompt_tokens: 110, completion_tokens: 20 }, seen)).toEqual({
    promptTokens: 110,
    completionTokens: 20,
    counted: false,
  });
});

test.each([
  ['the constant of a known server', { prompt_tokens: 100, completion_tokens: 100 }],
  ['more tokens than there were bytes', { prompt_tokens: 10, completion_tokens: 5_000 }],
  ['no tokens for much text', { prompt_tokens: 10, completion_tokens: 0 }],
  ['negative', { prompt_tokens: -1, completion_tokens: 20 }],
  ['text', { prompt_tokens: '1', completion_tokens: '2' }],
  ['nothing', null],
])('a claim that cannot be true is counted instead: %s', (_, claim) => {
  expect(believableUsage(claim, { ...seen, completionBytes: 640 })).toEqual({
    promptTokens: 100,
    completionTokens: 160,
    counted: true,
  });
});
