import { type Static, Type } from 'typebox';
import { JobView } from './jobs.ts';
import { DecisionView, EngineView, GpuView, MachineView, ModelView, PauseView } from './operator.ts';
import { TenantName } from './operator-accounts.ts';
import { Nullable } from './platform.ts';

const ById = <Item extends ReturnType<typeof Type.Object>>(item: Item) => Type.Record(Type.String(), item);

/**
 * A waiting piece of work in the live state. It holds no times that run by themselves: what changes every second for
 * hundreds of items would be most of what is sent.
 */
export const LiveItem = Type.Object({
  id: Type.String(),
  tenant: Type.String(),
  tenantName: TenantName,
  model: Type.String(),
  feature: Type.String(),
  lane: Type.String(),
  reason: Type.String(),
  since: Type.Number({ description: 'Wall-clock milliseconds.' }),
  startsAt: Nullable(Type.Number(), { description: 'When it probably starts, in steps of some seconds.' }),
});

export const Alert = Type.Object({
  id: Type.String(),
  level: Type.Union([Type.Literal('warning'), Type.Literal('error')]),
  title: Type.String(),
  advice: Type.String({ description: 'What to do about it.' }),
  page: Type.String({ description: 'Where in the console to do it.' }),
});

const TunnelState = Type.Object({ state: Type.String(), address: Nullable(Type.String()) });

/** Everything the console shows live. */
export const LiveState = Type.Object({
  version: Type.String(),
  demo: Type.Boolean(),
  tenantUrl: Type.String(),
  gpu: GpuView,
  pause: PauseView,
  machine: Nullable(MachineView),
  engines: ById(EngineView),
  models: ById(ModelView),
  queue: ById(LiveItem),
  reasons: Type.Record(Type.String(), Type.String()),
  decisions: Type.Record(Type.String(), DecisionView),
  alerts: ById(Alert),
  tunnel: TunnelState,
  running: Type.Record(Type.String(), Type.Integer(), { description: 'Open requests, by tenant.' }),
});
export type LiveState = Static<typeof LiveState>;

/** What comes over the WebSocket: all of it once, then JSON merge patches (RFC 7386). */
export type LiveMessage =
  | { readonly type: 'snapshot'; readonly state: LiveState }
  | { readonly type: 'patch'; readonly patch: unknown };

export const TrafficView = Type.Object({
  minutes: Type.Array(
    Type.Object({
      at: Type.Number({ description: 'The beginning of the minute, wall-clock milliseconds.' }),
      requests: Type.Integer(),
      failed: Type.Integer(),
      refused: Type.Integer({ description: 'Turned away before any work was done.' }),
      tokens: Type.Integer(),
      images: Type.Integer(),
    }),
  ),
  refusals: Type.Array(Type.Object({ code: Type.String(), count: Type.Integer() }), {
    description: 'Why requests of the last hour were refused, the most frequent reason first.',
  }),
});

export const HistoryView = Type.Object({
  samples: Type.Array(
    Type.Object({
      at: Type.Number(),
      usedBytes: Nullable(Type.Number()),
      utilization: Nullable(Type.Number()),
      temperatureC: Nullable(Type.Number()),
      powerWatts: Nullable(Type.Number()),
    }),
  ),
});

export const FoundView = Type.Object({
  lmStudio: Nullable(Type.Object({ path: Nullable(Type.String()), running: Type.Boolean() })),
  webui: Nullable(Type.Object({ folder: Nullable(Type.String()), port: Type.Integer() })),
  ggufFiles: Type.Boolean(),
  modelsFolder: Type.String(),
  installs: Type.Array(
    Type.Object({
      kind: Type.String({ description: 'automatic1111, forge, sdnext, comfyui or sd-server.' }),
      path: Type.String(),
      usable: Type.Boolean({ description: 'Whether there is an adapter that starts it.' }),
    }),
  ),
});

export const TryBody = Type.Object(
  {
    kind: Type.Union([Type.Literal('text'), Type.Literal('image')]),
    model: Type.Optional(Type.String({ maxLength: 400 })),
  },
  { additionalProperties: false },
);
export const TryView = Type.Object({
  model: Type.String(),
  text: Nullable(Type.String()),
  image: Nullable(Type.String(), { description: 'A data: URL.' }),
  queuedMs: Type.Number(),
  runMs: Type.Number(),
});

export const DownloadView = Type.Object({
  id: Type.String(),
  kind: Type.String(),
  url: Type.String(),
  name: Type.String(),
  state: Type.String({ description: 'waiting, loading, checking, done, failed or canceled.' }),
  bytes: Type.Number(),
  totalBytes: Nullable(Type.Number()),
  error: Nullable(Type.String()),
  sha256: Nullable(Type.String()),
  startedAt: Type.Number(),
});

export const SettingsView = Type.Array(
  Type.Object({
    path: Type.String(),
    description: Type.String(),
    schema: Type.Unknown({ description: 'What it may be, as JSON Schema.' }),
    default: Type.Unknown(),
    secret: Type.Boolean({ description: 'Only whether it is set is shown.' }),
    value: Type.Unknown({ description: 'In effect now.' }),
    next: Type.Unknown({ description: 'In effect after the next start, where that is another.' }),
    pending: Type.Boolean({ description: 'Whether it waits for a restart to come into effect.' }),
    atOnce: Type.Boolean({ description: 'Whether changes come into effect without a restart.' }),
    decidedBy: Nullable(Type.String(), {
      description: 'The variable that decides it, whatever is set here.',
    }),
  }),
);

export const TunnelView = Type.Object({
  state: Type.String({ description: 'off, starting, up, reconnecting or failed.' }),
  mode: Type.String({ description: 'quick, with an address that is new at each start, or named.' }),
  address: Nullable(Type.String(), { description: 'Where the world reaches the tenant API.' }),
  connections: Type.Integer({ description: 'To Cloudflare’s edge.' }),
  problem: Nullable(Type.String(), { description: 'Why it is not up, and what to do.' }),
  nextTryAt: Nullable(Type.Number(), {
    description: 'When it is tried again by itself, wall-clock milliseconds.',
  }),
});

export const LanView = Type.Object({
  open: Type.Boolean({ description: 'Whether others than this machine get an answer.' }),
  addresses: Type.Array(Type.String(), { description: 'Where the LAN reaches the tenant API.' }),
  certificate: Nullable(
    Type.Object({
      ours: Type.Boolean({ description: 'Made by us: programs have to be told to trust it.' }),
      fingerprint: Type.String({ description: 'SHA-256, to compare with what a browser shows.' }),
      pem: Type.String(),
    }),
  ),
});

export const BackupView = Type.Object({
  id: Type.String(),
  at: Type.String(),
  version: Type.String(),
  bytes: Type.Integer(),
  ledgerEntries: Type.Integer(),
  credits: Type.Integer({ description: 'The sum of all balances.' }),
  withFiles: Type.Boolean({ description: 'Whether tenants’ files of the last week were copied with it.' }),
});

export const OperatorJobView = Type.Object({
  ...JobView.properties,
  tenant: Type.String(),
  tenantName: TenantName,
  attempts: Type.Integer(),
  engineFailures: Type.Integer(),
  interruptions: Type.Integer({ description: 'How often the appliance stopped while it ran.' }),
});

export const WebhookStateView = Type.Object({
  id: Type.String(),
  tenant: Type.String(),
  tenantName: TenantName,
  host: Type.String({ description: 'Where events are sent; the path may hold a secret of theirs.' }),
  events: Type.Array(Type.String(), { description: 'Empty: all.' }),
  createdAt: Type.String(),
  disabledAt: Nullable(Type.String()),
  failingSince: Nullable(Type.String()),
});

export const JobDetailView = Type.Object({
  job: OperatorJobView,
  artefacts: Type.Array(
    Type.Object({
      id: Type.String(),
      name: Type.String(),
      contentType: Type.String(),
      bytes: Type.Integer(),
      createdAt: Type.String(),
    }),
  ),
  events: Type.Array(Type.Object({ sequence: Type.Integer(), type: Type.String(), at: Type.String() })),
});
