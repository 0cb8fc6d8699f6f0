import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { Backup } from '../../backup/backups.ts';
import { stage } from '../../backup/restore.ts';
import { BackupView } from '../../contract/console.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { ApiError } from '../../http/api-error.ts';
import { moment } from '../../http/envelope.ts';
import { type OperatorDeps, operatorOf } from './operator-context.ts';

const Params = Type.Object({ id: Type.String({ minLength: 1, maxLength: 40 }) });
/** Backups: what there is, one more, whether one is still good, and going back to one. */
export const backupRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, deps) => {
  const { backups, audit, dataFolder } = deps;

  app.get(
    '/api/backups',
    {
      schema: {
        summary: 'Backups, newest first',
        response: { 200: Type.Array(BackupView), default: ErrorBody },
      },
    },
    async () => backups.list().map(view),
  );

  app.post(
    '/api/backups',
    {
      schema: {
        summary: 'Make one now; answers when it is whole and was read back',
        response: { 201: BackupView, default: ErrorBody },
      },
    },
    async (request, reply) => {
      const made = await backups.make();
      audit.add(operatorOf(request), { action: 'backup.make', target: made.id });
      return reply.status(201).send(view(made));
    },
  );

  app.post(
    '/api/backups/:id/verify',
    {
      schema: {
        summary: 'Read one back: every file, every page, every credit',
        params: Params,
        response: {
          200: Type.Object({ ok: Type.Boolean(), faults: Type.Array(Type.String()) }),
          default: ErrorBody,
        },
      },
    },
    async (request) => {
      const faults = await backups.verify(own(request.params.id));
      return { ok: faults.length === 0, faults };
    },
  );

  app.post(
    '/api/backups/:id/restore',
    {
      schema: {
        summary: 'Go back to one at the next start; what there is now is kept beside it',
        params: Params,
        response: { 202: Type.Object({ id: Type.String(), message: Type.String() }), default: ErrorBody },
      },
    },
    async (request, reply) => {
      const backup = own(request.params.id);
      const faults = await backups.verify(backup);
      if (faults.length > 0) throw new ApiError('conflict', `It cannot be used: ${faults.join(' ')}`);
      await stage(backups.folderOf(backup), dataFolder);
      audit.add(operatorOf(request), { action: 'backup.restore', target: backup.id });
      const message = 'Restart the appliance: it goes back to this backup before it opens anything.';
      return reply.status(202).send({ id: backup.id, message });
    },
  );

  function own(id: string): Backup {
    const backup = backups.find(id);
    if (!backup) throw new ApiError('not_found', 'There is no such backup.');
    return backup;
  }
};

function view({ id, manifest }: Backup) {
  const { at, version, files, ledger, fileSet } = manifest;
  const bytes = Object.values(files).reduce((sum, file) => sum + file.bytes, 0);
  const { entries: ledgerEntries, balances: credits } = ledger;
  return { id, at: moment(at), version, bytes, ledgerEntries, credits, withFiles: fileSet !== null };
}
