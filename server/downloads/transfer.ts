import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { Agent, type Dispatcher, request } from 'undici';
import { limits } from '../contract/limits.ts';
import { guardedLookup } from '../webhooks/public-address.ts';
import { type Hop, nextHop } from './address.ts';
import type { PartFile, PartRecord } from './part-file.ts';

/** The server answered something else than the file. The message says what. */
export class WrongAnswer extends Error {
  override readonly name = 'WrongAnswer';
}

export interface Transfer {
  readonly from: Hop;
  readonly part: PartFile;
  readonly sha256: string | null;
  readonly signal: AbortSignal;
  /** Throws when the disk has no room for all that is to come. */
  readonly demandRoom: (bytes: number) => void;
  /** Throws when the disk has no room for the next piece. */
  readonly takeRoom: (bytes: number) => void;
  /** Bytes that are there, and in all where the server says it. */
  readonly progress: (bytes: number, totalBytes: number | null) => void;
}

const timeouts = { headersTimeout: limits.download.stallMs, bodyTimeout: limits.download.stallMs } as const;
const redirects = new Set([301, 302, 303, 307, 308]);

/**
 * Fetches a file into its part, and goes on where an earlier try broke off: only where the address is the same, and only
 * where the server says (`If-Range`, RFC 9110, 13.1.5) and shows (`Content-Range`, the same ETag) that the file is. It
 * begins anew otherwise. Bodies are taken as they are: nothing is decompressed.
 */
export async function transfer(wanted: Transfer): Promise<void> {
  const agents = {
    open: new Agent(timeouts),
    public: new Agent({ ...timeouts, connect: { lookup: guardedLookup([]) } }),
  };
  try {
    const kept = await wanted.part.read();
    const condition = kept && kept.record.url === plain(wanted.from.url) ? conditionOf(kept.record) : null;
    if (kept && condition !== null) {
      const headers = { range: `bytes=${kept.bytes}-`, 'if-range': condition };
      const answer = await get(agents, wanted, headers);
      const rest = restOf(answer, kept);
      if (rest === 'whole') return await discard(answer);
      if (rest === 'follows') return await save(answer, wanted, kept.bytes, kept.record.totalBytes);
      if (answer.statusCode === 200) return await saveAnew(answer, wanted);
      // The part is not of this file, or nobody can tell.
      await discard(answer);
    }
    await saveAnew(await get(agents, wanted, {}), wanted);
  } finally {
    await Promise.all([agents.open.destroy(), agents.public.destroy()]);
  }
}

/** Follows redirects as far as they may be followed. */
async function get(
  agents: { readonly open: Agent; readonly public: Agent },
  { from, signal }: Transfer,
  headers: Record<string, string>,
): Promise<Dispatcher.ResponseData> {
  let hop = from;
  for (let followed = 0; followed <= limits.download.redirects; followed += 1) {
    const answer = await request(hop.url, {
      dispatcher: hop.publicOnly ? agents.public : agents.open,
      signal,
      headers: { ...headers, 'accept-encoding': 'identity', 'user-agent': 'Kilnhouse' },
    });
    // Whoever gives an answer up destroys its body, which is an error that nobody has to hear.
    answer.body.on('error', () => undefined);
    const { location } = answer.headers;
    if (!redirects.has(answer.statusCode) || typeof location !== 'string') return answer;
    await discard(answer);
    hop = nextHop(from.url, hop.url, location);
  }
  throw new WrongAnswer(`The server redirects more than ${limits.download.redirects} times.`);
}

/** What an answer to a request for the rest is: the rest, a sign that the part is whole already, or neither. */
function restOf(
  { statusCode, headers }: Dispatcher.ResponseData,
  { record, bytes }: { record: PartRecord; bytes: number },
): 'follows' | 'whole' | null {
  const said = validatorsOf(headers);
  const isSame = (['etag', 'lastModified'] as const).every(
    (name) => said[name] === null || record[name] === null || said[name] === record[name],
  );
  const range = /^bytes (?:(\d+)-\d+|\*)\/(\d+|\*)$/.exec(String(headers['content-range'] ?? ''));
  if (!isSame || !range || isCompressed(headers)) return null;
  const [, first, total] = range;
  const isLength = total === '*' || record.totalBytes === null || Number(total) === record.totalBytes;
  if (statusCode === 206 && Number(first) === bytes && isLength) return 'follows';
  return statusCode === 416 && Number(total) === bytes && isLength ? 'whole' : null;
}

async function saveAnew(answer: Dispatcher.ResponseData, wanted: Transfer): Promise<void> {
  const { url } = wanted.from;
  try {
    demandFile(answer);
    demandPlain(answer);
    const totalBytes = lengthOf(answer);
    await wanted.part.begin({
      url: plain(url),
      hasQuery: url.search !== '',
      ...validatorsOf(answer.headers),
      totalBytes,
      sha256: wanted.sha256,
    });
    await save(answer, wanted, 0, totalBytes);
  } catch (error) {
    answer.body.destroy();
    throw error;
  }
}

async function save(
  answer: Dispatcher.ResponseData,
  { part, demandRoom, takeRoom, progress, signal }: Transfer,
  before: number,
  totalBytes: number | null,
): Promise<void> {
  demandRoom(totalBytes === null ? 0 : totalBytes - before);
  let bytes = before;
  progress(bytes, totalBytes);
  const count = async function* (pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      takeRoom(piece.length);
      bytes += piece.length;
      if (bytes > (totalBytes ?? limits.download.bytes))
        throw new WrongAnswer(
          `The server sends more than the ${totalBytes ?? limits.download.bytes} bytes that were expected.`,
        );
      progress(bytes, totalBytes);
      yield piece;
    }
  };
  await pipeline(
    answer.body,
    count,
    createWriteStream(part.path, { flags: before > 0 ? 'a' : 'w', flush: true }),
    { signal },
  );
  if (totalBytes !== null && bytes < totalBytes)
    throw new WrongAnswer(`Only ${bytes} of ${totalBytes} bytes came.`);
}

/** Throws for what is not a file. */
function demandFile({ statusCode, headers }: Dispatcher.ResponseData): void {
  if (statusCode === 401 || statusCode === 403)
    throw new WrongAnswer(
      `The server refuses (${statusCode}). The file may need an account, or terms that have to be accepted first.`,
    );
  if (statusCode === 404 || statusCode === 410)
    throw new WrongAnswer(`The server does not have this file (${statusCode}). Check the address.`);
  if (statusCode !== 200) throw new WrongAnswer(`The server answered ${statusCode}. Try again later.`);
  if (/^text\/html\b/i.test(String(headers['content-type'] ?? '')))
    throw new WrongAnswer('That is a web page, not a file. Give the address of the file itself.');
}

/** Compressed, 64 KiB can stand for gigabytes, and what a checksum and a length are of would not be clear. */
function demandPlain({ headers }: Dispatcher.ResponseData): void {
  if (isCompressed(headers))
    throw new WrongAnswer(
      `The server sends the file compressed (${String(headers['content-encoding'])}), although it was asked not to.`,
    );
}

function isCompressed(headers: Dispatcher.ResponseData['headers']): boolean {
  return String(headers['content-encoding'] ?? 'identity').toLowerCase() !== 'identity';
}

function lengthOf({ headers }: Dispatcher.ResponseData): number | null {
  const length = Number(headers['content-length'] ?? Number.NaN);
  return Number.isSafeInteger(length) ? length : null;
}

function validatorsOf(
  headers: Dispatcher.ResponseData['headers'],
): Pick<PartRecord, 'etag' | 'lastModified'> {
  const { etag, 'last-modified': lastModified } = headers;
  return {
    etag: typeof etag === 'string' && etag.startsWith('"') ? etag : null,
    lastModified: typeof lastModified === 'string' ? lastModified : null,
  };
}

/** What goes into If-Range; null where nothing says whether the file is the same. */
function conditionOf({ etag, lastModified }: PartRecord): string | null {
  return etag ?? lastModified;
}

/** An address without what may be secret. */
export function plain({ origin, pathname }: URL): string {
  return origin + pathname;
}

async function discard({ body }: Dispatcher.ResponseData): Promise<void> {
  await body.dump({ limit: limits.download.discardBytes }).catch(() => undefined);
}
