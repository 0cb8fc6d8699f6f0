import type { Database } from 'better-sqlite3';
import { limits } from '../contract/limits.ts';
import { Statements } from '../db/statements.ts';

export interface Upload {
  readonly id: string;
  readonly tenant: string;
  readonly person: string | null;
  /** What it was called where it came from. */
  readonly name: string;
  readonly contentType: string;
  readonly width: number;
  readonly height: number;
  readonly bytes: number;
  readonly createdAt: number;
  readonly expiresAt: number;
}

/** The word for uploads in the name of a stored file. */
export const uploadGroup = 'uploads';

const columns = `select id, tenant, person, name, content_type as contentType, width, height, bytes,
  created_at as createdAt, expires_at as expiresAt from uploads`;
/** Of those that a job which has not ended was asked for with. */
const inUse = `exists (select 1 from job_uploads join jobs on jobs.id = job_uploads.job
  where job_uploads.upload = uploads.id and jobs.finished_at is null)`;

/** Pictures that tenants sent: what is known of them. The bytes lie in the file store. */
export class UploadStore {
  readonly #sql: Statements;

  constructor(db: Database) {
    this.#sql = new Statements(db);
  }

  add(upload: Upload): void {
    this.#sql
      .prepare(
        `insert into uploads (id, tenant, person, name, content_type, width, height, bytes, created_at, expires_at)
         values (:id, :tenant, :person, :name, :contentType, :width, :height, :bytes, :createdAt, :expiresAt)`,
      )
      .run(upload);
  }

  find(tenant: string, id: string): Upload | undefined {
    return this.#sql
      .prepare<[string, string], Upload>(`${columns} where id = ? and tenant = ?`)
      .get(id, tenant);
  }

  /** Whosesoever it is: for links, which are bound to their tenant by themselves. */
  findAny(id: string): Upload | undefined {
    return this.#sql.prepare<[string], Upload>(`${columns} where id = ?`).get(id);
  }

  /** How many were taken of every tenant since a moment. */
  countsSince(since: number): { tenant: string; count: number }[] {
    return this.#sql
      .prepare<[number], { tenant: string; count: number }>(
        'select tenant, count(*) as count from uploads where created_at >= ? group by tenant',
      )
      .all(since);
  }

  /** Newest first, from an id of an earlier page on; of one person where one is named. */
  page(tenant: string, person: string | null, after: string | undefined, limit: number): Upload[] {
    const from = after ?? '~';
    return person === null
      ? this.#sql
          .prepare<[string, string, number], Upload>(
            `${columns} where tenant = ? and id < ? order by id desc limit ?`,
          )
          .all(tenant, from, limit)
      : this.#sql
          .prepare<[string, string, string, number], Upload>(
            `${columns} where tenant = ? and person = ? and id < ? order by id desc limit ?`,
          )
          .all(tenant, person, from, limit);
  }

  /** Some of a tenant, or of one person of it, oldest first, from an id of an earlier page on. */
  some(tenant: string, person: string | undefined, limit: number, after = ''): Upload[] {
    const whose = { tenant, person: person ?? null, after, limit };
    return this.#sql
      .prepare<typeof whose, Upload>(
        `${columns} where tenant = :tenant and (:person is null or person = :person) and id > :after
         order by id limit :limit`,
      )
      .all(whose);
  }

  /** Those of a tenant, or of one person of it, oldest first, read a page at a time. */
  *all(tenant: string, person?: string): Generator<Upload> {
    let after = '';
    for (;;) {
      const page = this.some(tenant, person, limits.turn.rows, after);
      yield* page;
      after = page.at(-1)?.id ?? '';
      if (page.length < limits.turn.rows) return;
    }
  }

  /** Whether a job that has not ended needs it. */
  isInUse(id: string): boolean {
    const found = this.#sql.prepare<[string], 1>(`select 1 from uploads where id = ? and ${inUse}`).get(id);
    return found !== undefined;
  }

  remove(ids: readonly string[]): void {
    this.#sql
      .prepare('delete from uploads where id in (select value from json_each(?))')
      .run(JSON.stringify(ids));
  }

  /** Some of those whose time is over, and that nothing needs any more. */
  expired(now: number, limit: number): Upload[] {
    return this.#sql
      .prepare<[number, number], Upload>(
        `${columns} where expires_at <= ? and not ${inUse} order by expires_at limit ?`,
      )
      .all(now, limit);
  }

  /** Bytes of everything that lies on the disk for a tenant: uploads and results. */
  storedBytes(tenant: string): number {
    const bytes = this.#sql
      .prepare<[string], number>('select bytes from storage where tenant = ?')
      .pluck()
      .get(tenant);
    return bytes ?? 0;
  }
}
