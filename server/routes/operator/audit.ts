import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { AuditEntry } from '../../audit/audit-log.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { AuditPage, AuditQuery } from '../../contract/operator-accounts.ts';
import { ApiError } from '../../http/api-error.ts';
import { sendLines, sendTable } from '../../http/download.ts';
import { moment } from '../../http/envelope.ts';
import type { OperatorDeps } from './operator-context.ts';

const columns = [
  'sequence',
  'at',
  'actorKind',
  'actor',
  'address',
  'action',
  'target',
  'tenant',
  'before',
  'after',
  'reason',
  'requestId',
];

/** Who did what to whom. */
export const auditRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, { audit }) => {
  app.get(
    '/api/audit',
    {
      schema: {
        summary: 'The audit log, newest first; all of it as CSV or JSON lines',
        querystring: AuditQuery,
        response: { 200: AuditPage, default: ErrorBody },
      },
    },
    async (request, reply) => {
      const { after, limit = 100, format, from, until, ...filter } = request.query;
      const bounded = { ...filter, from: momentIn(from, 'from'), until: momentIn(until, 'until') };
      if (format === 'csv') return sendTable(reply, 'audit.csv', columns, views(audit.all(bounded)));
      if (format === 'jsonl') return sendLines(reply, 'audit.jsonl', views(audit.all(bounded)));
      const found = audit.page(bounded, after, limit + 1);
      const items = found.slice(0, limit);
      const last = items.at(-1);
      return { items: items.map(view), next: found.length > limit && last ? String(last.sequence) : null };
    },
  );
};

function* views(entries: Iterable<AuditEntry>) {
  for (const entry of entries) yield view(entry);
}

function view({ at, before, after, ...entry }: AuditEntry) {
  return {
    ...entry,
    at: moment(at),
    before: before === null ? null : (JSON.parse(before) as unknown),
    after: after === null ? null : (JSON.parse(after) as unknown),
  };
}

function momentIn(text: string | undefined, param: string): number | undefined {
  if (text === undefined) return undefined;
  const at = Date.parse(text);
  if (Number.isNaN(at)) throw new ApiError('invalid_request', `"${param}" is no date and time.`, { param });
  return at;
}
