import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { createSecureContext } from 'node:tls';
import ipaddr from 'ipaddr.js';
import { InvalidValue } from './checked.ts';
import { type Config, type PathKind, pathKindOf, settings, valueAt } from './config.ts';

/** What settings are held against beside their schema. */
export interface World {
  /** Names of the plans there are. */
  readonly plans: readonly string[];
  /** Whether anybody has a key. */
  readonly hasKeys: boolean;
  /** Memory of the card, or what is declared for it. */
  readonly cardBytes: number;
  /** Ports that this appliance listens on now. */
  readonly ownPorts: readonly number[];
  /** Why a model could never be loaded with these pins, as a sentence; null when it could, or is not known. */
  readonly misfit: (modelId: string, pinned: readonly string[]) => string | null;
}

/** What is wrong with a value, as the end of a sentence that begins with the name of its setting; null when it is fine. */
type Check = (config: Config, world: World) => string | null | Promise<string | null>;

const mib = 1024 ** 2;
const loopback = new Set(['127.0.0.1', '::1', 'localhost']);

/** Settings whose meaning can be wrong although their type is right, and would show only at the next start. */
const checks: Readonly<Record<string, Check>> = {
  'tenant.host': async ({ tenant: { host } }, { hasKeys }) => {
    if (!loopback.has(host) && !hasKeys)
      return 'would open the API to others while nobody has a key. Make a key first';
    const code = await listenFault(host, 0);
    if (code === null) return null;
    return `is "${host}", which is not an address or name of this machine (${code}). Use 127.0.0.1, or 0.0.0.0 for the whole LAN`;
  },
  'tenant.port': ({ tenant, operator }, world) =>
    tenant.port !== 0 && tenant.port === operator.port
      ? 'is the port of the console already (operator.port). Choose another one'
      : portFault(tenant.host, tenant.port, world),
  'operator.port': ({ tenant, operator }, world) =>
    operator.port !== 0 && tenant.port === operator.port
      ? 'is the port of the tenant API already (tenant.port). Choose another one'
      : portFault('127.0.0.1', operator.port, world),
  'tenant.certificateFile': ({ tenant }) =>
    certificateFault(tenant.certificateFile, tenant.keyFile, 'tenant.keyFile'),
  'tenant.keyFile': ({ tenant }) =>
    certificateFault(tenant.certificateFile, tenant.keyFile, 'tenant.certificateFile'),
  'tenant.publicUrl': ({ tenant }) => addressFault(tenant.publicUrl),
  'payments.stripeUrl': ({ payments }) => addressFault(payments.stripeUrl),
  'gpu.reserveMib': memoryFault,
  'gpu.marginMib': memoryFault,
  'gpu.capMib': ({ gpu }) =>
    gpu.capMib === 0 ? 'leaves no memory for models. Leave it empty for no cap' : null,
  'scheduler.pinned': ({ scheduler: { pinned } }, { misfit }) => {
    const useless = pinned.findLast((id) => misfit(id, pinned) !== null);
    if (useless === undefined) return null;
    return `holds ${useless}, which could never be loaded: ${misfit(useless, pinned)} Unpin what is in its way first`;
  },
  'scheduler.defaultText': ({ scheduler }, world) => defaultFault(scheduler.defaultText, scheduler, world),
  'scheduler.defaultImage': ({ scheduler }, world) => defaultFault(scheduler.defaultImage, scheduler, world),
  'accounts.plan': ({ accounts }, { plans }) =>
    plans.includes(accounts.plan)
      ? null
      : `is "${accounts.plan}", which is not a plan. The plans are ${plans.join(', ')}`,
  'mail.from': ({ mail }) =>
    /^[^<>\r\n]*<[^\s<>@]+@[^\s<>@]+>$|^[^\s<>@]+@[^\s<>@]+$/.test(mail.from)
      ? null
      : 'is not a sender. Write an address, or a name with it: Kilnhouse <kilnhouse@example.com>',
  'usage.timeZone': ({ usage: { timeZone } }) =>
    timeZone === null || isTimeZone(timeZone) ? null : noTimeZone(timeZone),
  'webhooks.allow': ({ webhooks }) => {
    const wrong = webhooks.allow.find((range) => !ipaddr.isValid(range) && !ipaddr.isValidCIDR(range));
    return wrong === undefined
      ? null
      : `holds "${wrong}", which is not an address or range. Write 10.0.0.5 or 10.0.0.0/8`;
  },
};

/**
 * Holds changed settings against the machine: whether a plan exists, a host and a port can be listened on, a file can
 * be read, a folder can be written. Throws InvalidValue that names the first setting that would not work, why, and what
 * to do. `changed` are the paths to look at; others stay as they are, whatever became of them meanwhile.
 */
export async function demandMeaning(config: Config, changed: readonly string[], world: World): Promise<void> {
  for (const setting of settings()) {
    const path = setting.path.join('.');
    if (!changed.includes(path)) continue;
    const kind = pathKindOf(setting);
    const value = valueAt(config, setting.path);
    const fault =
      (kind !== null && typeof value === 'string' ? await pathFault(value, kind) : null) ??
      (await checks[path]?.(config, world)) ??
      null;
    if (fault !== null) throw new InvalidValue('The settings', path, fault);
  }
}

function isTimeZone(name: string): boolean {
  try {
    void new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

export function noTimeZone(name: string): string {
  return `is "${name}", which is not a time zone. Write an IANA name such as Europe/Berlin or America/New_York`;
}

async function pathFault(path: string, kind: PathKind): Promise<string | null> {
  if (kind === 'program' && !/[\\/]/.test(path))
    return (await isOnPath(path)) ? null : `is "${path}", which is not on the PATH. Write its whole path`;
  if (!isAbsolute(path)) return `is "${path}", which is not a whole path. Begin it with the drive or with /`;
  if (kind === 'folder to write') return writeFault(path);
  const found = await stat(path).catch(() => null);
  if (!found) return `is "${path}", which does not exist`;
  if (kind === 'folder') return found.isDirectory() ? null : `is "${path}", which is not a folder`;
  if (!found.isFile()) return `is "${path}", which is not a file`;
  const wanted = kind === 'program' ? constants.X_OK : constants.R_OK;
  const may = await access(path, wanted).then(
    () => true,
    () => false,
  );
  return may ? null : `is "${path}", which may not be ${kind === 'program' ? 'run' : 'read'} by this user`;
}

async function isOnPath(name: string): Promise<boolean> {
  const names = process.platform === 'win32' ? [name, `${name}.exe`] : [name];
  const places = (process.env['PATH'] ?? '')
    .split(delimiter)
    .flatMap((folder) => names.map((one) => join(folder, one)));
  const found = await Promise.all(
    places.map((place) =>
      access(place, constants.X_OK).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.includes(true);
}

/** A folder that is there and can be written, or can be made in the nearest one that is there. */
async function writeFault(path: string): Promise<string | null> {
  let at = path;
  for (;;) {
    const found = await stat(at).catch(() => null);
    if (found && !found.isDirectory()) return `is "${path}", but ${at} is not a folder`;
    if (found) break;
    const parent = dirname(at);
    if (parent === at) return `is "${path}", but ${at} does not exist`;
    at = parent;
  }
  return access(at, constants.W_OK | constants.X_OK).then(
    () => null,
    () => `is "${path}", but this user may not write in ${at}`,
  );
}

/** Why nobody can listen there, as the system's code; null when it works. */
function listenFault(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}

async function portFault(host: string, port: number, { ownPorts }: World): Promise<string | null> {
  if (port === 0 || ownPorts.includes(port)) return null;
  const code = await listenFault(host, port);
  if (code === 'EADDRINUSE') return `is ${port}, which another program uses. Choose another one`;
  if (code === 'EACCES') return `is ${port}, which this user may not use. Choose one above 1023`;
  // The host is at fault, which is said of the host.
  return null;
}

async function certificateFault(
  certificate: string | null,
  key: string | null,
  other: string,
): Promise<string | null> {
  if (certificate === null && key === null) return null;
  if (certificate === null || key === null) return `needs ${other} beside it`;
  try {
    createSecureContext({ cert: await readFile(certificate), key: await readFile(key) });
    return null;
  } catch (error) {
    return `cannot be used together with ${other}: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** A default that is refused every time would refuse everybody who names no model. */
function defaultFault(id: string | null, { pinned }: Config['scheduler'], { misfit }: World): string | null {
  const fault = id === null ? null : misfit(id, pinned);
  return fault === null
    ? null
    : `is ${id}, which cannot run: ${fault} Choose another one, or unpin what is in its way`;
}

function addressFault(address: string | null): string | null {
  if (address === null) return null;
  const url = URL.canParse(address) ? new URL(address) : null;
  return url && /^https?:$/.test(url.protocol)
    ? null
    : `is "${address}", which is not an address. Begin it with https://`;
}

function memoryFault({ gpu }: Config, { cardBytes }: World): string | null {
  const keptMib = gpu.reserveMib + gpu.marginMib;
  const cardMib = Math.floor(cardBytes / mib);
  return keptMib < cardMib
    ? null
    : `keeps ${keptMib} MiB free together with the other one, and the card has ${cardMib} MiB: nothing is left for models`;
}
