import type { FastifyReply, FastifyRequest } from 'fastify';
import type { PlanWindows } from '../../admission/plan-windows.ts';
import type { Ticket, Wish } from '../../admission/admission.ts';
import type { AccountDeps } from '../../accounts/account-deps.ts';
import type { Company } from '../../accounts/company.ts';
import type { Recovery } from '../../accounts/recovery.ts';
import type { Registration } from '../../accounts/registration.ts';
import type { SignIn } from '../../accounts/sign-in.ts';
import type { UserRecord } from '../../accounts/user-store.ts';
import type { Actor } from '../../audit/audit-log.ts';
import { fieldNamesHeader } from '../../contract/given-fields.ts';
import { isDryRunWanted } from '../../contract/money.ts';
import type { DurableWrites } from '../../db/durable-writes.ts';
import type { GenerationDeps } from '../../generation/text.ts';
import type { ImageLinks } from '../../files/image-links.ts';
import type { SignedLinks } from '../../files/signed-links.ts';
import { addressKey } from '../../http/address.ts';
import { ApiError } from '../../http/api-error.ts';
import type { History } from '../../history/history.ts';
import { clientAddress, isTunnelled, originOf } from '../../http/tunnel-listener.ts';
import type { Style } from '../../contract/image-generation.ts';
import type { FileName } from '../../files/file-store.ts';
import type { LocalFiles } from '../../files/local-files.ts';
import type { StorageRoom } from '../../files/storage-room.ts';
import type { UploadStore } from '../../files/upload-store.ts';
import type { Uploads } from '../../files/uploads.ts';
import type { Feature } from '../../jobs/feature.ts';
import type { JobDesk } from '../../jobs/job-desk.ts';
import type { JobRecord } from '../../jobs/job-store.ts';
import type { Pictures } from '../../media/pictures.ts';
import type { Moderation } from '../../moderation/moderation.ts';
import type { Payments } from '../../payments/payments.ts';
import type { ExportDeps } from '../../privacy/export.ts';
import { maySeeWorkOf } from '../../tenants/eyes.ts';
import { demandCurrent } from '../../tenants/demand-current.ts';
import type { Identity } from '../../tenants/tenant.ts';
import type { Days } from '../../usage/days.ts';

/** What the tenant routes are given. */
export interface TenantDeps extends GenerationDeps, ExportDeps, AccountDeps {
  readonly signIn: SignIn;
  readonly registration: Registration;
  readonly recovery: Recovery;
  readonly company: Company;
  readonly payments: Payments | null;
  readonly links: ImageLinks;
  readonly signedLinks: SignedLinks;
  readonly writes: DurableWrites;
  /** Addresses beside the internet that may be told of events. */
  readonly webhookAllowed: readonly string[];
  readonly fileStore: LocalFiles;
  readonly room: StorageRoom;
  /** Uploads, images and downloads of each tenant. */
  readonly windows: PlanWindows;
  readonly uploads: Uploads;
  readonly uploadStore: UploadStore;
  readonly jobDesk: JobDesk;
  readonly requests: History;
  readonly pictures: Pictures;
  readonly moderation: Moderation;
  readonly styles: readonly Style[];
  readonly features: ReadonlyMap<string, Feature<unknown>>;
  readonly version: string;
  readonly demo: boolean;
  /** The calendar of usage. */
  readonly days: Days;
  /** Web pages that may call the API with a key: their origins, or "*". */
  readonly origins: readonly string[];
  /** The address in links; the request's own when null. */
  readonly publicUrl: string | null;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the check of who asks; read it through `identityOf`. */
    identity: Identity | null;
  }
  interface FastifyContextConfig {
    /** True for the few routes that need no key. */
    open?: boolean;
    /** Routes for people: keys are refused. `admin` is for those who administer their company. */
    only?: 'person' | 'admin';
    /** The feature that a request is for which counts against the requests per minute, also when it is refused later. */
    counts?: string;
  }
}

export function identityOf(request: FastifyRequest): Identity {
  if (!request.identity) throw new ApiError('missing_api_key', 'No API key was given.');
  return request.identity;
}

/** Who asks, as that one stands now: after anything that took time. Throws for whoever lost the right meanwhile. */
export function lookAgain(request: FastifyRequest): Identity {
  return (request.identity = demandCurrent(identityOf(request)));
}

/** Counts a request against the rate of its tenant. Throws an ApiError when it is one too many. */
export function countRequest(
  deps: Pick<TenantDeps, 'admission' | 'ledger'>,
  request: FastifyRequest,
  reply: FastifyReply,
  feature: string,
): void {
  const identity = identityOf(request);
  try {
    deps.admission.countRequest(identity, feature);
  } catch (error) {
    tellLimits(reply, deps, identity);
    throw error;
  }
}

/** Who signed in, on the routes that only people may use. */
export function personOf(
  { users }: Pick<TenantDeps, 'users'>,
  request: FastifyRequest,
): { user: UserRecord; session: string } {
  const { user: signedIn } = identityOf(request);
  const user = signedIn && users.find(signedIn.id);
  if (!signedIn || !user) throw new ApiError('invalid_session', 'The session has ended. Sign in again.');
  return { user, session: signedIn.session };
}

/** Who acts, for the audit log. */
export function actorOf(request: FastifyRequest): Actor {
  return {
    kind: 'user',
    id: request.identity?.user?.id ?? null,
    address: addressKey(clientAddress(request)),
    requestId: request.id,
  };
}

/** A job that the caller may see. Any other is as one that is not there (T2). */
export function ownJob(
  { jobStore }: Pick<TenantDeps, 'jobStore'>,
  request: FastifyRequest,
  id: string,
): JobRecord {
  const identity = identityOf(request);
  const job = jobStore.find(id);
  if (!job || job.tenant !== identity.tenant.id || !maySeeWorkOf(identity, job.person))
    throw new ApiError('not_found', 'There is no such job.');
  return job;
}

/** A link to a file that needs no key, until it expires. */
export function linkTo(
  deps: Pick<TenantDeps, 'signedLinks' | 'publicUrl'>,
  request: FastifyRequest,
  { tenant, group, id }: FileName,
  expiresAt: number,
): string {
  const path = `/files/${group}/${id}`;
  const signature = deps.signedLinks.sign({ tenant, object: path }, expiresAt);
  return `${addressOf(deps, request)}${path}?expires=${expiresAt}&signature=${signature}`;
}

/** Our address as tenants know it. */
export function addressOf({ publicUrl }: Pick<TenantDeps, 'publicUrl'>, request: FastifyRequest): string {
  // Through the tunnel, the address that was come by is the one that works.
  return (isTunnelled(request) ? null : publicUrl?.replace(/\/$/, '')) ?? originOf(request);
}

/**
 * Lets work in, and tells the caller what is left of its limits after it. Null when the request is answered already:
 * it only asked for the price.
 */
export function admit(
  deps: TenantDeps,
  request: FastifyRequest,
  reply: FastifyReply,
  wish: Wish,
): Ticket | null {
  const identity = identityOf(request);
  if (isDryRun(request)) {
    const { credits, available } = deps.admission.quote(identity, wish);
    void reply.send({ dryRun: true, credits, available, enough: available === null || credits <= available });
    return null;
  }
  try {
    return deps.admission.admit(identity, { ...wish, keyed: request.keyed });
  } finally {
    tellLimits(reply, deps, identity);
  }
}

export function isDryRun({ query }: FastifyRequest): boolean {
  return isDryRunWanted((query as { dry_run?: string }).dry_run);
}

/** Names the fields that were taken and had no effect. */
export function tellIgnored(reply: FastifyReply, names: readonly string[]): void {
  if (names.length > 0) reply.header('x-kilnhouse-ignored-fields', fieldNamesHeader(names));
}

/** The limits as they stand: OpenAI's headers, and our own for what OpenAI does not know. */
export function tellLimits(
  reply: FastifyReply,
  { admission, ledger }: Pick<TenantDeps, 'admission' | 'ledger'>,
  { tenant }: Identity,
): void {
  const rate = admission.rate(tenant);
  const most = tenant.limits.concurrent + tenant.limits.queued;
  reply.headers({
    'x-ratelimit-limit-requests': rate.limit,
    'x-ratelimit-remaining-requests': rate.remaining,
    'x-ratelimit-reset-requests': duration(rate.resetMs),
    'x-ratelimit-limit-concurrency': most,
    'x-ratelimit-remaining-concurrency': Math.max(0, most - admission.open(tenant.id)),
  });
  if (tenant.account === null) return;
  const { available, held } = ledger.balance(tenant.account);
  reply.headers({ 'x-credits-available': available, 'x-credits-held': held });
}

/** OpenAI's form of a duration: 6m0s, 1.5s, 20ms. */
function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  const seconds = Math.round(ms / 100) / 10;
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${Math.round(seconds % 60)}s`;
}
