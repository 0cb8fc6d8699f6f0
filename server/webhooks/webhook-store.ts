import { randomBytes } from 'node:crypto';
import type { Database } from 'better-sqlite3';
import { Statements } from '../db/statements.ts';
import { newId } from '../db/ids.ts';
import type { Vault } from '../secrets/vault.ts';

export interface Webhook {
  readonly id: string;
  readonly tenant: string;
  readonly url: string;
  /** Types of events; an empty list is all of them. */
  readonly events: readonly string[];
  readonly createdAt: number;
  readonly disabledAt: number | null;
  readonly failingSince: number | null;
}

export interface Delivery {
  readonly id: string;
  readonly webhook: string;
  readonly event: string;
  readonly type: string;
  readonly payload: string;
  readonly createdAt: number;
  readonly attempts: number;
  readonly nextAt: number | null;
  readonly deliveredAt: number | null;
  readonly status: number | null;
  readonly error: string | null;
}

/** A delivery whose time has come, and whose it is. */
export interface DueDelivery extends Delivery {
  readonly tenant: string;
}

interface Row extends Omit<Webhook, 'events'> {
  readonly events: string;
}

const webhookColumns = `select id, tenant, url, events, created_at as createdAt, disabled_at as disabledAt,
  failing_since as failingSince from webhooks`;
const deliveryColumns = `select id, webhook, event, type, payload, created_at as createdAt, attempts,
  next_at as nextAt, delivered_at as deliveredAt, status, error from webhook_deliveries`;

/** Endpoints of tenants, and what is on its way to them. */
export class WebhookStore {
  readonly #sql: Statements;
  readonly #vault: Vault;

  constructor(db: Database, vault: Vault) {
    this.#sql = new Statements(db);
    this.#vault = vault;
  }

  /** A new endpoint, and the secret that signs what is sent to it, which can be seen only here. */
  create({ tenant, url, events }: Pick<Webhook, 'tenant' | 'url' | 'events'>): {
    webhook: Webhook;
    secret: string;
  } {
    const id = newId('webhook');
    const secret = `whsec_${randomBytes(32).toString('base64')}`;
    this.#sql
      .prepare('insert into webhooks (id, tenant, url, events, secret, created_at) values (?, ?, ?, ?, ?, ?)')
      .run(id, tenant, url, JSON.stringify(events), this.#vault.seal(tenant, secret), Date.now());
    const webhook = this.find(id);
    if (!webhook) throw new Error(`There is no webhook ${id}.`);
    return { webhook, secret };
  }

  find(id: string): Webhook | undefined {
    const row = this.#sql.prepare<[string], Row>(`${webhookColumns} where id = ?`).get(id);
    return row && webhookOf(row);
  }

  secret({ id, tenant }: Webhook): string {
    const sealed = this.#sql
      .prepare<[string], Buffer>('select secret from webhooks where id = ?')
      .pluck()
      .get(id);
    if (!sealed) throw new Error(`There is no webhook ${id}.`);
    return this.#vault.open(tenant, sealed).toString();
  }

  list(tenant: string): Webhook[] {
    return this.#sql
      .prepare<[string], Row>(`${webhookColumns} where tenant = ? order by id desc`)
      .all(tenant)
      .map(webhookOf);
  }

  /** Those of all tenants, newest first. */
  all(): Webhook[] {
    return this.#sql.prepare<[], Row>(`${webhookColumns} order by id desc`).all().map(webhookOf);
  }

  remove(id: string): void {
    this.#sql.prepare('delete from webhooks where id = ?').run(id);
  }

  /** Removes deliveries to one endpoint, at most `most`. Returns how many. */
  removeDeliveries(webhook: string, most: number): number {
    return this.#sql
      .prepare(
        `delete from webhook_deliveries where id in (select id from webhook_deliveries where webhook = ? limit ?)`,
      )
      .run(webhook, most).changes;
  }

  /** Removes deliveries to a tenant's endpoints, at most `most`. Returns how many. */
  removeDeliveriesOf(tenant: string, most: number): number {
    return this.#sql
      .prepare(
        `delete from webhook_deliveries where id in
           (select id from webhook_deliveries where webhook in (select id from webhooks where tenant = ?) limit ?)`,
      )
      .run(tenant, most).changes;
  }

  removeOf(tenant: string): void {
    this.#sql.prepare('delete from webhooks where tenant = ?').run(tenant);
  }

  /** Puts an event on its way to every endpoint of a tenant that wants it. Belongs into the transaction of what happened. */
  emit(tenant: string, type: string, data: object): void {
    const wanted = this.list(tenant).filter(
      ({ disabledAt, events }) => disabledAt === null && (events.length === 0 || events.includes(type)),
    );
    if (wanted.length === 0) return;
    const event = newId('event');
    for (const { id } of wanted) this.enqueue(id, event, type, data);
  }

  enqueue(webhook: string, event: string, type: string, data: object): string {
    const id = newId('delivery');
    const payload = JSON.stringify({ type, timestamp: new Date().toISOString(), data });
    this.#sql
      .prepare(
        'insert into webhook_deliveries (id, webhook, event, type, payload, created_at, next_at) values (?, ?, ?, ?, ?, ?, ?)',
      )
      .run(id, webhook, event, type, payload, Date.now(), Date.now());
    return id;
  }

  /** The oldest delivery that is due, for each endpoint; without those named. */
  due(now: number, except: readonly string[] = []): DueDelivery[] {
    return this.#sql
      .prepare<[number, string], DueDelivery>(
        `select due.*, webhooks.tenant from (${deliveryColumns} where id in
           (select min(id) from webhook_deliveries where next_at is not null and next_at <= ?
              and id not in (select value from json_each(?)) group by webhook)) due
         join webhooks on webhooks.id = due.webhook`,
      )
      .all(now, JSON.stringify(except));
  }

  /** It is not sent again. */
  giveUp(id: string): void {
    this.#sql.prepare('update webhook_deliveries set next_at = null where id = ?').run(id);
  }

  /** Newest first. */
  deliveries(webhook: string, limit: number): Delivery[] {
    return this.#sql
      .prepare<[string, number], Delivery>(`${deliveryColumns} where webhook = ? order by id desc limit ?`)
      .all(webhook, limit);
  }

  /** It arrived. */
  delivered(id: string, webhook: string, status: number): void {
    this.#sql
      .prepare(
        `update webhook_deliveries set attempts = attempts + 1, next_at = null, delivered_at = ?, status = ?, error = null
         where id = ?`,
      )
      .run(Date.now(), status, id);
    this.#sql.prepare('update webhooks set failing_since = null where id = ?').run(webhook);
  }

  /** It did not; to be tried again at a time, or not at all. */
  failed(
    id: string,
    webhook: string,
    failure: { status: number | null; error: string; nextAt: number | null },
  ): void {
    this.#sql
      .prepare(
        'update webhook_deliveries set attempts = attempts + 1, next_at = ?, status = ?, error = ? where id = ?',
      )
      .run(failure.nextAt, failure.status, failure.error, id);
    this.#sql
      .prepare('update webhooks set failing_since = coalesce(failing_since, ?) where id = ?')
      .run(Date.now(), webhook);
  }

  /** Nothing more is sent to it. */
  disable(id: string): void {
    this.#sql.prepare('update webhooks set disabled_at = ? where id = ?').run(Date.now(), id);
    this.#sql.prepare('update webhook_deliveries set next_at = null where webhook = ?').run(id);
  }

  /** Sends something once more, to an endpoint that is then not disabled any longer. */
  replay({ id, webhook }: Delivery): void {
    this.#sql
      .prepare('update webhooks set disabled_at = null, failing_since = null where id = ?')
      .run(webhook);
    this.#sql
      .prepare('update webhook_deliveries set next_at = ?, delivered_at = null where id = ?')
      .run(Date.now(), id);
  }

  /** Removes deliveries that are over and older than a moment, at most `most`. Returns how many. */
  sweep(before: number, most: number): number {
    return this.#sql
      .prepare(
        `delete from webhook_deliveries where id in
           (select id from webhook_deliveries where next_at is null and created_at < ? limit ?)`,
      )
      .run(before, most).changes;
  }
}

function webhookOf(row: Row): Webhook {
  return { ...row, events: JSON.parse(row.events) as string[] };
}
