import { readFileSync } from 'node:fs';
import { key, payingKey, type Program } from '../gateway/programs.ts';
import { requestsPerSecond } from '../gateway/requests.ts';
import { printTable } from '../table.ts';

/** Requests that are held for and charged beside requests that cost nothing, on one appliance. */
export async function benchPriced(appliance: Program): Promise<void> {
  await makeItCost(appliance);
  const tenants = { 'that costs nothing': key, 'held for and charged': payingKey };
  for (const as of Object.values(tenants)) await requestsPerSecond(appliance, 3, 32, as);
  const rounds: Record<string, Awaited<ReturnType<typeof requestsPerSecond>>[]> = {};
  for (let round = 0; round < 3; round += 1) {
    for (const [name, as] of Object.entries(tenants)) {
      (rounds[name] ??= []).push(await requestsPerSecond(appliance, 4, 32, as));
    }
  }
  const middle = Object.entries(rounds).map(([name, list]) => ({
    name,
    ...list.toSorted((a, b) => a.perSecond - b.perSecond)[1],
    failed: list.reduce((sum, { failed }) => sum + failed, 0),
  }));
  const base = middle[0]?.perSecond ?? 1;
  printTable(
    'A chat, not streamed, an upstream that answers at once (32 connections, median of 3 x 4 s)',
    middle.map(({ name, perSecond = 0, p99Ms = 0, failed }) => ({
      request: name,
      'requests/s': perSecond,
      relative: perSecond / base,
      'p99 ms': p99Ms,
      failed,
    })),
  );
}

async function makeItCost({ output }: Program): Promise<void> {
  const url = /Operator API\s+(\S+)/.exec(output)?.[1] ?? '';
  const token = readFileSync(/token in (\S+)\)/.exec(output)?.[1] ?? '', 'utf8').trim();
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const prices = (await (await fetch(`${url}/api/prices`, { headers })).json()) as object;
  const put = { ...prices, text: { per1000Tokens: 1 } };
  await fetch(`${url}/api/prices`, { method: 'PUT', headers, body: JSON.stringify(put) });
  const body = JSON.stringify({ credits: 1_000_000_000, reason: 'for the bench' });
  const granted = await fetch(`${url}/api/tenants/file:payer/credits`, { method: 'POST', headers, body });
  if (!granted.ok) throw new Error(`no credits: ${await granted.text()}`);
}
