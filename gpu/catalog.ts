import type { Engine, EngineModel } from './engines/engine.ts';

/** A model that can be asked for: an engine's model under the name tenants use. */
export interface CatalogModel extends EngineModel {
  /** The name tenants use: the model's own, or `engine/name` where two engines have one of that name. */
  readonly id: string;
  readonly engineId: string;
}

/** Everything the engines could load, as last read from each of them. */
export class Catalog {
  readonly #byEngine = new Map<string, readonly EngineModel[]>();
  #models = new Map<string, CatalogModel>();

  /** Replaces what an engine offers. */
  update(engine: Engine, models: readonly EngineModel[]): void {
    this.#byEngine.set(engine.describe().id, models);
    const count = new Map<string, number>();
    for (const { name } of [...this.#byEngine.values()].flat()) count.set(name, (count.get(name) ?? 0) + 1);
    this.#models = new Map(
      [...this.#byEngine].flatMap(([engineId, offered]) =>
        offered.map((model) => {
          const id = count.get(model.name) === 1 ? model.name : `${engineId}/${model.name}`;
          return [id, { ...model, id, engineId }] as const;
        }),
      ),
    );
  }

  get(id: string): CatalogModel | undefined {
    return this.#models.get(id);
  }

  all(): CatalogModel[] {
    return [...this.#models.values()];
  }

  find(engineId: string, key: string): CatalogModel | undefined {
    return this.all().find((model) => model.engineId === engineId && model.key === key);
  }
}
