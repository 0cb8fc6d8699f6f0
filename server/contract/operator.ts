import { Type } from 'typebox';
import { Nullable } from './platform.ts';

export const EngineView = Type.Object({
  id: Type.String(),
  kind: Type.String(),
  title: Type.String(),
  demo: Type.Boolean(),
  ownership: Type.String({
    description: 'ours: started and ended here; theirs: found running, never killed.',
  }),
  address: Nullable(Type.String()),
  version: Nullable(Type.String()),
  health: Type.String({ description: 'unknown, starting, ready, failing, failed or stopped.' }),
  failure: Nullable(Type.String(), { description: 'What happened.' }),
  nextTryAt: Nullable(Type.Number(), {
    description: 'When it is tried again by itself, wall-clock milliseconds.',
  }),
  profile: Type.Object({
    name: Type.String(),
    reason: Type.String(),
    args: Type.Array(Type.String()),
    slots: Type.Integer(),
    contextLength: Nullable(Type.Integer()),
    gpuRatio: Nullable(Type.Number()),
    savesMemory: Type.Boolean(),
  }),
});

export const ModelView = Type.Object({
  id: Type.String(),
  engineId: Type.String(),
  key: Type.String(),
  modality: Type.String(),
  phase: Type.String(),
  vramBytes: Type.Number(),
  measured: Type.Boolean(),
  running: Type.Integer(),
  waiting: Type.Integer(),
  slots: Type.Integer(),
  loadMs: Type.Number(),
  pinned: Type.Boolean(),
  /** The pinned models that leave no room for it; requests for it are refused while there are any. */
  blockedByPins: Type.Array(Type.String()),
  spilled: Type.Boolean(),
  obstacle: Nullable(Type.String(), { description: 'Why it can never be served as things are.' }),
  sizeBytes: Nullable(Type.Number()),
  contextLength: Nullable(Type.Integer()),
});

/** A file among the models that is not offered as one. */
export const LeftOutView = Type.Object({
  engineId: Type.String(),
  file: Type.String({ description: 'Its path below the folder of models.' }),
  reason: Type.String(),
});

export const QueueItem = Type.Object({
  id: Type.String(),
  tenant: Type.String(),
  model: Type.String(),
  lane: Type.String(),
  position: Type.Integer(),
  etaMs: Nullable(Type.Number()),
  waitedMs: Type.Number(),
  reason: Type.String(),
  explanation: Type.String(),
  feature: Type.String(),
});

export const DecisionView = Type.Object({
  sequence: Type.Integer(),
  at: Type.Number(),
  type: Type.String(),
  modelId: Nullable(Type.String()),
  workId: Nullable(Type.String()),
  tenant: Nullable(Type.String()),
  cause: Nullable(Type.String()),
  drainFor: Nullable(Type.String()),
  waiting: Type.Integer(),
  tookMs: Nullable(Type.Number()),
  note: Nullable(Type.String()),
});

export const GpuView = Type.Object({
  mode: Type.String(),
  totalBytes: Type.Number(),
  budgetBytes: Type.Number(),
  capacityBytes: Type.Number(),
  reservedBytes: Type.Number(),
  othersBytes: Type.Number({
    description: 'Held by programs that are not of the appliance, and the desktop.',
  }),
  excessBytes: Type.Number({ description: 'Held by our engines beyond what is reserved for their models.' }),
  declared: Type.Boolean(),
  readable: Type.Boolean(),
  dirty: Type.Boolean(),
});

export const MachineView = Type.Object({
  at: Type.Number(),
  card: Nullable(
    Type.Object({
      name: Type.String(),
      driver: Nullable(Type.String()),
      totalBytes: Type.Number(),
      usedBytes: Type.Number(),
      utilization: Nullable(Type.Number()),
      temperatureC: Nullable(Type.Number()),
      powerWatts: Nullable(Type.Number()),
      powerLimitWatts: Nullable(Type.Number()),
      processes: Type.Array(
        Type.Object({
          pid: Type.Integer(),
          name: Type.String(),
          usedBytes: Nullable(Type.Number()),
          ours: Type.Boolean({ description: 'An engine, or another program of the appliance.' }),
        }),
      ),
    }),
  ),
  readable: Type.Boolean(),
  note: Nullable(Type.String()),
  cpu: Nullable(Type.Number()),
  ramUsedBytes: Nullable(Type.Number()),
  ramTotalBytes: Nullable(Type.Number()),
});

export const StatusView = Type.Object({
  version: Type.String(),
  demo: Type.Boolean(),
  gpu: GpuView,
  machine: Nullable(MachineView),
});

export const LogsQuery = Type.Object(
  { last: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: 200 })) },
  { additionalProperties: false },
);

export const LogView = Type.Object({
  lines: Type.Array(Type.Object({ at: Type.Number(), stream: Type.String(), text: Type.String() })),
});

export const PauseBody = Type.Object(
  {
    unload: Type.Optional(
      Type.Boolean({ default: true, description: 'true gives the memory back; false only holds the queue.' }),
    ),
    minutes: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 10_080, description: 'Serve again by itself after so long.' }),
    ),
    whileProcess: Type.Optional(
      Type.Integer({ minimum: 1, description: 'Serve again when this program has ended: a game.' }),
    ),
    stop: Type.Optional(
      Type.Boolean({
        default: false,
        description:
          'true ends what runs now: requests get 503 and are not charged, jobs go on later. false lets it finish.',
      }),
    ),
  },
  { additionalProperties: false },
);

export const Id = Type.Object({ id: Type.String({ minLength: 1, maxLength: 400 }) });
export const PauseView = Type.Object({
  mode: Type.String(),
  since: Type.Union([Type.Number(), Type.Null()], { description: 'Wall-clock milliseconds.' }),
  until: Type.Union([Type.Number(), Type.Null()]),
  pid: Type.Union([Type.Integer(), Type.Null()], { description: 'The program whose end is waited for.' }),
});

export const Done = Type.Object({ done: Type.Boolean(), message: Type.String() });

/** The models that are refused because of one pin, beside those that other pins refuse already. */
export const PinEffect = Type.Object({ blocks: Type.Array(Type.String()) });
export const PinDone = Type.Object({ ...Done.properties, ...PinEffect.properties });
