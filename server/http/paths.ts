/** Azure's form of a path: its clients say the model in the body as well. */
const azure = /^\/(?:openai|v1|openai\/v1)\/deployments\/[^/]+(?=\/)|^\/openai\/v1(?=\/)/;
const facesOfPrograms = /^\/(?:v1|generate-text|generate-image)(?:\/|$)/;

/**
 * A URL as it was meant: base URLs end in a slash or not, clients put another before their path, and Azure's have a
 * prefix of their own. Applies to the routes of OpenAI and the simple ones. Pages and files keep their addresses to the
 * letter, and so do the platform's routes: there an id that was left out must not become the whole collection
 * (`DELETE /api/v1/history/`).
 */
export function tidyUrl(url: string): string {
  const end = url.indexOf('?');
  const path = end < 0 ? url : url.slice(0, end);
  if (!path.includes('//') && !path.endsWith('/') && !azure.test(path)) return url;
  const tidy = path
    .replaceAll(/\/{2,}/g, '/')
    .replace(/(?<=.)\/$/, '')
    .replace(azure, '/v1');
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
