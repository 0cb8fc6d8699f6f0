import { createReadStream, existsSync, statSync } from 'node:fs';
import { availableParallelism, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { settingStates } from '../../config/edit.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { archive, type ArchiveParts } from '../../http/archive.ts';
import type { OperatorDeps } from './operator-context.ts';
import { snapshot } from './snapshot.ts';

/** Everything that helps to find out what is wrong, in one file to send, with nothing in it that is a secret. */
export const diagnosticRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, deps) => {
  const { gpu, db, configuration, dataFolder, tunnel, backups, version, demo } = deps;

  app.get(
    '/api/diagnostics',
    {
      schema: {
        summary:
          'A ZIP archive to send: versions, settings without secrets, the state, engines’ and own logs',
        response: { 200: Type.Unknown({ description: 'The archive.' }), default: ErrorBody },
      },
    },
    async (_request, reply) =>
      reply
        .headers({
          'content-type': 'application/zip',
          'content-disposition': 'attachment; filename="kilnhouse-diagnostics.zip"',
          'cache-control': 'no-store',
        })
        .send(archive(fill)),
  );

  function fill(add: ArchiveParts): void {
    add.json('about.json', {
      version,
      demo,
      node: process.version,
      system: `${platform()} ${release()}`,
      cores: availableParallelism(),
      memoryBytes: totalmem(),
      uptimeSeconds: Math.round(process.uptime()),
      database: {
        schema: db.pragma('user_version', { simple: true }),
        sqlite: db.prepare('select sqlite_version()').pluck().get(),
        pages: db.pragma('page_count', { simple: true }),
      },
      tunnel: tunnel.status(),
      backups: backups.list().length,
    });
    const states = settingStates(configuration.file, configuration.config);
    add.json(
      'settings.json',
      states.map(({ schema: _, description: __, ...setting }) => setting),
    );
    add.json('state.json', snapshot(deps));
    for (const { id } of gpu.engines()) add.json(`engines/${id}.json`, gpu.logs(id));
    const log = join(dataFolder, 'logs', 'kilnhouse.log');
    if (existsSync(log)) {
      const { size } = statSync(log);
      const start = Math.max(0, size - limits.diagnosticLogBytes);
      add.file('kilnhouse.log', () => createReadStream(log, { start, end: size }));
    }
  }
};
