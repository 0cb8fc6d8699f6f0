import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Type } from 'typebox';
import { Gpu } from '../gpu/gpu.ts';
import { Measurements } from '../gpu/measurements.ts';
import { NvidiaProbe } from '../gpu/probes/gpu-probe.ts';
import { processes } from '../gpu/supervisor/processes.ts';
import { Supervisor } from '../gpu/supervisor/supervisor.ts';
import { defaultPolicy } from '../gpu/vram/policy.ts';
import { defaultQueueLimits } from '../gpu/vram/scheduler.ts';
import { Admission } from './admission/admission.ts';
import { parseChecked } from './config/checked.ts';
import type { Config, LoadedConfig } from './config/config.ts';
import { discover } from './config/discovery.ts';
import { lockFolder } from './db/instance-lock.ts';
import { openDatabase } from './db/open.ts';
import { prepareDemo } from './demo/demo.ts';
import { enginesFor } from './engines.ts';
import { ImageLinks } from './files/image-links.ts';
import type { BaseApp } from './http/base-app.ts';
import { openLog } from './logging/log.ts';
import { operatorApp } from './routes/operator/app.ts';
import { tenantApp } from './routes/tenant/app.ts';
import { hashApiKey, newApiKey } from './tenants/api-key.ts';
import { loadPlans, loadPrices } from './tenants/plans.ts';
import { createTenantsFile, watchTenantsFile } from './tenants/tenants-file.ts';
import { identityOf, Tenants } from './tenants/tenants.ts';
import { UsageStore } from './usage/usage-store.ts';
import { version } from './version.ts';

export interface Appliance {
  readonly tenantUrl: string;
  readonly operatorUrl: string;
  readonly tokenFile: string;
  readonly demo: boolean;
  /** A key that works, where one was made at this start; it is not kept and cannot be shown again. */
  readonly freshKey: string | null;
  readonly gpu: Gpu;
  /** Ends everything, in the reverse of the order it was begun. */
  close(): Promise<void>;
}

const mib = 1024 ** 2;
const defaults = fileURLToPath(new URL('../resources/defaults/', import.meta.url));
/** How fast the stand-ins are; only tests want them faster than life. */
const demoSpeed = Number(process.env['STANDIN_SPEED'] ?? '1');

/** Builds the appliance once, in order, and returns it serving. On failure what was begun is ended again. */
export async function compose({ config, folder }: LoadedConfig, terminal: boolean): Promise<Appliance> {
  const closers: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).toReversed()) await closer();
  };
  try {
    return await build(config, folder, terminal, closers, close);
  } catch (error) {
    await close();
    throw error;
  }
}

async function build(
  config: Config,
  folder: string,
  terminal: boolean,
  closers: (() => unknown)[],
  close: () => Promise<void>,
): Promise<Appliance> {
  const lock = lockFolder(folder);
  closers.push(() => lock.release());
  const log = openLog(join(folder, 'logs'), { ...config.log, terminal });
  closers.push(() => log.close());
  const { logger } = log;
  logger.info({ version, folder }, 'starting');
  const db = openDatabase(join(folder, 'kilnhouse.db'));
  closers.push(() => db.close());

  const supervisor = new Supervisor({
    owner: ownerOf(folder),
    rosterFile: join(folder, 'run', 'processes.json'),
    processes,
  });
  const reaped = await supervisor.reap();
  if (reaped > 0) logger.warn({ reaped }, 'ended processes that an earlier run left behind');
  closers.push(() => supervisor.close());

  const modelsFolder = config.llamaCpp.modelsFolder ?? join(folder, 'models');
  mkdirSync(modelsFolder, { recursive: true });
  const found = await discover(config, modelsFolder);
  const nothing = !found.lmStudio && !found.webui && !found.ggufFiles;
  const isDemo = config.demo === 'always' || (config.demo === 'auto' && nothing);
  const demo = isDemo ? await prepareDemo(join(folder, 'demo'), demoSpeed) : null;

  const probe = new NvidiaProbe({ uuid: config.gpu.uuid, folders: demo ? [demo.binFolder] : [] });
  const declaredBytes = (config.gpu.declaredMib ?? Math.min(8_192, totalmem() / mib / 2)) * mib;
  const reading = await probe.read();
  const totalBytes = reading.kind === 'card' ? reading.card.totalBytes : declaredBytes;
  const engines = enginesFor({
    config,
    found,
    demo,
    supervisor,
    dataFolder: folder,
    modelsFolder,
    totalBytes,
  });
  const { maxWaitSeconds, idleUnloadMinutes, interactiveQueueSeconds } = config.scheduler;
  const policy = {
    ...defaultPolicy,
    maxWaitMs: { ...defaultPolicy.maxWaitMs, interactive: maxWaitSeconds * 1000 },
    idleUnloadMs: idleUnloadMinutes === null ? null : idleUnloadMinutes * 60_000,
  };
  const interactive = interactiveQueueSeconds * 1000;
  const queue = {
    totalMs: { ...defaultQueueLimits.totalMs, interactive },
    perTenantMs: { ...defaultQueueLimits.perTenantMs, interactive: interactive * 0.75 },
  };
  const gpu = new Gpu({
    engines,
    probe,
    declaredBytes,
    budget: {
      reserveBytes: config.gpu.reserveMib * mib,
      marginBytes: config.gpu.marginMib * mib,
      capBytes: config.gpu.capMib === null ? null : config.gpu.capMib * mib,
    },
    policy: () => policy,
    queue: () => queue,
    measurements: new Measurements(demo ? null : join(folder, 'measurements.json')),
    pinned: new Set(config.scheduler.pinned),
    log: (level, message, about) => logger[level](about, message),
  });
  closers.push(() => gpu.close());
  gpu.scheduler.onDecision((decision) => logger.debug(decision, 'decision'));

  const plans = loadPlans(join(defaults, 'plans.json'));
  const tenants = new Tenants();
  const tenantsPath = join(folder, 'tenants.json');
  const firstKey = demo ? null : createTenantsFile(tenantsPath);
  const tenantsFile = await watchTenantsFile(tenantsPath, tenants, plans, logger);
  closers.push(() => tenantsFile.close());
  const demoKey = demo ? newApiKey() : null;
  if (demoKey !== null) {
    const entry = { name: 'demo', plan: 'pro' };
    tenants.add(identityOf(hashApiKey(demoKey), entry, plans));
  }

  const usage = new UsageStore(db, (error, lost) =>
    logger.error({ err: error, lost }, 'usage rows were not written'),
  );
  closers.push(() => usage.close());
  const admission = new Admission({
    tenants,
    usage,
    prices: loadPrices(join(defaults, 'prices.json')),
    blockedPhrases: readPhrases(join(defaults, 'blocked-phrases.json')),
  });
  const links = new ImageLinks(folder);
  await links.start();
  closers.push(() => links.close());

  const shared = { gpu, admission, version, demo: demo !== null };
  const tenantSide = await tenantApp({ ...shared, usage, links, publicUrl: config.tenant.publicUrl }, logger);
  const tokenFile = join(folder, 'operator-token');
  const token = operatorToken(tokenFile);
  const operatorSide = await operatorApp({ ...shared, tenants, tenantsFile, token }, logger);

  if (config.tenant.host !== '127.0.0.1' && tenants.all().length === 0) {
    throw new Error(
      `Listening on ${config.tenant.host} is refused while there is no key. Add one to ${tenantsPath} first.`,
    );
  }
  // Before anybody can ask: the engines come up in the background, and requests wait for them.
  await gpu.start();
  const tenantUrl = await listen(tenantSide, config.tenant.host, config.tenant.port, closers);
  const operatorUrl = await listen(operatorSide, '127.0.0.1', config.operator.port, closers);
  logger.info({ tenantUrl, operatorUrl, demo: demo !== null }, 'serving');
  return {
    tenantUrl,
    operatorUrl,
    tokenFile,
    demo: demo !== null,
    freshKey: demoKey ?? firstKey,
    gpu,
    close,
  };
}

async function listen(app: BaseApp, host: string, port: number, closers: (() => unknown)[]): Promise<string> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') {
      throw new Error(
        `Port ${port} is taken by another program. Choose another one with KILNHOUSE_TENANT_PORT or KILNHOUSE_OPERATOR_PORT, or in config.json.`,
        { cause: error },
      );
    }
    throw error;
  }
  closers.push(() => app.close());
  const { address, port: actual } = app.server.address() as AddressInfo;
  return `http://${address === '0.0.0.0' ? '127.0.0.1' : address}:${actual}`;
}

/** The operator's token: made once, readable by the owner of the folder alone. */
function operatorToken(file: string): string {
  if (!existsSync(file)) writeFileSync(file, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600 });
  chmodSync(file, 0o600);
  const token = readFileSync(file, 'utf8').trim();
  if (token.length < 32) throw new Error(`${file} holds no token; delete it to have a new one made.`);
  return token;
}

function readPhrases(file: string): readonly string[] {
  return parseChecked(Type.Array(Type.String()), readFileSync(file, 'utf8'), file);
}

/** Names this installation in the marks of its processes. */
function ownerOf(folder: string): string {
  return createHash('sha256').update(folder).digest('hex').slice(0, 16);
}
