import { readFileSync } from 'node:fs';
import OpenAI from 'openai';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestAppliance } from './appliance.ts';

/* The official client, unmodified, against the whole appliance. */
let appliance: TestAppliance;
let openai: OpenAI;

beforeAll(async () => {
  // Not waited for: whoever asks while the engines are just starting is served all the same.
  appliance = await TestAppliance.start();
  openai = new OpenAI({ baseURL: `${appliance.tenantUrl}/v1`, apiKey: appliance.key, maxRetries: 0 });
});
afterAll(() => appliance.stop());

const hello = [{ role: 'user' as const, content: 'hello there' }];

describe('text', () => {
  test('models are listed, and said to be a demonstration’s', async () => {
    const { data } = await openai.models.list();
    expect(data.map(({ id }) => id)).toEqual(
      expect.arrayContaining(['demo-chat-8b', 'demo-sd15', 'demo-embed']),
    );
    expect((await openai.models.retrieve('demo-chat-3b')).id).toBe('demo-chat-3b');
  });

  test('a chat', async () => {
    const answer = await openai.chat.completions.create({ model: 'demo-chat-3b', messages: hello });
    expect(answer.choices[0]?.message.content).toContain('demo stand-in');
    expect(answer.usage?.completion_tokens).toBeGreaterThan(5);
  });

  test('a streamed chat, with usage only when asked for', async () => {
    const request = { model: 'demo-chat-3b', messages: hello, stream: true } as const;
    let text = '';
    for await (const chunk of await openai.chat.completions.create(request)) {
      expect(chunk.choices).toHaveLength(1);
      text += chunk.choices[0]?.delta.content ?? '';
    }
    expect(text).toContain('You wrote: hello there.');
    const asked = await openai.chat.completions.create({
      ...request,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of asked) chunks.push(chunk);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: expect.any(Number) } });
  });

  test('JSON by schema', async () => {
    const schema = {
      type: 'object',
      properties: {
        city: { type: 'string' },
        size: { type: 'integer', minimum: 3 },
        tags: { type: 'array', items: { enum: ['a', 'b'] } },
      },
      required: ['city', 'size', 'tags'],
    };
    const answer = await openai.chat.completions.create({
      model: 'demo-chat-3b',
      messages: hello,
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema } },
    });
    expect(JSON.parse(answer.choices[0]?.message.content ?? '')).toEqual({
      city: 'demo',
      size: 3,
      tags: ['a'],
    });
  });

  test('tools: called, and their result answered', async () => {
    const tools = [
      {
        type: 'function' as const,
        function: {
          name: 'weather',
          parameters: { type: 'object', properties: { city: { type: 'string' } } },
        },
      },
    ];
    const first = await openai.chat.completions.create({ model: 'demo-chat-3b', messages: hello, tools });
    const call = first.choices[0]?.message.tool_calls?.[0];
    expect(call).toMatchObject({
      type: 'function',
      function: { name: 'weather', arguments: '{"city":"demo"}' },
    });
    const messages = [
      ...hello,
      first.choices[0]!.message,
      { role: 'tool' as const, tool_call_id: call!.id, content: 'sunny' },
    ];
    const second = await openai.chat.completions.create({ model: 'demo-chat-3b', messages, tools });
    expect(second.choices[0]?.message.content).toContain('sunny');
  });

  test('pictures in a message reach the engine', async () => {
    const url = `data:image/png;base64,${Buffer.alloc(900).toString('base64')}`;
    const answer = await openai.chat.completions.create({
      model: 'demo-chat-3b',
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'what is this' },
            { type: 'image_url', image_url: { url } },
          ],
        },
      ],
    });
    expect(answer.choices[0]?.message.content).toContain(`${url.length}`);
  });

  test('a completion, and embeddings', async () => {
    const { choices } = await openai.completions.create({
      model: 'demo-chat-3b',
      prompt: 'once',
      max_tokens: 5,
    });
    expect(choices[0]).toMatchObject({ finish_reason: 'length' });
    const { data } = await openai.embeddings.create({ model: 'demo-embed', input: ['a', 'b', 'a'] });
    expect(data[0]?.embedding).toEqual(data[2]?.embedding);
    expect(data[0]?.embedding).not.toEqual(data[1]?.embedding);
  });
});

describe('images', () => {
  const decode = async (base64: string | undefined) =>
    sharp(Buffer.from(base64 ?? '', 'base64'))
      .raw()
      .toBuffer({ resolveWithObject: true });

  test('pictures differ by prompt and seed, and are the same for the same', async () => {
    const make = async (prompt: string, seed: number) => {
      const body = { model: 'demo-sd15', prompt, size: '256x256' as '512x512', steps: 4, seed };
      return (await openai.images.generate(body)).data?.[0]?.b64_json ?? '';
    };
    const [one, same, otherSeed, otherPrompt] = [
      await make('a', 1),
      await make('a', 1),
      await make('a', 2),
      await make('b', 1),
    ];
    expect(same).toBe(one);
    expect(new Set([one, otherSeed, otherPrompt]).size).toBe(3);
    expect((await decode(one)).info).toMatchObject({ width: 256, height: 256 });
  });

  test('several pictures, as links that open without a key', async () => {
    const { data } = await openai.images.generate({
      model: 'demo-sd15',
      prompt: 'x',
      n: 2,
      size: '256x256',
      response_format: 'url',
    });
    expect(data).toHaveLength(2);
    const response = await fetch(data?.[0]?.url ?? '');
    expect(response.headers.get('content-type')).toBe('image/png');
    expect(response.headers.get('content-disposition')).toContain('attachment');
  });

  test('an edit: inside the mask the picture is new, outside it is as it was', async () => {
    const [width, height] = [256, 256];
    const solid = (colour: string) => sharp({ create: { width, height, channels: 4, background: colour } });
    const image = await solid('#336699').png().toBuffer();
    // Transparent on the left half: that is where OpenAI's masks ask for something new.
    const right = await sharp({ create: { width: 128, height, channels: 4, background: '#000000ff' } })
      .png()
      .toBuffer();
    const mask = await sharp({ create: { width, height, channels: 4, background: '#00000000' } })
      .composite([{ input: right, left: 128, top: 0 }])
      .png()
      .toBuffer();
    const { data } = await openai.images.edit({
      model: 'demo-sd15',
      prompt: 'a lighthouse',
      image: new File([new Uint8Array(image)], 'image.png', { type: 'image/png' }),
      mask: new File([new Uint8Array(mask)], 'mask.png', { type: 'image/png' }),
      size: '256x256',
    });
    const { data: pixels, info } = await decode(data?.[0]?.b64_json);
    const at = (x: number, y: number): number[] => [
      ...pixels.subarray((y * width + x) * info.channels, (y * width + x) * info.channels + 3),
    ];
    expect(at(230, 20)).toEqual([0x33, 0x66, 0x99]);
    expect(at(20, 230)).not.toEqual([0x33, 0x66, 0x99]);
  });
});

describe('errors are the client’s own classes', () => {
  test('a wrong key, an unknown model, a wrong type, a model that is too big', async () => {
    const stranger = new OpenAI({ baseURL: `${appliance.tenantUrl}/v1`, apiKey: 'kh_wrong', maxRetries: 0 });
    await expect(stranger.models.list()).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
    await expect(openai.chat.completions.create({ model: 'gpt-4o', messages: hello })).rejects.toMatchObject({
      status: 404,
      code: 'model_not_found',
      param: 'model',
    });
    await expect(
      openai.chat.completions.create({
        model: 'demo-chat-3b',
        messages: hello,
        temperature: 'hot' as unknown as number,
      }),
    ).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    await expect(
      openai.chat.completions.create({ model: 'demo-chat-70b', messages: hello }),
    ).rejects.toMatchObject({
      status: 400,
      code: 'model_infeasible',
    });
  });

  test('an engine that breaks off in the middle of a stream is an error in the stream', async () => {
    appliance.faults('half_stream');
    const stream = await openai.chat.completions.create({
      model: 'demo-chat-3b',
      messages: hello,
      stream: true,
    });
    const read = async (): Promise<void> => {
      for await (const _ of stream) {
        // Read to its end.
      }
    };
    await expect(read()).rejects.toThrow(OpenAI.APIError);
    appliance.faults('');
  });
});

test('A2, D7: neither key nor prompt is in anything that was written', async () => {
  await openai.chat.completions.create({
    model: 'demo-chat-3b',
    messages: [{ role: 'user', content: 'canary-7531' }],
  });
  await appliance.stop();
  const { readdirSync } = await import('node:fs');
  const files = readdirSync(appliance.folder, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  expect(files.length).toBeGreaterThan(5);
  for (const file of files) {
    const text = readFileSync(`${file.parentPath}/${file.name}`, 'latin1');
    expect(text.includes(appliance.key), file.name).toBe(false);
    expect(text.includes('canary-7531'), file.name).toBe(false);
  }
});
