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

/** What fits beside what in so much memory: for people who choose which models to keep. */
export function fitMatrix(models: readonly Fitting[], capacityBytes: number): Fit[] {
  const fits = ({ vramBytes }: Fitting): boolean => vramBytes <= capacityBytes;
  return models.map((model) => ({
    id: model.id,
    fits: fits(model),
    beside: models
      .filter((other) => {
        const sharesOnePlace = model.exclusive && other.exclusive && model.engineId === other.engineId;
        return other.id !== model.id && !sharesOnePlace && model.vramBytes + other.vramBytes <= capacityBytes;
      })
      .map(({ id }) => id),
  }));
}
