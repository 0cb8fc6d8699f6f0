import type { CatalogModel } from '../../gpu/catalog.ts';
import type { Gpu } from '../../gpu/gpu.ts';
import type { Admission } from '../admission/admission.ts';
import { limits } from '../contract/limits.ts';
import { ApiError } from '../http/api-error.ts';
import { type Identity, mayUseModel } from '../tenants/tenant.ts';

type ModelKind = 'text' | 'image' | 'embedding';

interface ModelDeps {
  readonly gpu: Pick<Gpu, 'model' | 'models' | 'defaultModel' | 'settled' | 'engines'>;
}

interface WaitDeps extends ModelDeps {
  /** Who waits for engines holds a place. */
  readonly admission: Pick<Admission, 'whileOpen'>;
}

const retryAfterMs = 10_000;

/** The model of a name, or of a kind when no name was given. Rejects for one that is not there or cannot do it. */
export async function modelFor(
  deps: WaitDeps,
  identity: Identity,
  kind: ModelKind,
  name?: string,
): Promise<CatalogModel> {
  const model = await foundModel(deps, identity, name ?? null, kind);
  if (!isFor(model, kind))
    throw new ApiError('invalid_request', `The model "${model.id}" is for ${model.modality}, not ${kind}.`, {
      param: 'model',
    });
  return model;
}

/**
 * The model of a name; of a kind where the name is null. Just after the start the engines may not have said yet what
 * they have; then they are waited for. Rejects where there is none.
 */
export async function foundModel(
  deps: WaitDeps,
  identity: Identity,
  name: string | null,
  kind: ModelKind = 'text',
): Promise<CatalogModel> {
  const { gpu, admission } = deps;
  const find = () => (name === null ? gpu.defaultModel(kind) : gpu.model(name));
  let model = find();
  if (!model) {
    await admission.whileOpen(identity, () => gpu.settled(limits.engineStartMs));
    model = find();
  }
  if (model) return model;
  if (name !== null) throw noSuchModel(deps, identity, name, kind);
  throw new ApiError('engine_unavailable', `No ${kind} model is available at the moment.`, { retryAfterMs });
}

/**
 * Why there is no model of a name. While an engine has not said yet what it has, nobody can know that it is not there:
 * then it is an error that passes, not one that ends a job or a program.
 */
export function noSuchModel(
  { gpu }: ModelDeps,
  identity: Identity,
  name: string,
  kind?: ModelKind,
): ApiError {
  const shown = name.slice(0, 100);
  const all = gpu.models();
  const silent = gpu
    .engines()
    .some(({ id, health }) => health !== 'ready' && !all.some(({ engineId }) => engineId === id));
  if (silent) {
    return new ApiError(
      'engine_unavailable',
      `The model "${shown}" is not known, and an engine that may have it is not running at the moment. Try again later.`,
      { param: 'model', retryAfterMs },
    );
  }
  const usable = all.filter((model) => mayUseModel(identity, model.id) && (!kind || isFor(model, kind)));
  const list = usable.map(({ id }) => id).join(', ') || 'none at the moment';
  return new ApiError('model_not_found', `There is no model "${shown}". Available: ${list}.`, {
    param: 'model',
  });
}

function isFor(model: CatalogModel, kind: ModelKind): boolean {
  return kind === 'embedding' ? model.embeds : model.modality === kind;
}
