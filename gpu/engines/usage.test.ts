import { expect, test } from 'vitest';
import { believableUsage, isTold, tokensSoFar, usageTold } from './usage.ts';

const prompt = { bytes: 400, media: 0 };
const written = { bytes: 640, thinkingBytes: 0 };

test('a claim that can be true is taken', () => {
  expect(believableUsage({ prompt_tokens: 110, completion_tokens: 20 }, prompt, written)).toEqual({
    promptTokens: 110,
    completionTokens: 20,
    counted: false,
  });
});

test.each([
  ['the constant of a known server', { prompt_tokens: 100, completion_tokens: 100 }, 100, 8],
  ['more tokens than there were bytes', { prompt_tokens: 90, completion_tokens: 5_000 }, 90, 8],
  ['no tokens for text', { prompt_tokens: 90, completion_tokens: 0 }, 90, 8],
  ['no tokens for a prompt (LM Studio’s embeddings)', { prompt_tokens: 0, completion_tokens: 9 }, 100, 9],
  ['a prompt beyond all reason', { prompt_tokens: 1_000_000, completion_tokens: 9 }, 100, 9],
  ['negative', { prompt_tokens: -1, completion_tokens: 9 }, 100, 9],
  ['text', { prompt_tokens: '1', completion_tokens: '2' }, 100, 8],
  ['half a claim', { completion_tokens: 9 }, 100, 9],
  ['nothing', null, 100, 8],
])('prompt and completion are judged apart: %s', (_, claim, promptTokens, completionTokens) => {
  expect(believableUsage(claim, prompt, { bytes: 32, thinkingBytes: 0 })).toEqual({
    promptTokens,
    completionTokens,
    counted: true,
  });
});

test('a hundred and a hundred is believed where we count about as many', () => {
  const claim = { prompt_tokens: 100, completion_tokens: 100 };
  expect(believableUsage(claim, prompt, written).counted).toBe(false);
});

test('case 2: a picture is believed by its number, and guessed without its base64', () => {
  const withPicture = { bytes: 40, media: 1 };
  const claim = { prompt_tokens: 1_500, completion_tokens: 20 };
  expect(believableUsage(claim, withPicture, written).promptTokens).toBe(1_500);
  expect(believableUsage(null, withPicture, written).promptTokens).toBe(10 + 576);
});

test('thinking that is not shown is believed where it is told apart, and only then', () => {
  const claim = { prompt_tokens: 90, completion_tokens: 482 };
  const short = { bytes: 4, thinkingBytes: 0 };
  expect(believableUsage(claim, prompt, short).completionTokens).toBe(1);
  const apart = { ...claim, completion_tokens_details: { reasoning_tokens: 480 } };
  expect(believableUsage(apart, prompt, short).completionTokens).toBe(482);
});

test('what is told is what is booked; details go where the figure is not the engine’s', () => {
  const claim = {
    prompt_tokens: 0,
    completion_tokens: 20,
    total_tokens: 20,
    prompt_tokens_details: { cached_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 4 },
  };
  const usage = believableUsage(claim, prompt, written);
  expect(isTold(claim, usage)).toBe(false);
  expect(usageTold(claim, usage)).toEqual({
    prompt_tokens: 100,
    completion_tokens: 20,
    total_tokens: 120,
    completion_tokens_details: { reasoning_tokens: 4 },
  });
});

test('a stream so far: a token a piece at least, more where many come at once', () => {
  expect(tokensSoFar({ pieces: 40, bytes: 200 })).toBe(40);
  expect(tokensSoFar({ pieces: 1, bytes: 1_600 })).toBe(200);
});
