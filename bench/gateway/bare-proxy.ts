import Fastify from 'fastify';
import { Pool } from 'undici';

/* The least a proxy can be: Fastify and undici, no key, no limits, no accounting. Prints its port. */
const upstream = new Pool(`http://127.0.0.1:${process.argv[2]}`, { connections: 256 });
const app = Fastify();
app.post('/v1/chat/completions', async (request, reply) => {
  const response = await upstream.request({
    path: '/v1/chat/completions',
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(request.body),
  });
  reply.header('content-type', response.headers['content-type']);
  return reply.send(response.body);
});
await app.listen({ port: 0, host: '127.0.0.1' });
const address = app.server.address();
if (typeof address === 'object' && address) console.log(`port ${address.port}`);
