import autocannon from 'autocannon';
import { key, type Program } from './programs.ts';

const body = JSON.stringify({
  model: 'bench-model',
  messages: [{ role: 'user', content: 'Say hello to the kiln.' }],
});

/** Requests a second that a program answers, with so many connections kept busy. */
export async function requestsPerSecond(
  { url }: Pick<Program, 'url'>,
  seconds: number,
  connections = 32,
  as = key,
): Promise<{ perSecond: number; p99Ms: number; failed: number }> {
  const result = await autocannon({
    url: `${url}/v1/chat/completions`,
    method: 'POST',
    connections,
    duration: seconds,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${as}` },
    body,
  });
  return {
    perSecond: result.requests.average,
    p99Ms: result.latency.p99,
    failed: result.non2xx + result.errors,
  };
}
