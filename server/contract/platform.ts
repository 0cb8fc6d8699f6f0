import { type TSchema, Type } from 'typebox';
import { limits } from './limits.ts';

export const Nullable = <S extends TSchema>(schema: S, options: { description?: string } = {}) =>
  Type.Union([schema, Type.Null()], options);

/** The envelope of /api/v1. */
export function Envelope<Data extends TSchema>(data: Data) {
  return Type.Object({
    status: Type.Literal('success'),
    data,
    message: Type.Union([Type.String(), Type.Null()]),
    errors: Type.Array(Type.Unknown()),
  });
}

/** A page of a list, and where the next one begins. */
export function PageOf<Item extends TSchema>(item: Item) {
  return Type.Object({
    items: Type.Array(item),
    next: Nullable(Type.String(), { description: 'Send as "after" for the next page; null on the last.' }),
  });
}

export const PageQuery = Type.Object(
  {
    after: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 60,
        pattern: '^[A-Za-z0-9_:-]+$',
        'x-form': 'the "next" of the page before',
      }),
    ),
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: limits.page.max, default: limits.page.default }),
    ),
  },
  { additionalProperties: false },
);

const Window = Type.Object({
  limit: Type.Integer(),
  remaining: Type.Integer(),
  resetMs: Type.Integer({ description: 'Milliseconds until the window is empty again.' }),
});

export const RateLimit = Type.Object({
  plan: Type.String(),
  requestsPerMinute: Window,
  uploadsPerMinute: Window,
  imagesPerHour: Window,
  downloadsPerHour: Window,
  concurrency: Type.Object({
    running: Type.Integer({ description: 'How many may run at once; more wait in the queue.' }),
    queued: Type.Integer({ description: 'How many may wait beside them.' }),
    open: Type.Integer({ description: 'How many are open now.' }),
  }),
});

export const UsageQuery = Type.Object(
  { days: Type.Optional(Type.Integer({ minimum: 1, maximum: 366, default: 30 })) },
  { additionalProperties: false },
);

const totals = {
  requests: Type.Integer(),
  succeeded: Type.Integer(),
  failed: Type.Integer(),
  successRate: Nullable(Type.Number(), { description: '0 to 1.' }),
  meanMs: Nullable(Type.Number(), { description: 'Waiting and running, of those that succeeded.' }),
  promptTokens: Type.Integer(),
  completionTokens: Type.Integer(),
  images: Type.Integer(),
  gpuSeconds: Type.Number(),
  credits: Type.Integer({ description: 'What was charged.' }),
};
const Group = (description: string) =>
  Type.Array(Type.Object({ name: Type.String({ description }), ...totals }));

const span = {
  from: Type.String({ description: 'The first day: 2026-11-20.' }),
  until: Type.String({ description: 'The last day, which is today.' }),
  timeZone: Type.String({ description: 'Where the days begin and end, such as Europe/Berlin.' }),
};

export const UsageReport = Type.Object({
  ...span,
  totals: Type.Object(totals),
  byDay: Group('The day: 2026-11-20.'),
  byModel: Group('The model.'),
  byKey: Group('The id of the key, or of the person where one signed in.'),
  byFeature: Group('The feature.'),
});

export const OperatorUsageReport = Type.Object({
  ...span,
  totals: Type.Object(totals),
  byDay: Group('The day: 2026-11-20.'),
  byModel: Group('The model.'),
  byFeature: Group('The feature.'),
  byTenant: Type.Array(
    Type.Object({
      name: Type.String({ description: 'The id of the tenant.' }),
      title: Type.String({ description: 'What the tenant is called; its id when it was deleted.' }),
      ...totals,
    }),
  ),
});

export const Health = Type.Object({ status: Type.String(), version: Type.String(), demo: Type.Boolean() });

export const Readiness = Type.Object({
  status: Type.String(),
  text: Type.Boolean({ description: 'Whether a text model can be had.' }),
  image: Type.Boolean({ description: 'Whether an image model can be had.' }),
  paused: Type.Boolean(),
});
