import type { FastifyReply, FastifyRequest } from 'fastify';
import type { SignedIn } from '../../accounts/sign-in.ts';
import { AccessTokens } from '../../accounts/access-token.ts';
import { limits } from '../../contract/limits.ts';
import { ApiError } from '../../http/api-error.ts';
import { credentialsOf } from '../../http/credentials.ts';
import { isTunnelled, originOf } from '../../http/tunnel-listener.ts';
import type { Identity } from '../../tenants/tenant.ts';
import type { TenantDeps } from './tenant-context.ts';

const accessCookie = 'kh_session';
const refreshCookie = 'kh_refresh';
const refreshPath = '/api/v1/auth';
const safe = new Set(['GET', 'HEAD', 'OPTIONS']);

type AuthDeps = Pick<TenantDeps, 'directory' | 'accessTokens' | 'publicUrl'>;

/** Who asks: a key, or a person's token as header or cookie. Throws an ApiError for nobody we know. */
export function authenticate(deps: AuthDeps, request: FastifyRequest): Identity | Promise<Identity> {
  const given = credentialsOf(request.headers);
  for (const one of given) {
    const byKey = deps.directory.byKey(one);
    if (byKey) return current(byKey);
    if (AccessTokens.isLike(one))
      return ofToken(deps, one, 'The token is wrong or expired. Refresh it, or sign in.');
  }
  if (given.length > 0) throw new ApiError('invalid_api_key', 'The API key is wrong, expired or revoked.');
  const cookie = request.cookies[accessCookie];
  if (cookie === undefined) {
    throw new ApiError(
      'missing_api_key',
      'No API key was given. Send it as "Authorization: Bearer <key>" or "x-api-key: <key>".',
    );
  }
  demandOwnPage(deps, request);
  return ofToken(deps, cookie, 'The session has ended. Sign in again.');
}

/** Whether whoever was found may use this route. */
export function demandRights(identity: Identity, only: 'person' | 'admin' | undefined): void {
  if (only === undefined) return;
  if (!identity.user)
    throw new ApiError('forbidden', 'This is for people who signed in; an API key cannot do it.');
  if (only === 'admin' && identity.user.role !== 'admin')
    throw new ApiError('forbidden', 'This is for the administrators of the company.');
}

/** Hands the tokens of a session to a page, where no script can read them. */
export function setCookies(
  { publicUrl }: Pick<TenantDeps, 'publicUrl'>,
  reply: FastifyReply,
  { accessToken, refreshToken }: SignedIn,
): void {
  const common = { httpOnly: true, sameSite: 'strict', secure: isSecure(publicUrl, reply.request) } as const;
  reply.setCookie(accessCookie, accessToken, {
    ...common,
    path: '/',
    maxAge: limits.session.accessMs / 1000,
  });
  reply.setCookie(refreshCookie, refreshToken, {
    ...common,
    path: refreshPath,
    maxAge: limits.session.refreshMs / 1000,
  });
}

export function clearCookies({ publicUrl }: Pick<TenantDeps, 'publicUrl'>, reply: FastifyReply): void {
  const common = { httpOnly: true, sameSite: 'strict', secure: isSecure(publicUrl, reply.request) } as const;
  reply.clearCookie(accessCookie, { ...common, path: '/' });
  reply.clearCookie(refreshCookie, { ...common, path: refreshPath });
}

/** The refresh token of a page's cookie; null where there is none. Throws when another site's page sends it. */
export function refreshTokenOf(deps: Pick<TenantDeps, 'publicUrl'>, request: FastifyRequest): string | null {
  const token = request.cookies[refreshCookie];
  if (token === undefined) return null;
  demandOwnPage(deps, request);
  return token;
}

async function ofToken(
  { accessTokens, directory }: AuthDeps,
  token: string,
  refusal: string,
): Promise<Identity> {
  const isShort = token.length <= limits.session.tokenCharacters;
  const session = isShort ? await accessTokens.sessionOf(token) : null;
  const identity = session === null ? undefined : directory.bySession(session);
  if (!identity) throw new ApiError('invalid_session', refusal);
  return current(identity);
}

function current(identity: Identity): Identity {
  if (identity.tenant.disabled)
    throw new ApiError('tenant_disabled', 'This tenant is disabled; ask the operator.');
  return identity;
}

/** A cookie comes along whoever made the page that asks, so what changes something must come from our own (F55). */
function demandOwnPage({ publicUrl }: Pick<TenantDeps, 'publicUrl'>, request: FastifyRequest): void {
  // A WebSocket begins as a GET, and any page may open one.
  if (safe.has(request.method) && request.headers.upgrade === undefined) return;
  const { origin } = request.headers;
  const own = [originOf(request), publicUrl && URL.parse(publicUrl)?.origin];
  if (origin !== undefined && own.includes(origin)) return;
  throw new ApiError('forbidden', 'Requests with a session cookie are taken from our own pages only.');
}

function isSecure(publicUrl: string | null, request: FastifyRequest): boolean {
  return isTunnelled(request) || (publicUrl?.startsWith('https:') ?? false);
}
