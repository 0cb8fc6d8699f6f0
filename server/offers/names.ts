import { InvalidValue } from '../config/checked.ts';

/** What a name must look like, and how a person is told. */
interface NameRule {
  readonly pattern: RegExp;
  readonly sentence: string;
}

const word: NameRule = {
  pattern: /^[a-z][a-z0-9-]{0,39}$/,
  sentence:
    'is not allowed as a name: use small letters a to z, digits and hyphens, begin with a letter, and use at most 40 characters',
};
const featureName: NameRule = {
  pattern: /^[a-z0-9-]{1,60}$/,
  sentence: 'is not the name of a feature: those have small letters a to z, digits and hyphens',
};

/** The parts of an offer that the operator names: plans, packages, and the features that have a price. */
const named = {
  plans: (offer: object) => ({ names: Object.keys(offer), rule: word }),
  packages: (offer: object) => ({ names: Object.keys(offer), rule: word }),
  prices: (offer: { features?: object }) => ({
    names: Object.keys(offer.features ?? {}),
    rule: featureName,
  }),
} as const;

/**
 * Refuses names that cannot stand in an address, an option of the command line or a column of the console. Checked when
 * an offer is replaced and not when it is read, so that an offer stored under an older rule still starts.
 * Throws InvalidValue that names the first such name and the rule.
 */
export function demandNames(offer: keyof typeof named, value: object): void {
  const { names, rule } = named[offer](value);
  const wrong = names.find((name) => !rule.pattern.test(name));
  if (wrong !== undefined) throw new InvalidValue(offer, `"${wrong}"`, rule.sentence);
}
