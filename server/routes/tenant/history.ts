import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { type Static, Type } from 'typebox';
import { Counted, HistoryView, IdParams } from '../../contract/accounts.ts';
import { ErrorEnvelope } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { Envelope, PageOf } from '../../contract/platform.ts';
import { ApiError } from '../../http/api-error.ts';
import { sendLines, sendTable } from '../../http/download.ts';
import { moment, success } from '../../http/envelope.ts';
import type { Cursor, HistoryEntry, HistoryFilter } from '../../history/history.ts';
import type { Whose } from '../../history/history-store.ts';
import type { Identity } from '../../tenants/tenant.ts';
import { identityOf, type TenantDeps } from './tenant-context.ts';

const tags = ['History'];
const dayMs = 24 * 3_600_000;

const Moment = Type.String({
  pattern: String.raw`^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?Z)?$`,
  'x-form': 'a day or a moment in UTC, such as 2026-11-20 or 2026-11-20T18:30:00Z',
  description: 'A day or a moment in UTC: 2026-11-20, 2026-11-20T18:30:00Z.',
});
const filters = {
  feature: Type.Optional(Type.String({ pattern: '^[a-z0-9-]{1,60}$', 'x-form': 'the name of a feature' })),
  model: Type.Optional(Type.String({ minLength: 1, maxLength: 300 })),
  key: Type.Optional(Type.String({ minLength: 1, maxLength: 120 })),
  status: Type.Optional(
    Type.Union([
      Type.Literal('ok'),
      Type.Literal('failed'),
      Type.Literal('refused'),
      Type.Literal('abandoned'),
    ]),
  ),
  from: Type.Optional(Moment),
  to: Type.Optional(Moment),
};
const HistoryQuery = Type.Object(
  {
    ...filters,
    q: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 200,
        description: 'A text that what was asked holds. A page may have fewer; go on while there is a next.',
      }),
    ),
    after: Type.Optional(
      Type.String({ pattern: String.raw`^\d{1,15}\.\d{1,15}$`, 'x-form': 'the "next" of the page before' }),
    ),
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: limits.page.max, default: limits.page.default }),
    ),
  },
  { additionalProperties: false },
);
const RemoveQuery = Type.Object(
  {
    ...filters,
    ids: Type.Optional(
      Type.String({
        pattern: '^[a-z0-9_-]{1,60}(,[a-z0-9_-]{1,60}){0,99}$',
        'x-form': 'up to 100 ids, separated by commas',
        description: 'Up to 100, by commas.',
      }),
    ),
  },
  { additionalProperties: false },
);
const ExportQuery = Type.Object(
  { ...filters, format: Type.Union([Type.Literal('jsonl'), Type.Literal('csv')], { default: 'jsonl' }) },
  { additionalProperties: false },
);
type Query = Static<typeof RemoveQuery>;

const columns: readonly (keyof ReturnType<typeof view>)[] = [
  'id',
  'at',
  'key',
  'user',
  'feature',
  'model',
  'status',
  'error',
  'promptTokens',
  'completionTokens',
  'images',
  'queueMs',
  'runMs',
  'gpuSeconds',
  'credits',
  'prompts',
];

/** What was asked and what became of it, for as long as the plan keeps it. */
export const historyRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, { requests }) => {
  app.get(
    '/api/v1/history',
    {
      schema: {
        tags,
        summary:
          'Requests and jobs that have ended, newest first, with what was asked where the company has it kept; one’s own, and for administrators all',
        querystring: HistoryQuery,
        response: { 200: Envelope(PageOf(HistoryView)), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { q, after, limit = limits.page.default, ...query } = request.query;
      const identity = identityOf(request);
      const filter = filterOf(identity, query);
      const cursor = cursorOf(after);
      if (q !== undefined) {
        const { entries, next } = await requests.search(whose(identity), filter, q, cursor, limit);
        return success({ items: entries.map(view), next: next && textOf(next) });
      }
      const found = requests.page(whose(identity), filter, cursor, limit + 1);
      const items = found.slice(0, limit);
      const last = items.at(-1);
      return success({ items: items.map(view), next: found.length > limit && last ? textOf(last) : null });
    },
  );

  app.get(
    '/api/v1/history/export',
    {
      schema: {
        tags,
        summary: 'The same as a file: JSON lines, or a table',
        querystring: ExportQuery,
        response: { 200: Type.Unknown({ description: 'The file.' }), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const { format, ...query } = request.query;
      const identity = identityOf(request);
      const entries = requests.all(whose(identity), filterOf(identity, query));
      const lines = viewsOf(entries);
      return format === 'csv'
        ? sendTable(reply, 'history.csv', columns, lines)
        : sendLines(reply, 'history.jsonl', lines);
    },
  );

  app.delete(
    '/api/v1/history',
    {
      schema: {
        tags,
        summary: 'Forget all of it, or what a filter lets through, with prompts and results',
        querystring: RemoveQuery,
        response: { 200: Envelope(Counted), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const identity = identityOf(request);
      const removed = await requests.remove(whose(identity), filterOf(identity, request.query));
      return success({ removed });
    },
  );

  app.delete(
    '/api/v1/history/:id',
    {
      schema: {
        tags,
        summary: 'Forget one',
        params: IdParams,
        response: { 200: Envelope(Counted), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const removed = await requests.remove(whose(identityOf(request)), { ids: [request.params.id] });
      if (removed === 0) throw new ApiError('not_found', 'There is no such request in the history.');
      return success({ removed });
    },
  );
};

/** Administrators see what their company asked; everybody else, and every key, what the same person did. */
function whose({ tenant, user, person }: Identity): Whose {
  return user?.role === 'admin' ? { tenant: tenant.id } : { tenant: tenant.id, user: person };
}

function filterOf({ tenant }: Identity, { from, to, ids, ...rest }: Query): HistoryFilter {
  const { historyDays } = tenant.limits;
  const kept = historyDays === null ? 0 : Date.now() - historyDays * dayMs;
  // A day goes to its end.
  const until = to === undefined ? undefined : momentOf(to, 'to') + (to.includes('T') ? 0 : dayMs - 1);
  return {
    ...rest,
    ids: ids?.split(','),
    from: Math.max(kept, from === undefined ? 0 : momentOf(from, 'from')),
    to: until,
  };
}

function momentOf(text: string, param: string): number {
  const at = Date.parse(text);
  if (Number.isNaN(at)) throw new ApiError('invalid_request', `"${text}" is no day or moment.`, { param });
  return at;
}

function cursorOf(text: string | undefined): Cursor | null {
  if (text === undefined) return null;
  const [at = 0, sequence = 0] = text.split('.').map(Number);
  return { at, sequence };
}

function textOf({ at, sequence }: Cursor): string {
  return `${at}.${sequence}`;
}

function view({ sequence: _, at, errorCode, gpuMs, ...entry }: HistoryEntry) {
  return { ...entry, at: moment(at), error: errorCode, gpuSeconds: gpuMs / 1000 };
}

function* viewsOf(entries: Iterable<HistoryEntry>): Generator<ReturnType<typeof view>> {
  for (const entry of entries) yield view(entry);
}
