import { type Static, Type } from 'typebox';

/** Credits that can be bought. */
const Package = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 100 }),
    credits: Type.Integer({ minimum: 1, maximum: 1_000_000_000 }),
    priceCents: Type.Integer({ minimum: 50, maximum: 100_000_000, description: 'In cents of the currency.' }),
    currency: Type.String({
      pattern: '^[a-z]{3}$',
      'x-form': 'an ISO code in small letters, such as usd',
      description: 'ISO code in small letters.',
    }),
  },
  { additionalProperties: false },
);
/** By id; `Offers.replace` checks the ids. */
export const Packages = Type.Record(Type.String(), Package);
export type Packages = Static<typeof Packages>;
