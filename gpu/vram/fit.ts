/** What a model takes, and whether its engine holds one at a time. */
export interface Fitting {
  readonly id: string;
  readonly engineId: string;
  readonly exclusive: boolean;
  readonly vramBytes: number;
}

export interface Fit {
  readonly id: string;
  /** Whether there is room for it at all. */
  readonly fits: boolean;
  /** Those it can be loaded beside. */
  readonly beside: readonly string[];
}

/** Whether two models are held by one engine that holds one at a time. */
export function sharesOnePlace(one: Fitting, other: Fitting): boolean {
  return one.exclusive && other.exclusive && one.engineId === other.engineId && one.id !== other.id;
}

/** What fits beside what in so much memory: for people who choose which models to keep. */
export function fitMatrix(models: readonly Fitting[], capacityBytes: number): Fit[] {
  const fits = ({ vramBytes }: Fitting): boolean => vramBytes <= capacityBytes;
  return models.map((model) => ({
    id: model.id,
    fits: fits(model),
    beside: models
      .filter(
        (other) =>
          other.id !== model.id &&
          !sharesOnePlace(model, other) &&
          model.vramBytes + other.vramBytes <= capacityBytes,
      )
      .map(({ id }) => id),
  }));
}
