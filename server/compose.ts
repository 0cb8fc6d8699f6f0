import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Type } from 'typebox';
import type { GpuLog } from '../gpu/gpu-log.ts';
import { Gpu } from '../gpu/gpu.ts';
import { KeptState } from '../gpu/kept-state.ts';
import { Measurements } from '../gpu/measurements.ts';
import { Pause } from '../gpu/pause.ts';
import { NvidiaProbe } from '../gpu/probes/gpu-probe.ts';
import { tunnelRestart } from '../gpu/supervisor/backoff.ts';
import { processes } from '../gpu/supervisor/processes.ts';
import { childEnv } from '../gpu/supervisor/child-env.ts';
import { Supervisor } from '../gpu/supervisor/supervisor.ts';
import { defaultPolicy, type Policy } from '../gpu/vram/policy.ts';
import { defaultQueueLimits, type QueueLimits } from '../gpu/vram/bounds.ts';
import type { Database } from 'better-sqlite3';
import type { Logger } from 'pino';
import { AccessTokens } from './accounts/access-token.ts';
import type { AccountDeps } from './accounts/account-deps.ts';
import { Company } from './accounts/company.ts';
import { InvitationStore } from './accounts/invitation-store.ts';
import { MailLimit } from './accounts/mail-limit.ts';
import { MailedTokens } from './accounts/mailed-tokens.ts';
import { PasswordAttempts } from './accounts/password-attempts.ts';
import { Passwords } from './accounts/passwords.ts';
import { Recovery } from './accounts/recovery.ts';
import { Registration } from './accounts/registration.ts';
import { SessionStore } from './accounts/session-store.ts';
import { SignIn } from './accounts/sign-in.ts';
import { UserStore } from './accounts/user-store.ts';
import { Admission } from './admission/admission.ts';
import { PlanWindows } from './admission/plan-windows.ts';
import { AuditLog } from './audit/audit-log.ts';
import { backupFolderOf } from './backup/backup-folder.ts';
import { Backups } from './backup/backups.ts';
import { restoreStaged } from './backup/restore.ts';
import { InvalidValue, parseChecked } from './config/checked.ts';
import type { Config, LoadedConfig } from './config/config.ts';
import { discover, lmStudioModels } from './config/discovery.ts';
import { LiveSettings } from './config/live-settings.ts';
import { noTimeZone } from './config/meaning.ts';
import { lockFolder } from './db/instance-lock.ts';
import { Style } from './contract/image-generation.ts';
import { limits } from './contract/limits.ts';
import { DurableWrites } from './db/durable-writes.ts';
import { isSmall, lookThrough } from './db/health.ts';
import { openDatabase } from './db/open.ts';
import { prepareDemo } from './demo/demo.ts';
import { closeDemoAccounts, type DemoAccounts, openDemoAccounts } from './demo/demo-accounts.ts';
import { Downloads } from './downloads/downloads.ts';
import { watchModels } from './downloads/watch-models.ts';
import { enginesFor } from './engines.ts';
import { DiskSpace } from './files/disk-space.ts';
import { ImageLinks } from './files/image-links.ts';
import { LocalFiles } from './files/local-files.ts';
import { SignedLinks } from './files/signed-links.ts';
import { StorageRoom } from './files/storage-room.ts';
import { UploadStore } from './files/upload-store.ts';
import { Uploads } from './files/uploads.ts';
import { History } from './history/history.ts';
import { freePorts } from './free-ports.ts';
import { HistoryStore } from './history/history-store.ts';
import type { BaseApp } from './http/base-app.ts';
import { PatientListener } from './http/patient-listener.ts';
import { listenForTunnel } from './http/tunnel-listener.ts';
import { moment } from './http/envelope.ts';
import { IdempotencyStore } from './idempotency/idempotency-store.ts';
import { Ledger } from './ledger/ledger.ts';
import { LedgerBroken, proveLedger } from './ledger/proof.ts';
import { openLog } from './logging/log.ts';
import { imageGeneration } from './features/image-generation/image-generation.ts';
import { inference } from './features/inference/inference.ts';
import type { Feature } from './jobs/feature.ts';
import { JobDesk } from './jobs/job-desk.ts';
import { JobStore } from './jobs/job-store.ts';
import { Jobs } from './jobs/jobs.ts';
import { Pictures } from './media/pictures.ts';
import { ImageClassifier } from './moderation/image-classifier.ts';
import { Moderation } from './moderation/moderation.ts';
import { mailTransport } from './mail/transport.ts';
import { Outbox } from './mail/outbox.ts';
import { ConsoleAccess } from './operator-access/console-access.ts';
import { Offers } from './offers/offers.ts';
import { OrderStore } from './payments/order-store.ts';
import { Payments } from './payments/payments.ts';
import { ErasureStore } from './privacy/erasure-store.ts';
import { Sweeper } from './privacy/sweeper.ts';
import { operatorApp } from './routes/operator/app.ts';
import { consoleLink } from './routes/operator/session.ts';
import { tenantApp } from './routes/tenant/app.ts';
import { installSecret } from './secrets/install-secret.ts';
import { Vault } from './secrets/vault.ts';
import { hashApiKey, newApiKey } from './tenants/api-key.ts';
import { Directory } from './tenants/directory.ts';
import { FileTenants, identityOf } from './tenants/file-tenants.ts';
import { KeyStore } from './tenants/key-store.ts';
import { TenantStore } from './tenants/tenant-store.ts';
import { createTenantsFile, watchTenantsFile } from './tenants/tenants-file.ts';
import { type LanCertificate, lanCertificate } from './tls/lan-certificate.ts';
import { Tunnel } from './tunnel/tunnel.ts';
import { Days } from './usage/days.ts';
import { UsageStore } from './usage/usage-store.ts';
import { version } from './version.ts';
import { WebhookSender } from './webhooks/webhook-sender.ts';
import { WebhookStore } from './webhooks/webhook-store.ts';

/** What is known only where the process is. */
export interface Surroundings {
  /** Whether logs go to a terminal. */
  readonly terminal: boolean;
  /** Ends the process so that whoever started it starts it again; null where nobody would. */
  readonly restart: (() => void) | null;
}

export interface Appliance {
  readonly tenantUrl: string;
  /** Why the tenant API is not open yet; null when it is. */
  readonly problem: string | null;
  readonly operatorUrl: string;
  readonly tokenFile: string;
  /** What the tenant listener shows; null where it speaks plain HTTP. */
  readonly certificate: LanCertificate | null;
  readonly demo: boolean;
  /** A key that works, where one was made at this start; it is not kept and cannot be shown again. */
  readonly freshKey: string | null;
  /** People of the demonstration, one a plan, and the password they all have; null outside the demonstration. */
  readonly demoAccounts: DemoAccounts | null;
  readonly gpu: Gpu;
  /** A link to the console that works once. */
  consoleLink(): string;
  /** Ends everything, in the reverse of the order it was begun. */
  close(): Promise<void>;
}

const mib = 1024 ** 2;
const defaults = fileURLToPath(new URL('../resources/defaults/', import.meta.url));
/** How fast the stand-ins are; only tests want them faster than life. */
const demoSpeed = Number(process.env['STANDIN_SPEED'] ?? '1');

/** Builds the appliance once, in order, and returns it serving. On failure what was begun is ended again. */
export async function compose(loaded: LoadedConfig, surroundings: Surroundings): Promise<Appliance> {
  const closers: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).toReversed()) await closer();
  };
  try {
    return await build(loaded, surroundings, closers, close);
  } catch (error) {
    await close();
    throw error;
  }
}

async function build(
  loaded: LoadedConfig,
  { terminal, restart }: Surroundings,
  closers: (() => unknown)[],
  close: () => Promise<void>,
): Promise<Appliance> {
  const { folder } = loaded;
  const configuration = new LiveSettings(loaded);
  const { config } = configuration;
  const restored = await restoreStaged(folder);
  const lock = lockFolder(folder);
  closers.push(() => lock.release());
  const log = openLog(join(folder, 'logs'), { ...config.log, terminal });
  closers.push(() => log.close());
  const { logger } = log;
  logger.info({ version, folder }, 'starting');
  if (restored)
    logger.warn({ at: moment(restored.manifest.at), before: restored.before }, 'went back to a backup');
  const databaseFile = join(folder, 'kilnhouse.db');
  const days = daysOf(config);
  const db = openDatabase(databaseFile, (at) => days.of(at));
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
  let order = orderOf(config);
  const gpuLog: GpuLog = (level, message, about) => logger[level](about, message);
  const kept = new KeptState(join(folder, 'gpu-state.json'), gpuLog);
  const gpu = new Gpu({
    engines,
    probe,
    ownPids: () => supervisor.pids(),
    declaredBytes,
    budget: () => ({
      reserveBytes: config.gpu.reserveMib * mib,
      marginBytes: config.gpu.marginMib * mib,
      capBytes: config.gpu.capMib === null ? null : config.gpu.capMib * mib,
    }),
    defaults: () => ({ text: config.scheduler.defaultText, image: config.scheduler.defaultImage }),
    policy: () => order.policy,
    queue: () => order.queue,
    measurements: new Measurements(
      // A demonstration's figures are of another machine.
      join(folder, demo ? 'measurements-demo.json' : 'measurements.json'),
      gpuLog,
    ),
    pinned: new Set(config.scheduler.pinned),
    kept,
    log: gpuLog,
  });
  closers.push(() => gpu.close());
  configuration.atOnce(['scheduler.defaultText', 'scheduler.defaultImage', 'operator.isSetUp']);
  configuration.atOnce(['scheduler.pinned'], () => gpu.setPinned(config.scheduler.pinned));
  const ordering = ['maxWaitSeconds', 'idleUnloadMinutes', 'interactiveQueueSeconds'];
  configuration.atOnce(
    ordering.map((name) => `scheduler.${name}`),
    () => (order = orderOf(config)),
  );
  const look = (): void => void gpu.budgetChanged().catch(() => undefined);
  configuration.atOnce(['gpu.reserveMib', 'gpu.marginMib', 'gpu.capMib'], look);
  const pause = new Pause({
    mode: () => gpu.scheduler.state.mode,
    setMode: (mode) => gpu.scheduler.setMode(mode),
    identity: (pid) => processes.identity(pid),
    kept,
    onError: (error) =>
      logger.warn({ err: error }, 'the program that a pause waits for could not be looked at'),
  });
  // Before an engine comes up, or a model would load in the middle of a game.
  pause.restore();
  closers.push(() => pause.close());
  gpu.scheduler.onDecision((decision) => logger.debug(decision, 'decision'));

  const offers = new Offers(db);
  const files = new FileTenants();
  const tenantsPath = join(folder, 'tenants.json');
  const firstKey = demo ? null : createTenantsFile(tenantsPath);
  const tenantsFile = await watchTenantsFile(tenantsPath, files, offers, logger);
  closers.push(() => tenantsFile.close());
  const demoKey = demo ? newApiKey() : null;
  if (demoKey !== null) {
    const hash = hashApiKey(demoKey);
    files.add(hash, identityOf(hash, { name: 'demo', plan: 'pro' }, offers.plans));
  }

  const vault = new Vault(installSecret(join(folder, 'content-key')));
  const ledger = openLedger(db, vault, logger);
  const writes = new DurableWrites({
    atomically: (work) => ledger.atomically(work),
    onError: (error, { what, id }, isLost) =>
      logger.error(
        { err: error, id },
        isLost
          ? `${what} can never be written, and is lost`
          : `${what} could not be written; it is tried again`,
      ),
  });
  const usage = new UsageStore(db, (error, lost) =>
    logger.error({ err: error, lost }, 'usage rows were not written'),
  );
  closers.push(() => usage.close());
  const history = new HistoryStore(db, vault);
  const idempotency = new IdempotencyStore(db, vault, (id, bytes) => {
    const tenant = accounts.directory.tenant(id);
    return tenant !== undefined && room.has(tenant, bytes);
  });
  const accounts = await openAccounts({ config, folder, db, offers, files, ledger, writes, logger, closers });
  const orders = new OrderStore(db);
  const { secretKey, webhookSecret, url } = stripeKeys(config);
  const payments = await Payments.open({ ...accounts, orders }, { secretKey, webhookSecret, url });
  const uploadStore = new UploadStore(db);
  const windows = new PlanWindows();
  // T5: a restart gives nobody a new minute, or hour.
  windows.preload('images', usage.imagesSince(Date.now() - 3_600_000));
  windows.preload('uploads', uploadStore.countsSince(Date.now() - 60_000));
  const admission = new Admission({
    directory: accounts.directory,
    usage,
    history,
    ledger,
    idempotency,
    offers,
    windows,
    blockedPhrases: readPhrases(join(defaults, 'blocked-phrases.json')),
    writes,
  });
  const signedLinks = new SignedLinks(installSecret(join(folder, 'link-secret')));
  const links = new ImageLinks(folder, signedLinks, vault);
  await links.start();
  closers.push(() => links.close());

  const webhooks = new WebhookStore(db, vault);
  const webhookSender = new WebhookSender({
    store: webhooks,
    allowed: config.webhooks.allow,
    writes,
    onError: (error) => logger.error({ err: error }, 'a webhook could not be sent'),
  });
  closers.push(() => webhookSender.close());
  // No file is written before this.
  const startedAt = Date.now();
  const jobStore = new JobStore(db, vault);
  const space = new DiskSpace(folder, config.storage.floorMib * mib);
  const fileStore = new LocalFiles(join(folder, 'artefacts'), space, vault);
  const owner = ownerOf(folder);
  const pictures = new Pictures(childEnv(process.env, { owner, child: 'pictures' }));
  closers.push(() => pictures.close());
  const classifier = new ImageClassifier(childEnv(process.env, { owner, child: 'classifier' }));
  closers.push(() => classifier.close());
  const moderation = new Moderation(classifier, config.moderation.imageThreshold);
  const room = new StorageRoom({
    stored: (tenant) => uploadStore.storedBytes(tenant) + links.bytesOf(tenant),
    space,
  });
  const uploads = new Uploads({
    store: uploadStore,
    files: fileStore,
    pictures,
    moderation,
    room,
    space,
    incoming: join(folder, 'incoming'),
    onError: (error) => logger.error({ err: error }, 'a file could not be deleted'),
  });
  const styles = readStyles(join(defaults, 'styles.json'));
  const features = new Map(
    [imageGeneration(styles), inference].map((feature) => [feature.name, feature as Feature<unknown>]),
  );
  const jobs = new Jobs({
    store: jobStore,
    files: fileStore,
    pictures,
    moderation,
    uploads: {
      find: (tenant, id) => uploadStore.find(tenant, id),
      read: (upload) => uploads.read(upload),
    },
    features,
    gpu,
    ledger,
    usage,
    directory: accounts.directory,
    writes,
    emit: (tenant, type, data) => webhooks.emit(tenant, type, data),
    onError: (error, job) => logger.error({ err: error, job }, 'a job met a problem'),
  });

  const jobDesk = new JobDesk({ gpu, admission, history, store: jobStore, jobs, uploadStore, room });
  const requests = new History({ db, usage, prompts: history, jobs, jobStore });

  const erasures = new ErasureStore(db);
  const sweeper = new Sweeper(
    { ...accounts, erasures, history, idempotency, jobs, uploads, webhooks },
    (error) => logger.error({ err: error }, 'a chore of the sweeper failed'),
  );
  closers.push(() => sweeper.close());

  const signIn = new SignIn(accounts);
  const company = new Company(accounts);
  const registration = new Registration(accounts, signIn);
  const demoAccounts = demo ? await openDemoAccounts(accounts) : closeDemoAccounts(accounts);

  const shared = {
    ...accounts,
    db,
    writes,
    days,
    gpu,
    admission,
    usage,
    history,
    idempotency,
    erasures,
    orders,
    jobs,
    jobStore,
    jobDesk,
    features,
    requests,
    uploads,
    uploadStore,
    webhooks,
    company,
    version,
    demo: demo !== null,
  };
  const certificate = config.tenant.https ? await lanCertificate(config.tenant, join(folder, 'tls')) : null;
  const tenantSide = await tenantApp(
    {
      ...shared,
      signIn,
      registration,
      recovery: new Recovery(accounts, (error) =>
        logger.error({ err: error }, 'a token to reset a password could not be sent'),
      ),
      payments,
      links,
      signedLinks,
      webhookAllowed: config.webhooks.allow,
      fileStore,
      room,
      windows,
      pictures,
      moderation,
      styles,
      origins: config.tenant.origins,
      publicUrl: config.tenant.publicUrl,
    },
    logger,
    certificate,
  );
  const tokenFile = join(folder, 'operator-token');
  const access = new ConsoleAccess(operatorToken(tokenFile));
  const folders = {
    gguf: modelsFolder,
    checkpoint:
      config.webui.checkpointsFolder ??
      (config.webui.folder === null ? null : join(config.webui.folder, 'models', 'Stable-diffusion')),
  };
  const refresh = (engine: string): void => {
    if (gpu.hasEngine(engine)) void gpu.refreshEngine(engine).catch(() => undefined);
  };
  const watched = [
    { engine: 'llama-cpp', path: folders.gguf, files: /\.gguf$/i },
    { engine: 'webui', path: folders.checkpoint, files: /\.(safetensors|ckpt)$/i },
    { engine: 'lm-studio', path: lmStudioModels(found.lmStudio?.lmsPath ?? null), files: /\.gguf$/i },
  ].flatMap(({ engine, path, files }) =>
    path === null ? [] : [watchModels({ path, files }, () => refresh(engine))],
  );
  closers.push(() => Promise.all(watched.map((one) => one.close())));
  const downloads = new Downloads({
    folderOf: (kind) => folders[kind],
    spaceOf: (path) => new DiskSpace(path, config.storage.floorMib * mib),
    onDone: (kind) => refresh(kind === 'gguf' ? 'llama-cpp' : 'webui'),
  });
  closers.push(() => downloads.close());
  const backupFolder = backupFolderOf(config, folder);
  const backups = new Backups({
    db,
    dataFolder: folder,
    folder: backupFolder,
    keepDays: config.backup.keepDays,
    version,
    space: new DiskSpace(backupFolder, config.storage.floorMib * mib),
    onError: (error) => logger.error({ err: error }, 'a backup could not be made or read'),
  });
  closers.push(() => backups.close());
  const hasKeys = (): boolean => files.all().length > 0 || accounts.users.page(undefined, 1).length > 0;
  const tunnelSide = await listenForTunnel(tenantSide);
  closers.push(() => tunnelSide.close());
  const tunnel = new Tunnel({
    supervisor,
    // An empty token is none (A8).
    settings: { ...config.tunnel, token: config.tunnel.token || null },
    restart: tunnelRestart,
    tokenFile: join(folder, 'run', 'tunnel-token'),
    localPort: tunnelSide.port,
    metricsPort: async () => (await freePorts(1))[0] ?? 0,
    hasKeys,
    log: (message, about) => logger.info(about, message),
  });
  closers.push(() => tunnel.stop());
  const tenantListener = new PatientListener(tenantSide, {
    ...config.tenant,
    tls: certificate,
    againMs: limits.listenAgainMs,
    chosenBy: 'tenant.port (KILNHOUSE_TENANT_PORT)',
    onChange: (problem) =>
      problem === null ? logger.info('the tenant API is open') : logger.error({ problem }, 'not listening'),
  });
  const lan = {
    host: config.tenant.host,
    certificate,
    get port() {
      return tenantListener.port;
    },
    get url() {
      return tenantListener.url;
    },
    get problem() {
      return tenantListener.problem;
    },
  };
  const operatorSide = await operatorApp(
    {
      ...shared,
      files,
      tenantsFile,
      access,
      backups,
      tunnel,
      lan,
      configuration,
      settingsWorld: () => ({
        plans: Object.keys(offers.plans),
        hasKeys: hasKeys(),
        cardBytes: gpu.status().totalBytes,
        ownPorts: [tenantListener.port, (operatorSide.server.address() as AddressInfo | null)?.port ?? 0],
        misfit: (modelId, pinned) => gpu.misfit(modelId, pinned),
      }),
      downloads,
      modelsFolder,
      discover: () => discover(config, modelsFolder),
      pagesFolder: fileURLToPath(new URL('../build/console/', import.meta.url)),
      restart,
      pause,
      dataFolder: folder,
    },
    logger,
  );

  if (config.tenant.host !== '127.0.0.1' && !hasKeys()) {
    throw new Error(
      `Listening on ${config.tenant.host} is refused while there is no key. Add one to ${tenantsPath} first.`,
    );
  }
  // Before anybody can ask: the engines come up in the background, and requests wait for them.
  await gpu.start();
  closers.push(() => tenantListener.close());
  await tenantListener.open();
  const operatorUrl = await listen(operatorSide, config.operator.port, closers);
  jobs.start();
  if (config.backup.enabled) backups.start();
  if (config.tunnel.enabled)
    tunnel.start().catch((error: unknown) => logger.error({ err: error }, 'the tunnel is not open'));
  // Jobs that wait for a model begin as soon as the engines have said what they have.
  void gpu.settled(limits.engineStartMs).then(() => jobs.wake());
  closers.push(() => jobs.close());
  const sealing = new AbortController();
  closers.push(() => sealing.abort());
  fileStore
    .sealOld(jobStore.files(startedAt), sealing.signal)
    .then((sealed) => sealed > 0 && logger.info({ sealed }, 'files of an earlier version were encrypted'))
    .catch((error: unknown) =>
      logger.error({ err: error }, 'files of an earlier version could not be encrypted'),
    );
  fileStore
    .sweepOrphans((id) => jobStore.knowsFile(id), startedAt)
    .then((removed) => removed > 0 && logger.warn({ removed }, 'deleted files that belonged to nothing'))
    .catch((error: unknown) => logger.error({ err: error }, 'files could not be looked through'));
  // First of all when it ends: what runs is told so, and costs nothing, before its connections are cut.
  closers.push(() => admission.close());
  // Before that: from now on each write is tried once, and what fails is left to the next start.
  closers.push(() => writes.close());
  if (!isSmall(databaseFile)) {
    const ended = new AbortController();
    closers.push(() => ended.abort());
    // Thrown where nobody catches it: the appliance stops, and says why (D5).
    void lookThrough(databaseFile, ended.signal);
  }
  mkdirSync(join(folder, 'run'), { recursive: true, mode: 0o700 });
  writeFileSync(join(folder, 'run', 'operator-url'), `${operatorUrl}\n`, { mode: 0o600 });
  logger.info({ tenantUrl: tenantListener.url, operatorUrl, demo: demo !== null }, 'serving');
  return {
    tenantUrl: tenantListener.url,
    problem: tenantListener.problem,
    operatorUrl,
    tokenFile,
    certificate,
    demo: demo !== null,
    freshKey: demoKey ?? firstKey,
    demoAccounts,
    gpu,
    consoleLink: () => consoleLink(operatorUrl, access.newCode().code),
    close,
  };
}

/** The calendar of usage. */
function daysOf({ usage: { timeZone } }: Config): Days {
  try {
    return new Days(timeZone ?? undefined);
  } catch {
    throw new InvalidValue('config.json', 'usage.timeZone', noTimeZone(timeZone ?? ''));
  }
}

/** How work is ordered, and how much of it may wait, by the settings. */
function orderOf({ scheduler }: Config): { policy: Policy; queue: QueueLimits } {
  const { maxWaitSeconds, idleUnloadMinutes, interactiveQueueSeconds } = scheduler;
  const interactive = interactiveQueueSeconds * 1000;
  return {
    policy: {
      ...defaultPolicy,
      maxWaitMs: { ...defaultPolicy.maxWaitMs, interactive: maxWaitSeconds * 1000 },
      idleUnloadMs: idleUnloadMinutes === null ? null : idleUnloadMinutes * 60_000,
    },
    queue: {
      totalMs: { ...defaultQueueLimits.totalMs, interactive },
      perTenantMs: { ...defaultQueueLimits.perTenantMs, interactive: interactive * 0.75 },
    },
  };
}

/** The console's listener, without which nobody could say what is wrong: where it cannot listen, the start fails. */
async function listen(app: BaseApp, port: number, closers: (() => unknown)[]): Promise<string> {
  try {
    await app.listen({ host: '127.0.0.1', port });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') {
      throw new Error(
        `Port ${port} is taken by another program. Choose another one with KILNHOUSE_OPERATOR_PORT, or as operator.port in config.json.`,
        { cause: error },
      );
    }
    throw error;
  }
  closers.push(() => app.close());
  return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
}

/** The ledger, once it is proven to add up, and what a crash left open given back. */
function openLedger(db: Database, vault: Vault, logger: Logger): Ledger {
  const { faults, entries } = proveLedger(db);
  if (faults.length > 0) throw new LedgerBroken(faults);
  const ledger = new Ledger(db);
  // A job's hold is the job's: it goes on with it.
  const open = new Set(new JobStore(db, vault).open().map(({ id }) => id));
  const orphans = ledger.voidOrphans((id) => open.has(id));
  logger.info({ entries, orphans }, 'the ledger adds up');
  return ledger;
}

/** Everything about people and companies, put together. */
async function openAccounts(parts: {
  config: Config;
  folder: string;
  db: Database;
  offers: Offers;
  files: FileTenants;
  ledger: Ledger;
  writes: DurableWrites;
  logger: Logger;
  closers: (() => unknown)[];
}): Promise<AccountDeps> {
  const { config, folder, db, offers, files, ledger, writes, logger, closers } = parts;
  if (!Object.hasOwn(offers.plans, config.accounts.plan))
    throw new InvalidValue('config.json', 'accounts.plan', `is "${config.accounts.plan}", which is no plan`);
  const secret = installSecret(join(folder, 'session-secret'));
  const tenants = new TenantStore(db, offers);
  const keys = new KeyStore(db, (error) => logger.error({ err: error }, 'times of use were not written'));
  closers.push(() => keys.close());
  const transport = await mailTransport(config.mail);
  const outbox = new Outbox({
    db,
    transport,
    writes,
    onError: (error, id) => logger.warn({ err: error, id }, 'a message could not be sent; it is tried again'),
  });
  closers.push(() => outbox.close());
  return {
    settings: config.accounts,
    tenants,
    keys,
    users: new UserStore(db),
    sessions: new SessionStore(db, secret),
    invitations: new InvitationStore(db),
    mailedTokens: new MailedTokens(db),
    mailLimit: new MailLimit(),
    outbox,
    audit: new AuditLog(db),
    ledger,
    offers,
    passwords: new Passwords(),
    attempts: new PasswordAttempts(),
    accessTokens: new AccessTokens(secret),
    directory: new Directory({ db, files, tenants, keys }),
  };
}

function stripeKeys({ payments }: Config) {
  return {
    secretKey: payments.stripeSecretKey ?? '',
    webhookSecret: payments.stripeWebhookSecret ?? '',
    url: payments.stripeUrl,
  };
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

function readStyles(path: string): readonly Style[] {
  return parseChecked(Type.Array(Style), readFileSync(path, 'utf8'), path);
}

/** Names this installation in the marks of its processes. */
function ownerOf(folder: string): string {
  return createHash('sha256').update(folder).digest('hex').slice(0, 16);
}
