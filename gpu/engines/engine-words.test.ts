import { expect, test } from 'vitest';
import { withoutPlaces } from './engine-words.ts';

test.each([
  ['connect ECONNREFUSED 127.0.0.1:22087', 'connect ECONNREFUSED (address)'],
  ['see http://10.0.0.3:1234/docs, please', 'see (address) please'],
  ['no answer from localhost:1234.', 'no answer from (address).'],
  ['listen [::1]:8080 or ::1', 'listen (address) or (address)'],
  ['cannot open /home/somebody/models/x.gguf: no such file', 'cannot open (path): no such file'],
  ["cannot open '/home/some body/x.gguf'", 'cannot open (path)'],
  ['cannot open ~/models/x.gguf', 'cannot open (path)'],
  ['cannot open C:\\Users\\Some Body\\x.gguf now', 'cannot open (path) now'],
  ['cannot open D:/models/x.gguf', 'cannot open (path)'],
  ['cannot open \\\\nas\\share\\x.gguf', 'cannot open (path)'],
])('%s', (sentence, expected) => expect(withoutPlaces(sentence)).toBe(expected));

test.each([
  'CUDA out of memory. Tried to allocate 1.50 GiB',
  'Asked for "qwen/qwen3-4b@q4_k_m", answered by "a/b".',
  "'response_format.type' must be 'json_schema' or 'text'",
  'It took 0.4.7 and 3/4 of 100, at 12:30, and/or not.',
  'It was asked for a stream and sent application/json; charset=utf-8.',
])('nothing is taken from: %s', (sentence) => expect(withoutPlaces(sentence)).toBe(sentence));
