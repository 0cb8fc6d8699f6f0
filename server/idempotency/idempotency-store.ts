import { createHash, randomUUID } from 'node:crypto';
import type { Database } from 'better-sqlite3';
import { fitting } from '../db/in-turns.ts';
import { Statements } from '../db/statements.ts';
import { limits } from '../contract/limits.ts';
import { ApiError } from '../http/api-error.ts';
import type { Vault } from '../secrets/vault.ts';

/** A request that came with an Idempotency-Key and is the one that does the work. */
export interface KeyedRun {
  readonly tenant: string;
  readonly key: string;
}

/** What was answered, to be answered again. */
export interface KeptAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Uint8Array;
}

/** Who an answer was made for, and the models and features it took. */
export interface Origin {
  readonly person: string | null;
  readonly needs: readonly Need[];
}

export interface Need {
  readonly feature: string;
  readonly model: string;
}

interface Row {
  readonly person: string | null;
  readonly needs: string;
  readonly fingerprint: string;
  readonly boot: string | null;
  readonly request_id: string;
  readonly status: number | null;
  readonly content_type: string | null;
  readonly answer: Buffer | null;
}

interface Aged extends KeyedRun {
  readonly bytes: number | null;
}

/**
 * One job and one charge for one Idempotency-Key of one tenant (L9). The answer is kept in the transaction of the
 * charge, so a crash leaves both or neither. What failed and cost nothing is not kept: the same key may try again.
 */
export class IdempotencyStore {
  readonly #sql: Statements;
  readonly #vault: Vault;
  readonly #transaction: (work: () => void) => void;
  /** Work that another run of the appliance began died with it. */
  readonly #boot = randomUUID();

  readonly #hasRoom: (tenant: string, bytes: number) => boolean;

  /** `hasRoom` says whether so many bytes more may be kept for a tenant; an answer that has none is not given again. */
  constructor(db: Database, vault: Vault, hasRoom: (tenant: string, bytes: number) => boolean = () => true) {
    this.#hasRoom = hasRoom;
    this.#sql = new Statements(db);
    this.#vault = vault;
    this.#transaction = db.transaction((work: () => void) => work());
  }

  /**
   * Takes the key for a request, or returns what was answered to it before. Throws an ApiError when the key was used
   * for another request, when that one still runs, or when its answer cannot be given again. `demandShare` throws when
   * whoever asks now may not have what was answered to who asked first.
   */
  begin(
    tenant: string,
    key: string,
    request: {
      readonly method: string;
      readonly path: string;
      readonly body: unknown;
      readonly id: string;
      readonly person: string | null;
    },
    demandShare: (origin: Origin) => void = () => undefined,
  ): KeyedRun | KeptAnswer {
    const fingerprint = createHash('sha256')
      .update(`${request.method} ${request.path}\n${JSON.stringify(request.body)}`)
      .digest('hex');
    const earlier = this.#sql
      .prepare<[string, string, number], Row>(
        'select * from idempotency where tenant = ? and key = ? and at > ?',
      )
      .get(tenant, key, Date.now() - limits.idempotency.keptMs);
    if (earlier && earlier.fingerprint !== fingerprint) {
      throw new ApiError(
        'idempotency_key_reused',
        'This Idempotency-Key was used for another request. Use a new key for each new request.',
        { param: 'idempotency-key' },
      );
    }
    if (earlier) demandShare({ person: earlier.person, needs: JSON.parse(earlier.needs) as Need[] });
    if (earlier?.boot === this.#boot) {
      throw new ApiError(
        'conflict',
        `The first request with this Idempotency-Key still runs (request ${earlier.request_id}). Ask again later for its answer.`,
        { param: 'idempotency-key', retryAfterMs: 2_000 },
      );
    }
    if (earlier && earlier.status !== null) return this.#kept(tenant, earlier);
    // Not by a replacement, of which the triggers that count bytes would not hear.
    this.#sql.prepare('delete from idempotency where tenant = ? and key = ?').run(tenant, key);
    this.#sql
      .prepare(
        `insert into idempotency (tenant, key, fingerprint, boot, request_id, at, person)
         values (?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(tenant, key, fingerprint, this.#boot, request.id, Date.now(), request.person);
    return { tenant, key };
  }

  /**
   * The work is done. Call it inside the transaction of its charge. Without an answer, it cannot be given again. `needs`
   * says what the work took: whoever is given the answer later must be allowed that.
   */
  finish({ tenant, key }: KeyedRun, answer: KeptAnswer | null, needs: readonly Need[] = []): void {
    const body = answer && Buffer.from(answer.body);
    const fits =
      body !== null && body.length <= limits.idempotency.answerBytes && this.#hasRoom(tenant, body.length);
    const kept = fits ? this.#vault.seal(tenant, body) : null;
    this.#sql
      .prepare(
        'update idempotency set boot = null, status = ?, content_type = ?, answer = ?, needs = ? where tenant = ? and key = ?',
      )
      .run(answer?.status ?? 0, answer?.contentType ?? null, kept, JSON.stringify(needs), tenant, key);
  }

  /** Nothing came of it and nothing was charged. */
  forget({ tenant, key }: KeyedRun): void {
    this.#sql
      .prepare('delete from idempotency where tenant = ? and key = ? and boot = ?')
      .run(tenant, key, this.#boot);
  }

  /** Forgets what was answered to a tenant, at most `most`. Returns how many. */
  removeOf(tenant: string, most: number): number {
    const found = this.#sql.prepare<[string, number], Aged>(
      'select tenant, key, length(answer) as bytes from idempotency where tenant = ? limit ?',
    );
    return this.#removeAll(found.all(tenant, most));
  }

  /** Forgets what was answered to a person, at most `most`. Returns how many. */
  removeOfPerson(person: string, most: number): number {
    const found = this.#sql.prepare<[string, number], Aged>(
      'select tenant, key, length(answer) as bytes from idempotency where person = ? limit ?',
    );
    return this.#removeAll(found.all(person, most));
  }

  /** Forgets what is past its time, at most `most`. Returns how many. */
  sweep(most: number): number {
    const found = this.#sql.prepare<[number, string, number], Aged>(
      `select tenant, key, length(answer) as bytes from idempotency
       where at <= ? and (boot is null or boot <> ?) limit ?`,
    );
    return this.#removeAll(found.all(Date.now() - limits.idempotency.keptMs, this.#boot, most));
  }

  /** As many as one turn of the event loop may. */
  #removeAll(found: readonly Aged[]): number {
    const some = fitting(found);
    const remove = this.#sql.prepare('delete from idempotency where tenant = ? and key = ?');
    this.#transaction(() => {
      for (const { tenant, key } of some) remove.run(tenant, key);
    });
    return some.length;
  }

  #kept(tenant: string, { status, content_type, answer, request_id }: Row): KeptAnswer {
    if (!answer || status === null) {
      throw new ApiError(
        'conflict',
        `The request with this Idempotency-Key was done (request ${request_id}), and its answer was not kept. Use a new key to have it done anew.`,
        { param: 'idempotency-key' },
      );
    }
    return {
      status,
      contentType: content_type ?? 'application/json',
      body: this.#vault.open(tenant, answer),
    };
  }
}
