import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';

/* Pictures as strangers send them: good, lying, hostile. */

/** A picture of one colour with noise in it, as a file of a format. */
export async function picture(
  format: 'png' | 'jpeg' | 'webp' | 'gif' | 'tiff' = 'png',
  { width = 96, height = 64, colour = '#c08040' } = {},
): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background: colour } })
    .toFormat(format)
    .toBuffer();
}

/** A JPEG that says where it was made, and that it lies on its side. */
export async function tellingJpeg(): Promise<Buffer> {
  return sharp({ create: { width: 96, height: 64, channels: 3, background: '#336699' } })
    .withExif({
      IFD0: { Artist: 'canary-of-the-artist', Orientation: '6' },
      IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '51/1 30/1 0/1' },
    })
    .withMetadata({ orientation: 6 })
    .jpeg()
    .toBuffer();
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const framed = Buffer.alloc(body.length + 8);
  framed.writeUInt32BE(data.length);
  body.copy(framed, 4);
  framed.writeUInt32BE(crc32(body), framed.length - 4);
  return framed;
}

/** A PNG of a few kilobytes that claims to be of any size, with as much of it as asked for. */
export function bomb(width: number, height: number, rows = 0): Buffer {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width);
  head.writeUInt32BE(height, 4);
  head[8] = 1;
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const data = deflateSync(Buffer.alloc(rows * (Math.ceil(width / 8) + 1)), { level: 9 });
  return Buffer.concat([signature, chunk('IHDR', head), chunk('IDAT', data), chunk('IEND', Buffer.alloc(0))]);
}

/** A picture of two frames. */
export async function animation(): Promise<Buffer> {
  const frames = await Promise.all(['#ff0000', '#00ff00'].map((colour) => picture('png', { colour })));
  return sharp(frames, { join: { animated: true } })
    .webp({ loop: 0, delay: [100, 100] })
    .toBuffer();
}

/** Names that try to be somewhere else, or something else. */
export function trickyNames(): string[] {
  const up = [
    '../',
    '..\\',
    '....//',
    '..%2f',
    '%2e%2e/',
    '..%5c',
    '..%c0%af',
    '%252e%252e%252f',
    '.\u2215',
    '..\u2044',
    '\u2025/',
  ];
  const targets = [
    'etc/passwd',
    'operator-token',
    'kilnhouse.db',
    'windows/win.ini',
    'config.json',
    '.ssh/id_rsa',
  ];
  const deep = up.flatMap((step) =>
    [1, 2, 6].flatMap((times) => targets.map((target) => step.repeat(times) + target)),
  );
  const absolute = [
    '/',
    '\\',
    'C:\\',
    'C:/',
    '\\\\host\\share\\',
    '//host/share/',
    'file:///',
    '\\\\?\\C:\\',
    '~/',
  ];
  const rooted = absolute.flatMap((root) => targets.map((target) => root + target));
  const devices = ['CON', 'PRN', 'AUX', 'NUL', 'COM1', 'LPT1'].flatMap((name) => [
    name,
    `${name}.png`,
    `${name.toLowerCase()}.png:stream`,
  ]);
  const odd = [
    '',
    '.',
    '..',
    '...',
    ' ',
    '.htaccess',
    '-rf',
    '--help',
    '$(id).png',
    '`id`.png',
    ';id;.png',
    '|id.png',
    '&id.png',
    'a\0b.png',
    'a.png\0.html',
    '\0',
    'a\nb.png',
    'a\r\nX-Evil: 1\r\n.png',
    '\u202egnp.exe',
    'a'.repeat(5_000),
    '"><script>alert(1)</script>.png',
    "'; drop table jobs; --.png",
    '{{7*7}}.png',
    '%n%s%x.png',
    '\ufeffa.png',
    'a.png/',
    'a.png.',
    'a.png ',
    '.png',
    'é.png',
    'e\u0301.png',
    '日本語.png',
    '🔥.png',
    '__proto__',
    'constructor',
  ];
  const wrapped = deep
    .slice(0, 60)
    .flatMap((name) => [`${name}\0.png`, `picture.png/${name}`, `./${name}`, `${name};.png`]);
  return [...new Set([...deep, ...rooted, ...devices, ...odd, ...wrapped])];
}
