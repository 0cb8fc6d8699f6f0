import { expect, test, vi } from 'vitest';
import { Moderation } from './moderation.ts';

const classify = vi.fn(() => Promise.resolve({ Neutral: 0, Drawing: 0, Sexy: 0, Porn: 1, Hentai: 0 }));
const moderation = new Moderation({ classify }, 0.5);
const strict = { id: 't', allowNSFW: false };
const bytes = new Uint8Array([1]);

test.each(['video/mp4', 'model/gltf-binary', 'audio/mpeg', 'image/svg+xml', 'application/octet-stream', ''])(
  'review 16: a result that nobody looks at is kept from tenants without allowNSFW: %s',
  async (contentType) => {
    await expect(moderation.allowsResult(strict, contentType, bytes)).rejects.toMatchObject({
      code: 'content_policy_violation',
    });
    expect(await moderation.allowsResult({ ...strict, allowNSFW: true }, contentType, bytes)).toBe(true);
    expect(classify).not.toHaveBeenCalled();
  },
);

test.each(['image/png', 'image/jpeg', 'IMAGE/WEBP; q=1'])(
  'pictures are looked at: %s',
  async (contentType) => {
    expect(await moderation.allowsResult(strict, contentType, bytes)).toBe(false);
    expect(classify).toHaveBeenCalledWith(bytes, 't');
    classify.mockClear();
  },
);

test.each(['application/json', 'text/plain; charset=utf-8'])('texts are: %s', async (contentType) => {
  expect(await moderation.allowsResult(strict, contentType, bytes)).toBe(true);
});
