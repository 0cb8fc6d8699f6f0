import type { FastifyRequest } from 'fastify';
import type { Gpu } from '../../../gpu/gpu.ts';
import type { Pause } from '../../../gpu/pause.ts';
import type { Admission } from '../../admission/admission.ts';
import type { Company } from '../../accounts/company.ts';
import type { DurableWrites } from '../../db/durable-writes.ts';
import type { Backups } from '../../backup/backups.ts';
import type { Found } from '../../config/discovery.ts';
import type { LiveSettings } from '../../config/live-settings.ts';
import type { World } from '../../config/meaning.ts';
import type { Downloads } from '../../downloads/downloads.ts';
import type { Actor } from '../../audit/audit-log.ts';
import { ApiError } from '../../http/api-error.ts';
import { bearerOf } from '../../http/credentials.ts';
import type { Feature } from '../../jobs/feature.ts';
import type { JobDesk } from '../../jobs/job-desk.ts';
import type { TenantsWatch } from '../../tenants/tenants-file.ts';
import type { ExportDeps } from '../../privacy/export.ts';
import type { LanCertificate } from '../../tls/lan-certificate.ts';
import type { ConsoleAccess } from '../../operator-access/console-access.ts';
import type { Tunnel } from '../../tunnel/tunnel.ts';
import type { FileTenants } from '../../tenants/file-tenants.ts';
import type { Days } from '../../usage/days.ts';
import type { WebhookStore } from '../../webhooks/webhook-store.ts';

/** What the operator routes are given. */
export interface OperatorDeps extends ExportDeps {
  readonly gpu: Gpu;
  readonly pause: Pause;
  readonly admission: Admission;
  readonly company: Company;
  readonly configuration: LiveSettings;
  /** What changed settings are held against. */
  readonly settingsWorld: () => World;
  readonly backups: Backups;
  readonly tunnel: Tunnel;
  readonly lan: {
    readonly host: string;
    readonly certificate: LanCertificate | null;
    readonly port: number;
    /** The tenant API, as it is reached from this machine. */
    readonly url: string;
    /** Why it is not open; null while it is. */
    readonly problem: string | null;
  };
  readonly downloads: Downloads;
  readonly modelsFolder: string;
  readonly discover: () => Promise<Found>;
  readonly webhooks: WebhookStore;
  readonly writes: DurableWrites;
  readonly pagesFolder: string;
  /** Ends the appliance so that whoever started it starts it again; null where nobody would. */
  readonly restart: (() => void) | null;
  readonly dataFolder: string;
  readonly jobDesk: JobDesk;
  readonly features: ReadonlyMap<string, Feature<unknown>>;
  readonly files: FileTenants;
  readonly tenantsFile: TenantsWatch;
  readonly access: ConsoleAccess;
  readonly version: string;
  readonly demo: boolean;
  /** The calendar of usage. */
  readonly days: Days;
}

/** Who acts, for the audit log. */
export function operatorOf(request: FastifyRequest): Actor {
  return { kind: 'operator', id: null, address: request.ip, requestId: request.id };
}

const loopback = new Set(['127.0.0.1', 'localhost', '[::1]']);

/**
 * Lets in whoever holds the token, comes by one of our own names, and from no other page. That a caller is on this
 * machine proves nothing: the tunnel is as well, and so is every web page in the operator's browser.
 */
export function checkOperator(request: FastifyRequest, access: ConsoleAccess): void {
  const port = request.socket.localPort;
  if (!isOwnHost(request.headers.host, port)) {
    throw new ApiError('misdirected_request', 'The operator API is reached as 127.0.0.1 or localhost only.');
  }
  const { origin } = request.headers;
  if (origin !== undefined && !isOwnOrigin(origin, port)) {
    throw new ApiError('forbidden', 'Requests from other web pages are refused.');
  }
  // The console's own files, and the door itself.
  if (request.routeOptions.config.open === true) return;
  if (!access.isGood(tokenOf(request))) {
    throw new ApiError(
      'invalid_api_key',
      'Open a session first, or send the operator token; it lies in the file operator-token of the data folder.',
    );
  }
}

/** A browser's WebSocket cannot set headers, so there the token comes as the subprotocol `token.<token>`. */
function tokenOf({ headers }: FastifyRequest): string {
  const given = bearerOf(headers);
  if (given !== null) return given;
  const protocols = headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? [];
  return protocols.find((name) => name.startsWith('token.'))?.slice('token.'.length) ?? '';
}

function isOwnHost(host: string | undefined, port: number | undefined): boolean {
  const [, name, given] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(host ?? '') ?? [];
  return name !== undefined && loopback.has(name.toLowerCase()) && Number(given ?? 80) === port;
}

function isOwnOrigin(origin: string, port: number | undefined): boolean {
  try {
    const { protocol, host } = new URL(origin);
    return protocol === 'http:' && isOwnHost(host, port);
  } catch {
    return false;
  }
}
