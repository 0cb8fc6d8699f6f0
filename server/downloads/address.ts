import { ApiError } from '../http/api-error.ts';
import { demandCallable } from '../webhooks/public-address.ts';

const here = new Set(['127.0.0.1', 'localhost', '[::1]']);

/** Where a request goes, and whether its name may resolve to public addresses only. */
export interface Hop {
  readonly url: URL;
  readonly publicOnly: boolean;
}

/** A redirect that is not followed. The message says why. */
export class RedirectRefused extends Error {
  override readonly name = 'RedirectRefused';
}

/**
 * The address that the operator gave. It may be any https:// address, also one on the LAN: the operator chose it. Plain
 * HTTP is for this machine only. Throws an ApiError for the parameter `url`.
 */
export function firstHop(text: string): Hop {
  const url = URL.parse(text);
  const isAllowed = url !== null && (url.protocol === 'https:' || isPlainHere(url));
  if (!isAllowed || url.username !== '' || url.password !== '') {
    const message = 'Give the https:// address of the file itself, without a user name or password in it.';
    throw new ApiError('invalid_request', message, { param: 'url' });
  }
  return { url, publicOnly: false };
}

/**
 * Where a redirect leads. HTTPS stays HTTPS. Another host must be on the internet: the server that redirects did not get
 * the operator's word for addresses of the LAN or of this machine. Throws RedirectRefused.
 */
export function nextHop(first: URL, from: URL, location: string): Hop {
  const url = URL.parse(location, from.href);
  const refused = (why: string): RedirectRefused =>
    new RedirectRefused(
      `"${from.host}" redirects to ${url ? `"${url.origin}"` : 'no valid address'}, ${why} If you trust that address, give it yourself.`,
    );
  if (!url) throw refused('so there is nothing to download.');
  if (url.username !== '' || url.password !== '') throw refused('with a user name or password in it.');
  if (isPlainHere(from) && isPlainHere(url)) return { url, publicOnly: false };
  if (url.protocol !== 'https:') throw refused('which is not https://.');
  if (url.hostname === first.hostname) return { url, publicOnly: false };
  try {
    demandCallable(url.href, []);
  } catch {
    throw refused('which is not an address on the internet.');
  }
  return { url, publicOnly: true };
}

function isPlainHere({ protocol, hostname }: URL): boolean {
  return protocol === 'http:' && here.has(hostname);
}
