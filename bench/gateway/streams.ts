import { Pool } from 'undici';
import { key, type Program } from './programs.ts';
import { quantile } from '../scheduler/figures.ts';

export interface StreamFigures {
  readonly firstP99Ms: number;
  readonly chunkP50Ms: number;
  readonly chunkP99Ms: number;
}

/** Many streams at once: how long after it was sent each piece arrives, and how long the first one takes. */
export async function streams(
  { url }: Pick<Program, 'url'>,
  count: number,
  tokens: number,
): Promise<StreamFigures> {
  const pool = new Pool(url, { connections: count });
  const first: number[] = [];
  const delays: number[] = [];
  const now = (): number => performance.timeOrigin + performance.now();
  const one = async (): Promise<void> => {
    const began = now();
    const response = await pool.request({
      path: '/v1/chat/completions',
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify({
        model: 'bench-model',
        stream: true,
        max_tokens: tokens,
        messages: [{ role: 'user', content: 'x' }],
      }),
    });
    let held = '';
    let started = false;
    for await (const piece of response.body) {
      const at = now();
      if (!started) first.push(at - began);
      started = true;
      held += String(piece);
      const events = held.split('\n\n');
      held = events.pop() ?? '';
      for (const event of events) {
        const sent = /"content":"([\d.]+)"/.exec(event)?.[1];
        if (sent) delays.push(at - Number(sent));
      }
    }
  };
  // Spread over the 20 ms between two tokens: people do not arrive in step, and the tail would be of our own making.
  await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      await new Promise((resolve) => setTimeout(resolve, i * 7.3));
      await one();
    }),
  );
  await pool.close();
  const sorted = delays.toSorted((a, b) => a - b);
  return {
    firstP99Ms: quantile(
      first.toSorted((a, b) => a - b),
      0.99,
    ),
    chunkP50Ms: quantile(sorted, 0.5),
    chunkP99Ms: quantile(sorted, 0.99),
  };
}
