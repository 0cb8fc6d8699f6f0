import { expect, test } from 'vitest';
import { pathMeant, tidyUrl } from './paths.ts';

test.each([
  ['/v1/models', '/v1/models'],
  ['/v1/models/', '/v1/models'],
  ['/v1//chat/completions?dry_run=1', '/v1/chat/completions?dry_run=1'],
  ['//v1/models/?a=//b/', '/v1/models?a=//b/'],
  ['/generate-text/', '/generate-text'],
  ['/openai/deployments/a%2Fb/chat/completions?api-version=1', '/v1/chat/completions?api-version=1'],
  ['/v1/deployments/m/embeddings', '/v1/embeddings'],
  ['/openai/v1/models', '/v1/models'],
  ['/openai/v1//deployments/m/completions', '/v1/completions'],
  ['/openai/deployments/m', '/openai/deployments/m'],
  // Files and pages keep their addresses.
  ['/docs/', '/docs/'],
  ['//docs/static', '//docs/static'],
  ['/files//x', '/files//x'],
  // An id that was left out is not the whole collection.
  ['/api/v1/history/', '/api/v1/history/'],
  ['/api/v1//history', '/api/v1//history'],
  ['/', '/'],
  ['', ''],
  ['*', '*'],
])('%s is looked for as %s', (given, tidy) => {
  expect(tidyUrl(given)).toBe(tidy);
});

const ours = new Set([
  '/v1/chat/completions',
  '/v1/models',
  '/api/v1/jobs',
  '/generate-text',
  '/v1/embeddings',
]);

test.each([
  ['/chat/completions', '/v1/chat/completions'],
  ['/v1/v1/chat/completions', '/v1/chat/completions'],
  ['/api/v1/models', '/v1/models'],
  ['/api/embeddings', '/v1/embeddings'],
  ['/openai/v1/models', '/v1/models'],
  ['/V1/chat/completions', '/v1/chat/completions'],
  ['/v1/jobs', '/api/v1/jobs'],
  ['/v1/generate-text', '/generate-text'],
  ['/nowhere', null],
  ['/v1', null],
])('who asks for %s is told of %s', (path, meant) => {
  expect(pathMeant(path, (one) => ours.has(one))).toBe(meant);
});
