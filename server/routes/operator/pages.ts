import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import staticFiles from '@fastify/static';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';

/**
 * What the page may do: its own scripts and pictures, and calls to where it came from. Mantine and charts set styles
 * from scripts; nothing a tenant wrote is ever put in as markup.
 */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data: blob:",
  "font-src 'self'",
  "connect-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const headers = {
  'content-security-policy': policy,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
};

/** The console's page and its files, as they were built: there is nothing secret in them. */
export const pageRoutes: FastifyPluginAsyncTypebox<{ pagesFolder: string }> = async (
  app,
  { pagesFolder },
) => {
  const config = { open: true };
  const response = { 200: Type.Unknown({ description: 'A file of the page.' }) };
  if (!existsSync(join(pagesFolder, 'index.html'))) {
    app.get('/', { config, schema: { hide: true, response } }, async (_request, reply) =>
      reply.type('text/plain; charset=utf-8').send('The console is not built yet: npm start builds it.\n'),
    );
    return;
  }
  await app.register(staticFiles, { root: pagesFolder, serve: false });
  const send = (reply: FastifyReply, path: string, cacheControl: string): FastifyReply =>
    reply
      .headers({ ...headers, 'cache-control': cacheControl })
      .sendFile(path, pagesFolder, { cacheControl: false });
  app.get('/', { config, schema: { hide: true, response } }, async (_request, reply) =>
    send(reply, 'index.html', 'no-cache'),
  );
  for (const name of readdirSync(join(pagesFolder, 'assets'))) {
    // Their names change with what is in them.
    app.get(`/assets/${name}`, { config, schema: { hide: true, response } }, async (_request, reply) =>
      send(reply, `assets/${name}`, 'public, max-age=31536000, immutable'),
    );
  }
};
