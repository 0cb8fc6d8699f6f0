import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { SignedIn } from '../../accounts/sign-in.ts';
import { RateWindows } from '../../admission/rate-window.ts';
import {
  ForgotBody,
  LoginBody,
  Nothing,
  RefreshBody,
  RegisterBody,
  ResetBody,
  SignedInView,
  VerifyBody,
} from '../../contract/accounts.ts';
import { ErrorEnvelope } from '../../contract/errors.ts';
import { limits } from '../../contract/limits.ts';
import { Envelope } from '../../contract/platform.ts';
import { addressKey } from '../../http/address.ts';
import { ApiError } from '../../http/api-error.ts';
import { clientAddress } from '../../http/tunnel-listener.ts';
import { clearCookies, refreshTokenOf, setCookies } from './authentication.ts';
import { userView } from '../../http/views.ts';
import { moment, success } from '../../http/envelope.ts';
import { ofAccountSize } from '../../http/body-intake.ts';
import { actorOf, personOf, type TenantDeps } from './tenant-context.ts';

const tags = ['Accounts'];

/** Coming in, going out, and what to do when a password is lost. */
export const authRoutes: FastifyPluginAsyncTypebox<TenantDeps> = async (app, deps) => {
  const { signIn, registration, recovery, settings } = deps;
  const calls = new RateWindows(limits.login.windowMs);
  app.addHook('onRoute', ofAccountSize);

  app.addHook('onRequest', async (request) => {
    const state = calls.take(addressKey(clientAddress(request)), settings.callsPerAddress, performance.now());
    if (state.allowed) return;
    const message = 'Too many calls from this address. Try again later.';
    throw new ApiError('too_many_attempts', message, state);
  });

  app.post(
    '/api/v1/auth/register',
    {
      config: { open: true },
      schema: {
        tags,
        summary: 'Make an account, freely or by invitation',
        body: RegisterBody,
        response: {
          201: Envelope(SignedInView),
          202: Envelope(Nothing),
          default: ErrorEnvelope,
        },
      },
    },
    async (request, reply) => {
      const welcome = await registration.register(request.body, originOf(request), actorOf(request));
      if (!welcome) {
        const message = 'A message is on its way to you. Confirm the address with the token in it.';
        return reply.status(202).send(success(null, message));
      }
      return reply.status(201).send(success(answer(reply, welcome, request.body.mode)));
    },
  );

  app.post(
    '/api/v1/auth/verify-email',
    {
      config: { open: true },
      schema: {
        tags,
        summary: 'Confirm an e-mail address with the token that was sent there',
        body: VerifyBody,
        response: { 200: Envelope(SignedInView), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const { token, mode } = request.body;
      const welcome = await registration.verifyEmail(token, originOf(request), actorOf(request));
      return success(answer(reply, welcome, mode));
    },
  );

  app.post(
    '/api/v1/auth/login',
    {
      config: { open: true },
      schema: {
        tags,
        summary: 'Sign in',
        body: LoginBody,
        response: { 200: Envelope(SignedInView), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const signedIn = await signIn.login(request.body, originOf(request), actorOf(request));
      return success(answer(reply, signedIn, request.body.mode));
    },
  );

  app.post(
    '/api/v1/auth/refresh',
    {
      config: { open: true },
      schema: {
        tags,
        summary: 'A new token for a refresh token, which is good once; pages send their cookie and {}',
        body: RefreshBody,
        response: { 200: Envelope(SignedInView), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const given = request.body.refreshToken ?? null;
      const cookie = given === null ? refreshTokenOf(deps, request) : null;
      const token = given ?? cookie;
      if (token === null)
        throw new ApiError('invalid_request', 'Missing parameter: "refreshToken".', {
          param: 'refreshToken',
        });
      const signedIn = await signIn.refresh(token);
      return success(answer(reply, signedIn, cookie === null ? 'token' : 'cookie'));
    },
  );

  app.post(
    '/api/v1/auth/logout',
    {
      config: { only: 'person' },
      schema: {
        tags,
        summary: 'End this session',
        response: { 200: Envelope(Nothing), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      const { user, session } = personOf(deps, request);
      signIn.logout(session, user, actorOf(request));
      clearCookies(deps, reply);
      return success(null, 'Signed out.');
    },
  );

  app.post(
    '/api/v1/auth/forgot-password',
    {
      config: { open: true },
      schema: {
        tags,
        summary: 'Have a token sent to set a new password with',
        body: ForgotBody,
        response: { 202: Envelope(Nothing), default: ErrorEnvelope },
      },
    },
    async (request, reply) => {
      recovery.forgot(request.body.email, actorOf(request));
      const message = 'If there is an account with this address, a message is on its way to it.';
      return reply.status(202).send(success(null, message));
    },
  );

  app.post(
    '/api/v1/auth/reset-password',
    {
      config: { open: true },
      schema: {
        tags,
        summary: 'Set a new password with the token that was sent; every session ends',
        body: ResetBody,
        response: { 200: Envelope(Nothing), default: ErrorEnvelope },
      },
    },
    async (request) => {
      const { token, password } = request.body;
      await recovery.reset(token, password, actorOf(request));
      return success(null, 'The password is set. Sign in with it.');
    },
  );

  function answer(
    reply: FastifyReply,
    signedIn: SignedIn & { apiKey?: string | null },
    mode: 'token' | 'cookie' = 'token',
  ) {
    if (mode === 'cookie') setCookies(deps, reply, signedIn);
    const { accessToken, accessExpiresAt, refreshToken, user, apiKey } = signedIn;
    reply.header('cache-control', 'no-store');
    return {
      token: mode === 'token' ? accessToken : null,
      expiresAt: moment(accessExpiresAt),
      refreshToken: mode === 'token' ? refreshToken : null,
      user: userView(user),
      ...(apiKey !== undefined && { apiKey }),
    };
  }
};

function originOf(request: FastifyRequest) {
  return { address: addressKey(clientAddress(request)), agent: request.headers['user-agent'] ?? null };
}
