import type { Database } from 'better-sqlite3';
import type { Transporter } from 'nodemailer';
import { limits } from '../contract/limits.ts';
import type { DurableWrites } from '../db/durable-writes.ts';
import { newId } from '../db/ids.ts';

export interface Message {
  /** On whose account it is sent; null is nobody's: the operator's, or of somebody without a company. */
  readonly tenant: string | null;
  readonly to: string;
  readonly subject: string;
  readonly text: string;
}

export interface KeptMessage {
  readonly id: string;
  readonly recipient: string;
  readonly subject: string;
  readonly body: string;
  readonly createdAt: number;
  readonly sentAt: number | null;
  readonly attempts: number;
  readonly error: string | null;
}

const retryMs = [60_000, 5 * 60_000, 30 * 60_000, 2 * 3_600_000, 12 * 3_600_000] as const;
const everyMs = 15_000;

/**
 * Messages on their way. Each lies in the database, written with what it is about, until a mail server took it.
 * Where there is no mail server, the operator reads them here and passes them on.
 */
export class Outbox {
  readonly #db: Database;
  readonly #transport: Transporter | null;
  readonly #writes: DurableWrites;
  readonly #onError: (error: unknown, id: string | null) => void;
  /** Messages that went out and are not recorded as sent, or as refused: they are not sent again while we live. */
  readonly #unrecorded = new Set<string>();
  #timer: NodeJS.Timeout | null = null;
  #sending: Promise<void> | null = null;

  constructor(options: {
    db: Database;
    /** Null where there is no mail server. */
    transport: Transporter | null;
    writes: DurableWrites;
    onError: (error: unknown, id: string | null) => void;
  }) {
    const { db, transport, writes, onError } = options;
    this.#db = db;
    this.#transport = transport;
    this.#writes = writes;
    this.#onError = onError;
    if (transport) this.#timer = setInterval(() => void this.deliver(), everyMs).unref();
  }

  /** Whether there is a mail server. */
  get isDelivered(): boolean {
    return this.#transport !== null;
  }

  /** Takes a message. Joins the caller's transaction; it goes out after that. */
  send({ tenant, to, subject, text }: Message): void {
    this.#db
      .prepare(
        'insert into outbox (id, tenant, recipient, subject, body, created_at, next_at) values (?, ?, ?, ?, ?, ?, ?)',
      )
      .run(newId('mail'), tenant, to, subject, text, Date.now(), Date.now());
    if (this.#transport) setImmediate(() => void this.deliver());
  }

  /** Newest first, from an id of an earlier page on. */
  page(after: string | undefined, limit: number): KeptMessage[] {
    return this.#db
      .prepare<[string, number], KeptMessage>(
        `select id, recipient, subject, body, created_at as createdAt, sent_at as sentAt, attempts, error
         from outbox where id < ? order by id desc limit ?`,
      )
      .all(after ?? '~', limit);
  }

  /** Removes messages to an address that were sent in the name of a company, or of the operator (null). */
  removeFrom(tenant: string | null, recipient: string): number {
    return this.#db.prepare('delete from outbox where recipient = ? and tenant is ?').run(recipient, tenant)
      .changes;
  }

  removeTo(recipient: string): number {
    return this.#db.prepare('delete from outbox where recipient = ?').run(recipient).changes;
  }

  /** Removes messages that were delivered, and those that nobody came for, at most `most`. Returns how many. */
  sweep(most: number): number {
    return this.#db
      .prepare(
        'delete from outbox where id in (select id from outbox where sent_at < ? or created_at < ? limit ?)',
      )
      .run(Date.now() - limits.mail.sentKeptMs, Date.now() - limits.mail.keptMs, most).changes;
  }

  /** Hands what waits to the mail server, one after the other. */
  deliver(): Promise<void> {
    this.#sending ??= this.#deliver()
      .catch((error: unknown) => this.#onError(error, null))
      .finally(() => (this.#sending = null));
    return this.#sending;
  }

  async close(): Promise<void> {
    if (this.#timer) clearInterval(this.#timer);
    this.#transport?.close();
    await this.#sending;
  }

  async #deliver(): Promise<void> {
    // The oldest of each tenant, then the second of each: hundreds of invitations of one delay no other's mail.
    const waiting = this.#db.prepare<
      [number, string, number],
      { id: string; recipient: string; subject: string; body: string; attempts: number }
    >(
      `select id, recipient, subject, body, attempts from outbox
       where sent_at is null and next_at <= ? and id not in (select value from json_each(?))
       order by row_number() over (partition by tenant order by id), id limit ?`,
    );
    const found = waiting.all(Date.now(), JSON.stringify([...this.#unrecorded]), limits.mail.atOnce);
    for (const { id, recipient, subject, body, attempts } of found) {
      const error = await this.#send({ to: recipient, subject, text: body });
      if (error !== null) this.#onError(error, id);
      this.#unrecorded.add(id);
      void this.#writes
        .commit({
          what: 'the outcome of a message',
          id,
          write: () => this.#record(id, attempts, error),
          instead: [{ what: 'the end of a message', id, write: () => this.#giveUp(id) }],
        })
        .then((outcome) => outcome === 'written' && this.#unrecorded.delete(id));
    }
  }

  /** Resolves to what went wrong; null when the mail server took it. */
  async #send(mail: { to: string; subject: string; text: string }): Promise<Error | null> {
    try {
      await this.#transport?.sendMail(mail);
      return null;
    } catch (error) {
      return error instanceof Error
        ? error
        : new Error('The mail server cannot be reached.', { cause: error });
    }
  }

  #record(id: string, attempts: number, error: Error | null): void {
    if (error === null) {
      this.#db
        .prepare('update outbox set sent_at = ?, attempts = attempts + 1, error = null where id = ?')
        .run(Date.now(), id);
      return;
    }
    const waitMs = retryMs[attempts] ?? retryMs.at(-1) ?? everyMs;
    this.#db
      .prepare('update outbox set attempts = attempts + 1, next_at = ?, error = ? where id = ?')
      .run(Date.now() + waitMs, error.message.slice(0, 500), id);
  }

  /** It is not sent again before the sweeper removes it. */
  #giveUp(id: string): void {
    this.#db.prepare('update outbox set next_at = ? where id = ?').run(Date.now() + limits.mail.keptMs, id);
  }
}
