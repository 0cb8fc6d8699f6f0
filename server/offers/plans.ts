import { readFileSync } from 'node:fs';
import { type Static, Type } from 'typebox';
import { parseChecked } from '../config/checked.ts';

export const Plan = Type.Object(
  {
    requestsPerMinute: Type.Integer({ minimum: 1 }),
    concurrent: Type.Integer({ minimum: 1, description: 'Requests that may run at once.' }),
    queued: Type.Integer({ minimum: 0, description: 'Requests that may wait beside those.' }),
    weight: Type.Number({
      exclusiveMinimum: 0,
      maximum: 100,
      description: 'Share of the GPU relative to others.',
    }),
    models: Type.Array(Type.String(), {
      description: 'Models that may be used; * stands for any characters.',
    }),
    historyDays: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()]),
    priceUsdPerMonth: Type.Union([Type.Number({ minimum: 0 }), Type.Null()]),
  },
  { additionalProperties: false },
);
export type Plan = Static<typeof Plan>;

const Plans = Type.Record(Type.String(), Plan);

export const Prices = Type.Object(
  {
    image: Type.Integer({ minimum: 0, description: 'Credits for one picture.' }),
    textPer1000Tokens: Type.Integer({ minimum: 0 }),
  },
  { additionalProperties: false },
);
export type Prices = Static<typeof Prices>;

export function loadPlans(file: string): ReadonlyMap<string, Plan> {
  return new Map(Object.entries(parseChecked(Plans, readFileSync(file, 'utf8'), file)));
}

export function loadPrices(file: string): Prices {
  return parseChecked(Prices, readFileSync(file, 'utf8'), file);
}

/** Whether a plan's list allows a model. */
export function allowsModel(patterns: readonly string[], model: string): boolean {
  return patterns.some((pattern) => matches(pattern, model));
}

/** `*` stands for any characters. Linear: each part is searched for once, from left to right. */
function matches(pattern: string, text: string): boolean {
  const parts = pattern.split('*');
  const first = parts[0] ?? '';
  const last = parts.at(-1) ?? '';
  if (parts.length === 1) return text === pattern;
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length)
    return false;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = text.indexOf(part, at);
    if (found === -1 || found + part.length > text.length - last.length) return false;
    at = found + part.length;
  }
  return true;
}
