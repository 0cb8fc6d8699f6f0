/** Interactive work has someone waiting at the other end of a connection; batch work (jobs) does not. */
export type Lane = 'interactive' | 'batch';

/** One piece of GPU work that waits for a lease. Times are monotonic milliseconds. */
export interface Work {
  readonly id: string;
  readonly tenant: string;
  /** The plan's share of the GPU relative to other tenants; 1 is the base. */
  readonly weight: number;
  /** How many leases the tenant may hold at once, over all models. */
  readonly concurrency: number;
  readonly modelId: string;
  readonly lane: Lane;
  /** What it is for, for the operator to see. */
  readonly feature?: string;
  /** What the lease is expected to cost, in GPU milliseconds. */
  readonly costMs: number;
  readonly since: number;
}

/** What one tenant waits for on one model in one lane, in order of arrival. It lives as long as something waits. */
export interface Line {
  readonly works: readonly Work[];
  /**
   * When the tenant's last lease on this model and lane began or ended, 0 for never. The clock of a wait is kept here
   * and nowhere wider: a tenant that is served on one model still waits for another.
   */
  readonly servedAt: number;
}

/** The waiting work of one model and lane: a line per tenant. */
export type TenantLines = ReadonlyMap<string, Line>;

/** Since when the head of a line waits for its turn: its arrival, or the tenant's last turn there if that is later. */
export function waitsSince(line: Line, work: Work): number {
  return Math.max(work.since, line.servedAt);
}

interface OpenLine extends Line {
  readonly works: Work[];
  servedAt: number;
}

interface Backlog {
  readonly lines: Record<Lane, Map<string, OpenLine>>;
  count: number;
}

/** Sums of estimated cost, kept as work comes and goes. */
class LaneCost {
  readonly byTenant = new Map<string, number>();
  totalMs = 0;

  add(tenant: string, costMs: number): void {
    const tenantMs = (this.byTenant.get(tenant) ?? 0) + costMs;
    // Sums of fractions drift; whoever has nothing left has exactly nothing.
    if (tenantMs > 1e-6) this.byTenant.set(tenant, tenantMs);
    else this.byTenant.delete(tenant);
    this.totalMs = this.byTenant.size === 0 ? 0 : this.totalMs + costMs;
  }
}

const noLines: TenantLines = new Map();

/**
 * The waiting work of the whole appliance, kept by model, lane and tenant, so that a plan looks only at the heads
 * of lines. The order between lines is the plan's to choose; inside a line it is arrival.
 */
export class WorkQueue {
  readonly #backlogs = new Map<string, Backlog>();
  readonly #byId = new Map<string, Work>();
  readonly #costs = { interactive: new LaneCost(), batch: new LaneCost() };

  get size(): number {
    return this.#byId.size;
  }

  /** The estimated cost of what waits in a lane, in GPU milliseconds: of everyone, or of one tenant. */
  costMs(lane: Lane, tenant?: string): number {
    const cost = this.#costs[lane];
    return tenant === undefined ? cost.totalMs : (cost.byTenant.get(tenant) ?? 0);
  }

  add(work: Work): void {
    if (this.#byId.has(work.id)) throw new Error(`work ${work.id} is already queued`);
    let backlog = this.#backlogs.get(work.modelId);
    if (!backlog) {
      backlog = { lines: { interactive: new Map(), batch: new Map() }, count: 0 };
      this.#backlogs.set(work.modelId, backlog);
    }
    const lines = backlog.lines[work.lane];
    const line = lines.get(work.tenant);
    if (line) line.works.push(work);
    else lines.set(work.tenant, { works: [work], servedAt: 0 });
    backlog.count += 1;
    this.#byId.set(work.id, work);
    this.#costs[work.lane].add(work.tenant, work.costMs);
  }

  /** Takes work out, granted or given up; undefined when it is not (or no longer) waiting. */
  remove(id: string): Work | undefined {
    const work = this.#byId.get(id);
    if (!work) return undefined;
    this.#byId.delete(id);
    const backlog = this.#backlogs.get(work.modelId);
    const line = backlog?.lines[work.lane].get(work.tenant);
    if (!backlog || !line) throw new Error(`work ${id} is in no line`);
    line.works.splice(line.works.indexOf(work), 1);
    if (line.works.length === 0) backlog.lines[work.lane].delete(work.tenant);
    backlog.count -= 1;
    if (backlog.count === 0) this.#backlogs.delete(work.modelId);
    this.#costs[work.lane].add(work.tenant, -work.costMs);
    return work;
  }

  /** A lease for this work began or ended: what else its tenant waits for in that line waits from now on. */
  served({ modelId, lane, tenant }: Work, now: number): void {
    const line = this.#backlogs.get(modelId)?.lines[lane].get(tenant);
    if (line) line.servedAt = now;
  }

  get(id: string): Work | undefined {
    return this.#byId.get(id);
  }

  /** A copy: callers take work out while they go through it. */
  all(): Work[] {
    return [...this.#byId.values()];
  }

  /** The models that have waiting work. */
  models(): IterableIterator<string> {
    return this.#backlogs.keys();
  }

  count(modelId: string): number {
    return this.#backlogs.get(modelId)?.count ?? 0;
  }

  /** The tenants that have work waiting in a lane. */
  tenantsIn(lane: Lane): number {
    return this.#costs[lane].byTenant.size;
  }

  lines(modelId: string, lane: Lane): TenantLines {
    return this.#backlogs.get(modelId)?.lines[lane] ?? noLines;
  }
}
