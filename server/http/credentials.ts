import type { IncomingHttpHeaders } from 'node:http';

/** The credential of an `Authorization: Bearer` header (RFC 6750, RFC 9110 11.4): the scheme in any case, any number of spaces. */
export function bearerOf({ authorization }: Pick<IncomingHttpHeaders, 'authorization'>): string | null {
  return /^bearer[ \t]+(\S.*)$/i.exec(authorization ?? '')?.[1]?.trimEnd() ?? null;
}

/**
 * Every credential of a request, in the order in which they are tried: SDKs send a key in one header and a placeholder
 * in another, and a proxy before us may have an `Authorization` of its own. `api-key` is Azure's. Never from the query,
 * which ends up in logs.
 */
export function credentialsOf(headers: IncomingHttpHeaders): string[] {
  const given = [bearerOf(headers), headers['x-api-key'], headers['api-key']];
  return given.filter((one): one is string => typeof one === 'string' && one !== '');
}
