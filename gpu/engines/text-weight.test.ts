import { expect, test } from 'vitest';
import { weighPrompt, Written } from './text-weight.ts';

const picture = `data:image/png;base64,${'A'.repeat(400_000)}`;

test.each([
  ['a text', 'twelve bytes', 12, 0],
  ['text in other letters', 'ä🏺', 6, 0],
  ['a part with a picture', [{ type: 'image_url', image_url: { url: picture } }], 0, 1],
  ['a picture under a name we do not know', [{ shot: picture }], 4, 1],
  ['a sound', { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } }, 0, 1],
  [
    'tools, with the names of their fields',
    [{ name: 'a', strict: true, maximum: 10 }],
    4 + 1 + 6 + 4 + 7 + 2,
    0,
  ],
  ['what is not there', [null, undefined, { content: null }], 0, 0],
])('a prompt: %s', (_, value, bytes, media) => {
  expect(weighPrompt(value)).toEqual({ bytes, media });
});

function weightOf(...choices: object[]): number {
  const written = new Written();
  for (const choice of choices) written.add(choice);
  return written.bytes;
}

test.each([
  ['content', { content: 'four' }, 4],
  ['parts', { content: [{ type: 'text', text: 'four' }] }, 4],
  ['a refusal', { content: null, refusal: 'no' }, 2],
  ['thinking (LM Studio, DeepSeek)', { content: 'Yes.', reasoning_content: '12345678' }, 12],
  ['thinking (vLLM, Together)', { content: 'Yes.', reasoning: '12345678' }, 12],
  ['thinking (Ollama)', { content: 'Yes.', thinking: '12345678' }, 12],
  ['the same thinking twice', { content: '', reasoning: '12345678', reasoning_content: '12345678' }, 8],
  [
    'a tool call beside an empty content',
    { content: '', tool_calls: [{ id: 'x', type: 'function', function: { name: 'save', arguments: '{}' } }] },
    6,
  ],
  [
    'a tool call with its arguments as an object',
    { tool_calls: [{ function: { name: 'a', arguments: {} } }] },
    3,
  ],
  ['a function call', { content: null, function_call: { name: 'save', arguments: '{}' } }, 6],
])('case 2: a message carries %s', (_, message, bytes) => {
  expect(weightOf({ index: 0, message })).toBe(bytes);
});

test('a plain completion', () => expect(weightOf({ index: 0, text: 'four' })).toBe(4));

test('a name that comes with every piece of its call is weighed once, and so is one that comes in pieces', () => {
  const piece = (name: string, written: string) => ({
    delta: { tool_calls: [{ index: 0, function: { name, arguments: written } }] },
  });
  expect(weightOf(piece('save', '{'), piece('save', '}'))).toBe(6);
  expect(weightOf(piece('sa', '{'), piece('ve', '}'))).toBe(6);
});

test('a character that a stream cuts in two weighs what it weighs whole', () => {
  expect(weightOf({ delta: { content: '\ud83c' } }, { delta: { content: '\udffa' } })).toBe(4);
});
