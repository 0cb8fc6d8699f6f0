import type { Gpu } from '../../gpu/gpu.ts';
import type { CatalogModel } from '../../gpu/catalog.ts';
import type { Admission, Quote, Wish } from '../admission/admission.ts';
import { limits } from '../contract/limits.ts';
import { crashPoint } from '../crash-point.ts';
import { newId } from '../db/ids.ts';
import type { UploadStore } from '../files/upload-store.ts';
import type { StorageRoom } from '../files/storage-room.ts';
import { modelFor } from '../generation/models.ts';
import type { HistoryStore } from '../history/history-store.ts';
import { ApiError } from '../http/api-error.ts';
import { maySeeWorkOf } from '../tenants/eyes.ts';
import type { Identity } from '../tenants/tenant.ts';
import { type Feature, uploadsOf } from './feature.ts';
import type { Jobs } from './jobs.ts';
import type { JobRecord, JobStore } from './job-store.ts';

/** One job that somebody wants, with everything it needs found. */
export interface Order {
  readonly feature: Feature<unknown>;
  readonly input: unknown;
  readonly model: CatalogModel;
  readonly uploads: readonly string[];
  readonly wish: Wish;
}

export interface Placing {
  readonly batch?: string | null;
  readonly retryOf?: string | null;
  /** Seconds after which what has not begun is dropped. */
  readonly startWithin?: number | undefined;
}

interface DeskParts {
  readonly gpu: Gpu;
  readonly admission: Admission;
  readonly store: JobStore;
  readonly jobs: Jobs;
  readonly history: HistoryStore;
  readonly uploadStore: UploadStore;
  readonly room: Pick<StorageRoom, 'demand'>;
}

/** Takes orders for jobs: what they need is looked up, they are let in, and put down with what is held for them. */
export class JobDesk {
  readonly #parts: DeskParts;

  constructor(parts: DeskParts) {
    this.#parts = parts;
  }

  /** What is wanted, with everything it needs. Rejects with an ApiError for what cannot be. */
  async order(identity: Identity, feature: Feature<unknown>, input: unknown): Promise<Order> {
    const { model: name } = input as { model?: string };
    const model = await modelFor(this.#parts, identity, feature.modality, name);
    const { uploads, missing } = uploadsOf(feature, input, (id) => {
      const upload = this.#parts.uploadStore.find(identity.tenant.id, id);
      return upload && maySeeWorkOf(identity, upload.person) ? upload : undefined;
    });
    if (missing) {
      const { param, id } = missing;
      const message = `There is no upload ${id}. Send it to /api/v1/upload first.`;
      throw new ApiError('invalid_request', message, { param });
    }
    const wish: Wish = {
      feature: feature.name,
      model: model.id,
      lane: 'batch',
      ...feature.wish(input, model, uploads),
    };
    return { feature, input, model, uploads: Object.values(uploads).map(({ id }) => id), wish };
  }

  /** What orders would cost together. */
  quote(identity: Identity, orders: readonly Order[]): Quote {
    const quotes = orders.map(({ wish }) => this.#parts.admission.quote(identity, wish));
    return {
      credits: quotes.reduce((sum, { credits }) => sum + credits, 0),
      available: quotes[0]?.available ?? null,
    };
  }

  /**
   * Puts jobs down, all of them or none, with whatever `alsoWrite` writes in the same transaction: whoever hears of
   * them can rely on them (J1). Throws an ApiError that says which limit they met.
   */
  place(
    identity: Identity,
    orders: readonly Order[],
    { batch = null, retryOf = null, startWithin }: Placing,
    alsoWrite: (made: readonly JobRecord[]) => void = () => undefined,
  ): JobRecord[] {
    const { store, admission, jobs, room, history } = this.#parts;
    const { tenant, id: askedBy, person } = identity;
    if (store.openOf(tenant.id) + orders.length > limits.jobs.openPerTenant) {
      throw new ApiError(
        'tenant_queue_full',
        `${limits.jobs.openPerTenant} jobs may be open (limit: queue). Wait for some to end.`,
        { retryAfterMs: 30_000 },
      );
    }
    room.demand(tenant, 0);
    const startBy = startWithin === undefined ? null : Date.now() + startWithin * 1000;
    const works = orders.map(({ wish }) => ({ id: newId('job'), wish }));
    let made: JobRecord[] = [];
    admission.admitJobs(identity, works, (held, prices) => {
      made = orders.map(({ feature, input, model, uploads: needed }, index) =>
        store.create(
          {
            id: works[index]?.id ?? '',
            tenant: tenant.id,
            askedBy,
            person,
            feature: feature.name,
            model: model.id,
            creditsHeld: held[index] ?? 0,
            startBy,
            batch,
            retryOf,
          },
          feature.prepare(input),
          prices,
          needed,
        ),
      );
      if (tenant.history !== 'none') {
        for (const [index, { id, feature, model, createdAt: at }] of made.entries()) {
          const prompts = orders[index]?.wish.prompts;
          history.add(tenant.id, { id, user: person, feature, model, at, prompts });
        }
      }
      alsoWrite(made);
      crashPoint('job.put-down');
    });
    crashPoint('job.placed');
    jobs.added(made);
    return made;
  }
}
