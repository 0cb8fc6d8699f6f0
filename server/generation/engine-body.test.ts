import { expect, test } from 'vitest';
import { engineChat, engineCompletion } from './engine-body.ts';

const chat = { model: 'm', messages: [{ role: 'user', content: 'hi' }] };

test('case 8: other names become the engines’ own', () => {
  expect(engineChat({ ...chat, repetition_penalty: 1.2 })).toEqual({ ...chat, repeat_penalty: 1.2 });
  expect(engineChat({ ...chat, repetition_penalty: 1.2, repeat_penalty: 1.1 })).toMatchObject({
    repeat_penalty: 1.1,
  });
  const off = { chat_template_kwargs: { enable_thinking: false } };
  expect(engineChat({ ...chat, enable_thinking: false })).toEqual({ ...chat, ...off });
  expect(engineChat({ ...chat, thinking: { type: 'disabled' } })).toEqual({ ...chat, ...off });
  expect(engineChat({ ...chat, thinking: { type: 'auto' } })).toEqual(chat);
  expect(engineChat({ ...chat, enable_thinking: true, ...off })).toEqual({ ...chat, ...off });
});

test('what has no effect does not reach the engine', () => {
  const more = { user: 'u', store: true, metadata: {}, prompt_cache_key: 'k', ttl: 5, keep_alive: 0 };
  expect(engineChat({ ...chat, ...more })).toEqual(chat);
});

test('stream_options go with a stream only', () => {
  const options = { stream_options: { include_usage: true } };
  expect(engineChat({ ...chat, ...options })).toEqual(chat);
  expect(engineChat({ ...chat, ...options, stream: true })).toEqual({ ...chat, ...options, stream: true });
});

test('a choice of tools goes with tools only', () => {
  const choice = { tool_choice: 'auto', parallel_tool_calls: false };
  expect(engineChat({ ...chat, ...choice })).toEqual(chat);
  expect(engineChat({ ...chat, ...choice, tools: [{}] })).toEqual({ ...chat, ...choice, tools: [{}] });
});

test('messages are as chat templates know them', () => {
  const messages = [
    { role: 'developer', content: 'be brief' },
    { role: 'assistant', content: null, refusal: null, tool_calls: [], name: 'x' },
    { role: 'assistant', content: null, tool_calls: [{ id: '1' }] },
  ];
  expect(engineChat({ model: 'm', messages }).messages).toEqual([
    { role: 'system', content: 'be brief' },
    { role: 'assistant', content: null, name: 'x' },
    { role: 'assistant', content: null, tool_calls: [{ id: '1' }] },
  ]);
});

test('case 6: a list of one prompt is that prompt', () => {
  expect(engineCompletion({ model: 'm', prompt: ['once'] })).toEqual({ model: 'm', prompt: 'once' });
  expect(engineCompletion({ model: 'm', prompt: 'once' })).toEqual({ model: 'm', prompt: 'once' });
});
