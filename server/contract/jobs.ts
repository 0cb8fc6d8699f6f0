import { Type } from 'typebox';
import { limits } from './limits.ts';
import { DryRunQuery } from './money.ts';
import { Nullable } from './platform.ts';

const State = Type.Union([
  Type.Literal('queued'),
  Type.Literal('starting'),
  Type.Literal('processing'),
  Type.Literal('succeeded'),
  Type.Literal('failed'),
  Type.Literal('canceled'),
  Type.Literal('expired'),
]);

export const JobView = Type.Object({
  id: Type.String(),
  feature: Type.String(),
  model: Type.String(),
  state: State,
  progress: Type.Number({ description: '0 to 1.' }),
  step: Nullable(Type.String(), { description: 'The last step that was finished.' }),
  queue: Nullable(
    Type.Object({
      position: Type.Integer(),
      etaMs: Nullable(Type.Number()),
      reason: Type.String(),
    }),
  ),
  credits: Type.Object({
    held: Type.Integer({ description: 'The most it can cost.' }),
    charged: Nullable(Type.Integer({ description: 'Null until it has ended.' })),
  }),
  error: Nullable(Type.Object({ code: Type.String(), message: Type.String() })),
  createdAt: Type.String(),
  startedAt: Nullable(Type.String()),
  finishedAt: Nullable(Type.String()),
  gpuSeconds: Type.Number(),
  batch: Nullable(Type.String(), { description: 'What it was asked for together with.' }),
  retryOf: Nullable(Type.String(), { description: 'The job that it is once more.' }),
  preview: Nullable(Type.Integer(), {
    description: 'Goes up with every new look at what is being made; null while there is none.',
  }),
  urls: Type.Object({
    get: Type.String(),
    events: Type.String(),
    cancel: Type.String(),
    files: Type.String(),
    preview: Type.String(),
    download: Type.String(),
  }),
});

export const BatchView = Type.Object({
  id: Type.String(),
  states: Type.Record(Type.String(), Type.Integer(), { description: 'How many jobs are in each state.' }),
  progress: Type.Number({ description: '0 to 1, of all together.' }),
  credits: Type.Object({ held: Type.Integer(), charged: Type.Integer() }),
  jobs: Type.Array(JobView),
});

export const JobsQuery = Type.Object(
  {
    state: Type.Optional(State),
    feature: Type.Optional(Type.String({ pattern: '^[a-z0-9-]{1,60}$', 'x-form': 'the name of a feature' })),
    batch: Type.Optional(Type.String({ pattern: '^bat_[0-9a-f]{32}$', 'x-form': 'the id of a batch' })),
    after: Type.Optional(
      Type.String({ pattern: '^job_[0-9a-f]{32}$', 'x-form': 'the "next" of the page before' }),
    ),
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: limits.page.max, default: limits.page.default }),
    ),
  },
  { additionalProperties: false },
);

export const NewJobQuery = Type.Object(
  {
    ...DryRunQuery.properties,
    start_within: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 604_800,
        description: 'Seconds after which the job is dropped where it has not begun.',
      }),
    ),
  },
  { additionalProperties: false },
);

export const ArtefactView = Type.Object({
  id: Type.String(),
  name: Type.String(),
  contentType: Type.String(),
  bytes: Type.Integer(),
  metadata: Type.Record(Type.String(), Type.Unknown()),
  url: Type.String({ description: 'A link that needs no key, until it expires.' }),
  thumbnailUrl: Nullable(Type.String(), { description: 'The same for a small picture of it.' }),
  expiresAt: Type.String(),
  createdAt: Type.String(),
});

export const UploadView = Type.Object({
  id: Type.String(),
  name: Type.String(),
  contentType: Type.String(),
  width: Type.Integer(),
  height: Type.Integer(),
  bytes: Type.Integer(),
  url: Type.String({ description: 'A link that needs no key, until it expires.' }),
  urlExpiresAt: Type.String(),
  createdAt: Type.String(),
  expiresAt: Type.String({ description: 'When it is deleted, unless a job still needs it.' }),
});

export const JobParams = Type.Object({ id: Type.String({ minLength: 1, maxLength: 60 }) });
export const FileParams = Type.Object({
  id: Type.String({ minLength: 1, maxLength: 60 }),
  file: Type.String({ minLength: 1, maxLength: 60 }),
});
