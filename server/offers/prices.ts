import { type Static, Type } from 'typebox';

const Credits = Type.Integer({ minimum: 0, maximum: 1_000_000 });

/** What is bought elsewhere costs money per piece, and is sold on for credits. */
const Bought = Type.Object(
  {
    costMicroUsd: Type.Integer({
      minimum: 1,
      maximum: 1_000_000_000,
      description: 'Millionths of a dollar.',
    }),
  },
  { additionalProperties: false },
);

/** What things cost, in whole credits. */
export const Prices = Type.Object(
  {
    text: Type.Object(
      { per1000Tokens: Credits },
      { additionalProperties: false, description: 'By the started thousand, prompt and answer together.' },
    ),
    image: Type.Object(
      {
        each: Credits,
        perPixels: Type.Union([Type.Integer({ minimum: 4_096 }), Type.Null()], {
          description: 'Where set, a picture costs its price for each started so many pixels.',
        }),
        perSteps: Type.Union([Type.Integer({ minimum: 1 }), Type.Null()], {
          description: 'Where set, a picture costs its price for each started so many steps.',
        }),
      },
      { additionalProperties: false },
    ),
    features: Type.Record(Type.String(), Type.Union([Credits, Bought]), {
      description:
        'One job of a feature: credits, or what it costs where it is bought. `Offers.replace` checks the names.',
    }),
    markupPermille: Type.Integer({
      minimum: 1_000,
      maximum: 1_000_000,
      description: 'What is bought is sold for so many thousandths of its cost.',
    }),
    creditMicroUsd: Type.Integer({
      minimum: 1,
      maximum: 1_000_000_000,
      description: 'What a credit is worth, in millionths of a dollar.',
    }),
  },
  { additionalProperties: false },
);
export type Prices = Static<typeof Prices>;

/** Work whose price is asked for. Tokens are the most that there can be before the work, and what there were after. */
export type PricedWork =
  | { readonly kind: 'text'; readonly tokens: number }
  | {
      readonly kind: 'image';
      readonly count: number;
      readonly width: number;
      readonly height: number;
      readonly steps: number;
    };

/** What was used, when it is over. */
export interface Actual {
  readonly promptTokens?: number;
  readonly completionTokens?: number;
  readonly images?: number;
}

/** The work as it came out, for its price. */
export function workDone(
  work: PricedWork,
  { promptTokens = 0, completionTokens = 0, images = 0 }: Actual,
): PricedWork {
  return work.kind === 'text'
    ? { ...work, tokens: promptTokens + completionTokens }
    : { ...work, count: images };
}

/** What a piece of work costs, in whole credits. */
export function priceOf({ text, image }: Prices, work: PricedWork): number {
  if (work.kind === 'text') return Math.ceil((text.per1000Tokens * work.tokens) / 1_000);
  const sizes = image.perPixels === null ? 1 : Math.ceil((work.width * work.height) / image.perPixels);
  const lengths = image.perSteps === null ? 1 : Math.ceil(work.steps / image.perSteps);
  return work.count * image.each * sizes * lengths;
}

/** What one job of a feature costs; null for a feature without a price. */
export function featurePrice(prices: Prices, feature: string): number | null {
  const price = prices.features[feature];
  if (price === undefined) return null;
  return typeof price === 'number' ? price : boughtPrice(price.costMicroUsd, prices);
}

/** max(1, floor(cost x markup / value of a credit)), in whole numbers throughout. */
export function boughtPrice(
  costMicroUsd: number,
  { markupPermille, creditMicroUsd }: Pick<Prices, 'markupPermille' | 'creditMicroUsd'>,
): number {
  const credits = (BigInt(costMicroUsd) * BigInt(markupPermille)) / (1_000n * BigInt(creditMicroUsd));
  return Math.max(1, Number(credits));
}
