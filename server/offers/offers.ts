import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Database } from 'better-sqlite3';
import type { Static } from 'typebox';
import { checked, parseChecked } from '../config/checked.ts';
import { demandNames } from './names.ts';
import { Packages } from './packages.ts';
import { Plans } from './plans.ts';
import { Prices } from './prices.ts';

const schemas = { plans: Plans, prices: Prices, packages: Packages } as const;
export type OfferName = keyof typeof schemas;
type Offer<Name extends OfferName> = Static<(typeof schemas)[Name]>;

const defaults = fileURLToPath(new URL('../../resources/defaults/', import.meta.url));

/**
 * What the operator offers: plans, prices and packages. As delivered until the operator changes one; then as the
 * operator last said, which lies in the database.
 */
export class Offers {
  readonly #db: Database;
  readonly #current: { plans: Plans; prices: Prices; packages: Packages };
  readonly #listeners: (() => void)[] = [];

  constructor(db: Database, folder: string = defaults) {
    this.#db = db;
    this.#current = {
      plans: this.#read('plans', folder),
      prices: this.#read('prices', folder),
      packages: this.#read('packages', folder),
    };
  }

  get plans(): Readonly<Plans> {
    return this.#current.plans;
  }

  get prices(): Readonly<Prices> {
    return this.#current.prices;
  }

  get packages(): Readonly<Packages> {
    return this.#current.packages;
  }

  /**
   * Puts an offer in the place of the one before, from now on; `alongside` is written in the same transaction. Throws
   * InvalidValue.
   */
  replace<Name extends OfferName>(
    name: Name,
    offer: Offer<Name>,
    alongside: () => void = () => undefined,
  ): void {
    demandNames(name, offer);
    const valid = checked(schemas[name], structuredClone(offer), name);
    const write = this.#db.prepare(
      `insert into offers (name, definition) values (?, ?)
       on conflict (name) do update set definition = excluded.definition`,
    );
    this.#db.transaction(() => {
      write.run(name, JSON.stringify(valid));
      alongside();
    })();
    // Only what is on disk counts.
    Object.assign(this.#current, { [name]: valid });
    for (const listener of this.#listeners) listener();
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  #read<Name extends OfferName>(name: Name, folder: string): Offer<Name> {
    const stored = this.#db
      .prepare<[string], string>('select definition from offers where name = ?')
      .pluck()
      .get(name);
    const file = `${folder}${name}.json`;
    const delivered = parseChecked(schemas[name], readFileSync(file, 'utf8'), file);
    if (stored === undefined) return delivered;
    return parseChecked(schemas[name], stored, `the stored ${name}`);
  }
}
