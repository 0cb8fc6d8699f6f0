import { connect } from 'node:net';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, type Person, TestAppliance } from './appliance.ts';
import { picture } from './picture-files.ts';

/* Requests that nobody means well with, against the whole appliance in a small heap: they cost others nothing. */
const mib = 1024 ** 2;
let appliance: TestAppliance;
let ann: Person;

beforeAll(async () => {
  appliance = await TestAppliance.start({
    env: { NODE_OPTIONS: '--max-old-space-size=192' },
    config: { accounts: { callsPerAddress: 10_000 } },
  });
  await appliance.ready();
  ann = await appliance.register('ann@example.test', { plan: 'pro' });
});
afterAll(() => appliance.stop());

/** Asks for the health of the appliance again and again until the work is done; how often it answered. */
async function healthyWhile(work: Promise<unknown>): Promise<number> {
  let isDone = false;
  let answered = 0;
  const done = work.finally(() => (isDone = true));
  while (!isDone) {
    expect((await fetch(`${appliance.tenantUrl}/health`)).status).toBe(200);
    answered += 1;
  }
  await done;
  return answered;
}

/** Sends bytes as they are and returns what comes back until the other side closes. */
async function raw(url: string, bytes: string | Buffer): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  socket.write(bytes);
  let text = '';
  for await (const piece of socket) text += String(piece);
  return text;
}

/** Status and error of a raw answer. */
function read(answer: string): { status: number; headers: string; error: Record<string, unknown> } {
  const [headers = '', body = ''] = answer.split('\r\n\r\n');
  const parsed = JSON.parse(body.slice(body.indexOf('{'), body.lastIndexOf('}') + 1));
  return { status: Number(headers.split(' ')[1]), headers, error: parsed.error ?? parsed.errors[0] };
}

describe('J7: bodies and trees', () => {
  const trees = {
    'empty objects': `[${'{},'.repeat(10 * mib)}{}]`,
    'keys of one object': `{${Array.from({ length: 2_500_000 }, (_, i) => `"${i}":0`).join()}}`,
  };

  test.each(Object.entries(trees))(
    'a dozen chats of %s are refused, and others are served',
    async (_, tree) => {
      const body = `{"model":"demo-chat-8b","messages":[{"role":"user","content":${tree}}]}`;
      const dozen = Array.from({ length: 12 }, () =>
        appliance.call('POST', '/v1/chat/completions', { as: ann.key, body }),
      );
      let answers: Answer[] = [];
      const answered = await healthyWhile(Promise.all(dozen).then((all) => (answers = all)));
      expect(answered).toBeGreaterThan(0);
      for (const { status, message } of answers) {
        expect([400, 429]).toContain(status);
        expect(message).toMatch(status === 400 ? /more than 50000 values/ : /limit: body bytes/);
      }
      expect(appliance.process.exitCode).toBeNull();
    },
  );

  test('a text that cannot fit the context never reaches the engine', async () => {
    const messages = [{ role: 'user', content: 'word '.repeat(5 * mib) }];
    const chat = { model: 'demo-chat-8b', messages };
    for (const [path, body] of [
      ['/v1/chat/completions', chat],
      ['/api/v1/inference', chat],
      ['/api/v1/jobs/batch', { items: [{ feature: 'inference', input: chat }] }],
    ] as const) {
      const { status, message } = await appliance.call('POST', path, { as: ann.key, body });
      expect([path, status, message]).toEqual([
        path,
        400,
        expect.stringMatching(/cannot fit the context of demo-chat-8b/),
      ]);
    }
    const { data } = await appliance.call('GET', '/api/v1/history', { as: ann.token });
    expect(data.items).toEqual([]);
  });

  test('F31: who has no key may send a form of a few texts, and nothing else', async () => {
    const tree = `{"password":"x","email":[${'{},'.repeat(10 * mib)}{}]}`;
    const small = `{"password":"x","email":[${'{},'.repeat(5_000)}{}]}`;
    const paths = ['login', 'register', 'refresh', 'forgot-password', 'reset-password', 'verify-email'];
    const answers = await Promise.all(
      paths.map((path) => appliance.call('POST', `/api/v1/auth/${path}`, { body: tree })),
    );
    for (const { status, code } of answers) expect([status, code]).toEqual([413, 'payload_too_large']);
    expect((await appliance.call('POST', '/api/v1/auth/login', { body: small })).status).toBe(400);
    // Nor is a body read that leads nowhere.
    const nowhere = await appliance.call('POST', '/no/such/route', { body: tree });
    expect([nowhere.status, nowhere.code]).toEqual([404, 'not_found']);
  });

  test('bodies of unknown length are counted as they come', async () => {
    const chunk = `4000\r\n${' '.repeat(0x4000)}\r\n`;
    const answer = await raw(
      appliance.tenantUrl,
      `POST /api/v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n${chunk.repeat(20)}`,
    );
    expect(read(answer)).toMatchObject({ status: 413, error: { code: 'payload_too_large' } });
  });

  test('what one tenant has in flight is bounded, and comes back when its answers are out', async () => {
    const { hostname, port } = new URL(appliance.tenantUrl);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${ann.key}\r\ncontent-type: application/json\r\ncontent-length: ${20 * mib}\r\nexpect: 100-continue\r\n\r\n`,
    );
    // From then on its body is waited for.
    await once(socket, 'data');
    const chat = { model: 'demo-chat-8b', messages: [{ role: 'user', content: 'hello' }] };
    const large = { ...chat, metadata: { image_url: 'x'.repeat(20 * mib) } };
    const refused = await appliance.call('POST', '/v1/chat/completions', { as: ann.key, body: large });
    expect([refused.status, refused.code]).toEqual([429, 'concurrency_exceeded']);
    expect(refused.message).toMatch(/limit: body bytes/);
    expect(refused.headers.get('retry-after')).toBe('2');
    // A small one of the same tenant and a large one of another are let in meanwhile.
    const small = await appliance.call('POST', '/v1/chat/completions', { as: ann.key, body: chat });
    expect(small.status).toBe(200);
    expect((await appliance.post('/v1/chat/completions', large)).status).toBe(200);
    socket.destroy();
    await appliance.until(async () => {
      const { status } = await appliance.call('POST', '/v1/chat/completions', { as: ann.key, body: large });
      return status === 200;
    });
  });

  test('F31: bodies that trickle are cut with a sentence', async () => {
    const { hostname, port } = new URL(appliance.tenantUrl);
    const cut = Array.from({ length: 20 }, async () => {
      const socket = connect(Number(port), hostname);
      socket.on('error', () => undefined);
      socket.write(
        `POST /api/v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10000\r\n\r\n`,
      );
      const trickle = setInterval(() => socket.write(' '), 500);
      let answer = '';
      socket.on('data', (piece) => (answer += String(piece)));
      await once(socket, 'close');
      clearInterval(trickle);
      return answer;
    });
    for (const answer of await Promise.all(cut)) {
      const { status, error } = read(answer);
      expect([status, error['code']]).toEqual([408, 'request_timeout']);
      expect(error['message']).toMatch(/too slowly/);
    }
  }, 60_000);
});

describe('S6: forms that cannot be read', () => {
  const boundary = 'X-BOUNDARY';
  const part = (name: string, bytes: Buffer): Buffer =>
    Buffer.concat([
      Buffer.from(
        `--${boundary}\r\ncontent-disposition: form-data; name="${name}"; filename="a.png"\r\ncontent-type: image/png\r\n\r\n`,
      ),
      bytes,
      Buffer.from('\r\n'),
    ]);
  const closing = Buffer.from(`--${boundary}--\r\n`);
  const said = `multipart/form-data; boundary=${boundary}`;

  test.each([
    ['/api/v1/upload', 'file'],
    ['/api/v1/upload/batch', 'file'],
    ['/v1/images/edits', 'image'],
  ])('%s', async (path, name) => {
    const png = await picture();
    // Each with a minute of uploads of its own.
    const { key } = await appliance.register(`${name}-${path.length}@example.test`, { plan: 'pro' });
    const whole = Buffer.concat([part(name, png), closing]);
    const cases: [string, string, Buffer][] = [
      ['the end cut off', said, whole.subarray(0, whole.length - 200)],
      ['no closing boundary', said, part(name, png)],
      ['another boundary than said', 'multipart/form-data; boundary=other', whole],
      ['no boundary', 'multipart/form-data', whole],
      ['a boundary of 5,000 characters', `multipart/form-data; boundary=${'b'.repeat(5_000)}`, whole],
      ['an empty body', said, Buffer.alloc(0)],
      ['line ends alone', said, Buffer.from('\r\n\r\n')],
      [
        'a part header without end',
        said,
        Buffer.from(`--${boundary}\r\ncontent-disposition: form-data; name="${name}"`),
      ],
      ['a boundary alone', said, Buffer.from(`--${boundary}`)],
      ['no name', said, Buffer.from(`--${boundary}\r\n\r\nx\r\n--${boundary}--\r\n`)],
    ];
    for (const [what, type, body] of cases) {
      const answer = await raw(
        appliance.tenantUrl,
        Buffer.concat([
          Buffer.from(
            `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\ncontent-type: ${type}\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`,
          ),
          body,
        ]),
      );
      const { status, error } = read(answer);
      expect([what, status, error['code']]).toEqual([what, 400, 'invalid_request']);
    }
    expect(appliance.output).not.toMatch(/internal_error/);
  });
});

describe('S9, S16: what is no request of ours', () => {
  const cases: [string, string, number][] = [
    ['a bad escape', 'GET /v1/models/%ff HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n\r\n', 400],
    ['half an escape', 'GET /v1/models/%2 HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n\r\n', 400],
    [
      'a long parameter',
      `GET /v1/models/${'a'.repeat(5_000)} HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n\r\n`,
      400,
    ],
    ['no HTTP', 'hello\r\n\r\n', 400],
    ['a method that is none', 'FETCH / HTTP/1.1\r\nhost: HOST\r\n\r\n', 400],
    [
      'a method that nobody uses',
      'PROPFIND /health HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n\r\n',
      405,
    ],
    ['CONNECT', 'CONNECT example.test:443 HTTP/1.1\r\nhost: HOST\r\n\r\n', 405],
    ['an unknown path', 'GET /nothing HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n\r\n', 404],
    ['long headers', `GET /health HTTP/1.1\r\nhost: HOST\r\nx-long: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
    ['two hosts', 'GET /health HTTP/1.1\r\nhost: HOST\r\nHost: b\r\nconnection: close\r\n\r\n', 400],
    ['no host', 'GET /health HTTP/1.1\r\nconnection: close\r\n\r\n', 400],
    ['HTTP/2.0', 'GET /health HTTP/2.0\r\nhost: HOST\r\nconnection: close\r\n\r\n', 400],
    ['HTTP/0.9', 'GET /health\r\n\r\n', 400],
    ['two lengths', 'POST / HTTP/1.1\r\nhost: HOST\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n', 400],
    [
      'a length and chunks',
      'POST / HTTP/1.1\r\nhost: HOST\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
  ];

  test.each(cases)('tenant side: %s', async (_, bytes, expected) => {
    const { host } = new URL(appliance.tenantUrl);
    const { status, headers, error } = read(await raw(appliance.tenantUrl, bytes.replace('HOST', host)));
    expect(status).toBe(expected);
    expect(headers).toMatch(/x-request-id: [\w-]{36}/i);
    expect(headers).toMatch(/x-content-type-options: nosniff/i);
    expect(error).toMatchObject({
      message: expect.any(String),
      type: expect.any(String),
      code: expect.any(String),
    });
    expect(String(error['message']).length).toBeLessThan(300);
  });

  test.each(cases)('operator side: %s', async (_, bytes, expected) => {
    const { host } = new URL(appliance.operatorUrl);
    const { status, headers, error } = read(await raw(appliance.operatorUrl, bytes.replace('HOST', host)));
    // Where a path could be read, Host and token come first.
    expect([expected, 401]).toContain(status);
    if (/path|There is no|not allowed here/.test(String(error['message']))) expect(status).toBe(401);
    expect(headers).toMatch(/x-request-id: [\w-]{36}/i);
  });

  test('D8: on the operator side a bad path is answered after Host and token were looked at', async () => {
    const path = 'GET /api/%ff HTTP/1.1\r\n';
    const stranger = await raw(appliance.operatorUrl, `${path}host: evil.test\r\nconnection: close\r\n\r\n`);
    expect(read(stranger)).toMatchObject({ status: 421 });
    const { host } = new URL(appliance.operatorUrl);
    const known = await raw(
      appliance.operatorUrl,
      `${path}host: ${host}\r\nauthorization: Bearer ${appliance.token}\r\nconnection: close\r\n\r\n`,
    );
    expect(read(known)).toMatchObject({ status: 400, error: { code: 'invalid_request' } });
  });

  test('21: a compressed body is 415, and told what is taken', async () => {
    const { status, headers, code } = await appliance.call('POST', '/v1/chat/completions', {
      as: ann.key,
      body: 'not even compressed',
      headers: { 'content-encoding': 'gzip' },
    });
    expect([status, code, headers.get('accept-encoding')]).toEqual([
      415,
      'unsupported_media_type',
      'identity',
    ]);
  });

  test('an expectation that nobody knows is no reason to refuse', async () => {
    const answer = await raw(
      appliance.tenantUrl,
      'GET /health HTTP/1.1\r\nhost: x\r\nexpect: tea\r\nconnection: close\r\n\r\n',
    );
    expect(answer).toMatch(/^HTTP\/1.1 200/);
  });
});
