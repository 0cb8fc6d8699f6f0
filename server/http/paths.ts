const facesOfPrograms = /^\/(?:v1|api|generate-text|generate-image)(?:\/|$)/;

/**
 * A URL as it was meant: base URLs end in a slash or not, and clients put another before their path. Applies to the
 * routes for programs; pages and files keep their addresses to the letter.
 */
export function tidyUrl(url: string): string {
  const end = url.indexOf('?');
  const path = end < 0 ? url : url.slice(0, end);
  if (!path.includes('//') && !path.endsWith('/')) return url;
  const tidy = path.replaceAll(/\/{2,}/g, '/').replace(/(?<=.)\/$/, '');
  return facesOfPrograms.test(tidy) ? tidy + (end < 0 ? '' : url.slice(end)) : url;
}

/** What people put before a path by mistake, or leave out. */
const prefixes = /^(?:\/(?:v1|api|openai))+(?=\/|$)/i;

/** The path that was probably meant, where it is one of ours; null otherwise. */
export function pathMeant(path: string, isOurs: (path: string) => boolean): string | null {
  const rest = path.replace(prefixes, '');
  const candidates = [path.toLowerCase(), ...['/v1', '/api/v1', ''].map((prefix) => prefix + rest)];
  return candidates.find((one) => one !== path && one !== '' && isOurs(one)) ?? null;
}
