import { createServer } from 'node:http';

/*
 * An LM Studio that costs nothing: answers at once, or streams fifty tokens a second with the time of sending in each.
 * Prints its port. The argument says how many requests it takes at once.
 */
const model = 'bench-model';
const parallel = Number(process.argv[2] ?? 256);
const answer = JSON.stringify({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model,
  choices: [{ index: 0, message: { role: 'assistant', content: 'Hello.' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 },
});
const listed = JSON.stringify({
  models: [
    {
      type: 'llm',
      key: model,
      size_bytes: 1024 ** 3,
      loaded_instances: [{ id: model, config: { context_length: 4096, parallel } }],
      max_context_length: 4096,
    },
  ],
});
const everyMs = 20;

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const path = request.url ?? '';
    if (path === '/lmstudio-greeting') return response.end('{"lmstudio":true}');
    if (path.startsWith('/api/v1/models')) return response.end(listed);
    const body = JSON.parse(Buffer.concat(chunks).toString() || '{}') as {
      stream?: boolean;
      max_tokens?: number;
    };
    if (!body.stream) return response.writeHead(200, { 'content-type': 'application/json' }).end(answer);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    let left = body.max_tokens ?? 100;
    const send = (): void => {
      const content = (performance.timeOrigin + performance.now()).toFixed(3);
      const choices = [{ index: 0, delta: { content }, finish_reason: null }];
      response.write(
        `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model, choices })}\n\n`,
      );
      left -= 1;
      if (left === 0) {
        clearInterval(timer);
        response.end('data: [DONE]\n\n');
      }
    };
    const timer = setInterval(send, everyMs);
    send();
    response.on('close', () => clearInterval(timer));
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object' && address) console.log(`port ${address.port}`);
});
