import { type Static, Type } from 'typebox';

const Patterns = (description: string) =>
  Type.Array(Type.String({ minLength: 1, maxLength: 200 }), { maxItems: 500, description });

/** What a tenant of a plan may do. */
export const Plan = Type.Object(
  {
    requestsPerMinute: Type.Integer({ minimum: 1, maximum: 1_000_000_000 }),
    concurrent: Type.Integer({ minimum: 1, maximum: 10_000, description: 'Requests that may run at once.' }),
    queued: Type.Integer({
      minimum: 0,
      maximum: 100_000,
      description: 'Requests that may wait beside those.',
    }),
    uploadsPerMinute: Type.Integer({ minimum: 0, maximum: 1_000_000, default: 10 }),
    imagesPerHour: Type.Integer({
      minimum: 0,
      maximum: 1_000_000_000,
      default: 100,
      description: 'Pictures that may be asked for.',
    }),
    downloadsPerHour: Type.Integer({
      minimum: 0,
      maximum: 1_000_000_000,
      default: 1_000,
      description: 'Files that may be fetched: results, uploads, pictures behind links.',
    }),
    weight: Type.Number({
      exclusiveMinimum: 0,
      maximum: 100,
      description: 'Share of the GPU relative to others.',
    }),
    models: Patterns('Models that may be used; * stands for any characters.'),
    features: Patterns('Features that may be used; * stands for any characters.'),
    historyDays: Type.Union([Type.Integer({ minimum: 0, maximum: 36_500 }), Type.Null()], {
      description: 'How long requests are kept in the history; null: for ever.',
    }),
    storageMib: Type.Union([Type.Integer({ minimum: 0, maximum: 100_000_000 }), Type.Null()], {
      default: null,
      description: 'Files of uploads and results that are kept at once; null: as the disk allows.',
    }),
    priceUsdPerMonth: Type.Union([Type.Number({ minimum: 0, maximum: 1_000_000 }), Type.Null()], {
      description: 'What a subscription costs; 0 needs none, null is by agreement.',
    }),
    creditsPerMonth: Type.Integer({
      minimum: 0,
      maximum: 1_000_000,
      description: 'Credits that come with each paid month and go with it.',
    }),
  },
  { additionalProperties: false },
);
export type Plan = Static<typeof Plan>;

/** What may be said for one tenant instead of what its plan says. */
export const PlanOverrides = Type.Partial(Type.Omit(Plan, ['creditsPerMonth', 'priceUsdPerMonth']), {
  additionalProperties: false,
});
export type PlanOverrides = Static<typeof PlanOverrides>;

/** By name; `Offers.replace` checks the names. */
export const Plans = Type.Record(Type.String(), Plan, { minProperties: 1 });
export type Plans = Static<typeof Plans>;

/** Whether a list of patterns allows a name. */
export function allows(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => matches(pattern, name));
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
