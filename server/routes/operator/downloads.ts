import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { DownloadView } from '../../contract/console.ts';
import { ErrorBody } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { Done, Id } from '../../contract/operator.ts';
import { ApiError } from '../../http/api-error.ts';
import { type OperatorDeps, operatorOf } from './operator-context.ts';

const Body = Type.Object(
  {
    kind: Type.Union([Type.Literal('gguf'), Type.Literal('checkpoint')]),
    url: Type.String({ minLength: 1, maxLength: limits.download.urlCharacters }),
    name: Type.Optional(
      Type.String({ maxLength: 200, description: 'The file’s name; the address’s own otherwise.' }),
    ),
    sha256: Type.Optional(
      Type.String({ pattern: '^[0-9a-fA-F]{64}$', 'x-form': 'a SHA-256: 64 hexadecimal digits' }),
    ),
  },
  { additionalProperties: false },
);

/** Model files, fetched from the internet. */
export const downloadRoutes: FastifyPluginAsyncTypebox<OperatorDeps> = async (app, { downloads, audit }) => {
  app.get(
    '/api/downloads',
    {
      schema: {
        summary: 'Downloads, newest first',
        response: { 200: Type.Array(DownloadView), default: ErrorBody },
      },
    },
    async () => downloads.list().map((one) => ({ ...one })),
  );

  app.post(
    '/api/downloads',
    {
      schema: {
        summary: 'Fetch a model file; it is there once it is whole and its checksum is right',
        body: Body,
        response: { 202: DownloadView, default: ErrorBody },
      },
    },
    async (request, reply) => {
      const started = downloads.start(request.body);
      const { name, url } = started;
      audit.add(operatorOf(request), { action: 'model.download', target: name, after: { url } });
      return reply.status(202).send({ ...started });
    },
  );

  app.post(
    '/api/downloads/:id/cancel',
    {
      schema: {
        summary: 'Give a download up; what came of it is deleted',
        params: Id,
        response: { 200: Done, default: ErrorBody },
      },
    },
    async (request) => {
      if (downloads.cancel(request.params.id)) return { done: true, message: 'Given up.' };
      throw new ApiError('conflict', 'No such download is under way.');
    },
  );

  app.post(
    '/api/downloads/:id/retry',
    {
      schema: {
        summary: 'Try a download again; it goes on where it was',
        params: Id,
        response: { 202: DownloadView, default: ErrorBody },
      },
    },
    async (request, reply) => {
      const { name, url, ...rest } = downloads.retry(request.params.id);
      audit.add(operatorOf(request), { action: 'model.download', target: name, after: { url } });
      return reply.status(202).send({ name, url, ...rest });
    },
  );

  app.delete(
    '/api/downloads/:id',
    {
      schema: {
        summary: 'Take a download that has ended off the list, and delete what is not whole',
        params: Id,
        response: { 200: Done, default: ErrorBody },
      },
    },
    async (request) => {
      await downloads.remove(request.params.id);
      return { done: true, message: 'Removed.' };
    },
  );
};
