import { crashPoint } from '../crash-point.ts';
import { newId } from '../db/ids.ts';
import type { FileStore } from '../files/file-store.ts';
import type { Pictures } from '../media/pictures.ts';
import type { Moderation } from '../moderation/moderation.ts';
import type { Tenant } from '../tenants/tenant.ts';
import type { Result, ResultSink } from './feature.ts';
import type { Artefact, JobRecord } from './job-store.ts';

export interface ResultParts {
  readonly files: FileStore;
  readonly pictures: Pick<Pictures, 'work'>;
  readonly moderation: Pick<Moderation, 'allowsResult'>;
}

/**
 * Takes what a step makes: pictures are held against the tenant's policy, whatever feature made them, and get a
 * small picture for lists. What was added is known once the step is saved.
 */
export class StepResults implements ResultSink {
  readonly made: Artefact[] = [];
  readonly #parts: ResultParts;
  readonly #job: JobRecord;
  readonly #tenant: Tenant;

  constructor(parts: ResultParts, job: JobRecord, tenant: Tenant) {
    this.#parts = parts;
    this.#job = job;
    this.#tenant = tenant;
  }

  async add({ name, contentType, bytes, metadata }: Result): Promise<boolean> {
    const { files, pictures, moderation } = this.#parts;
    const { id: job, tenant } = this.#job;
    const isPicture = contentType.startsWith('image/');
    if (!(await moderation.allowsResult(this.#tenant, contentType, bytes))) return false;
    const small = isPicture ? await pictures.work({ kind: 'thumbnail', bytes }, 'picture', tenant) : null;
    const artefact: Artefact = {
      id: newId('artefact'),
      job,
      tenant,
      name,
      contentType,
      bytes: bytes.length,
      metadata: { ...metadata },
      thumbnail: small && newId('thumbnail'),
      createdAt: Date.now(),
    };
    if (small && artefact.thumbnail !== null)
      await files.save({ tenant, group: job, id: artefact.thumbnail }, small.bytes);
    await files.save({ tenant, group: job, id: artefact.id }, bytes);
    crashPoint('result.saved');
    this.made.push(artefact);
    return true;
  }
}
