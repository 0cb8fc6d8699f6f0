import type { FastifyReply, FastifyRequest } from 'fastify';
import type { CatalogModel } from '../../gpu/catalog.ts';
import type { Usage } from '../../gpu/engines/usage.ts';
import type { Gpu, Run } from '../../gpu/gpu.ts';
import type { Admission, Ticket } from '../admission/admission.ts';
import { ApiError, asApiError } from '../http/api-error.ts';
import { ClientGone, HeldReply, type Waiting } from '../http/held-reply.ts';
import type { Identity } from '../tenants/tenants.ts';

export interface GenerationDeps {
  readonly gpu: Gpu;
  readonly admission: Admission;
}

/** The model of a name, or of a kind when no name was given. Throws for one that is not there or cannot do it. */
export function modelFor(
  { gpu, admission }: GenerationDeps,
  identity: Identity,
  kind: 'text' | 'image' | 'embedding',
  name?: string,
): CatalogModel {
  const model = name === undefined ? gpu.defaultModel(kind) : gpu.model(name);
  if (!model) {
    if (name === undefined) {
      throw new ApiError('engine_unavailable', `No ${kind} model is available at the moment.`, {
        retryAfterMs: 10_000,
      });
    }
    const known = gpu.models().filter(({ id }) => admission.mayUse(identity.tenant, id));
    const list = known.map(({ id }) => id).join(', ') || 'none at the moment';
    throw new ApiError('model_not_found', `There is no model "${name.slice(0, 100)}". Available: ${list}.`, {
      param: 'model',
    });
  }
  const fits = kind === 'embedding' ? model.embeds : model.modality === kind;
  if (!fits)
    throw new ApiError('invalid_request', `The model "${model.id}" is for ${model.modality}, not ${kind}.`, {
      param: 'model',
    });
  return model;
}

/** What a waiting client is told about its place. */
export function waitingOf(run: Run<unknown>): Waiting | undefined {
  const standing = run.standing();
  return standing && { position: standing.position, etaMs: standing.etaMs, reason: standing.reason };
}

/** Why work really ended: whoever gave it up, rather than the error that the giving up caused. */
export function causeOf(error: unknown, signal: AbortSignal): unknown {
  return signal.aborted ? signal.reason : error;
}

export interface TextJob {
  readonly model: CatalogModel;
  readonly endpoint: 'chat/completions' | 'completions';
  readonly body: Readonly<Record<string, unknown>>;
  readonly ticket: Ticket;
}

/** Answers with what the engine says, as it says it: streamed events pass through unchanged. */
export async function relayText(
  { gpu }: GenerationDeps,
  { model, endpoint, body, ticket }: TextJob,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const stream = body['stream'] === true;
  const held = new HeldReply(request, reply, stream ? 'events' : 'json');
  const signal = AbortSignal.any([held.signal, ticket.signal]);
  const run = gpu.text(model.id, { endpoint, body, stream }, ticket.caller, signal);
  held.tellWaiting(() => waitingOf(run));
  let passed = 0;
  try {
    let usage: Usage | null = null;
    for await (const event of run.events) {
      if (event.type === 'event') {
        passed += 1;
        await held.write(event.bytes);
      } else {
        ({ usage } = event);
        held.end(event.body ?? undefined);
      }
    }
    ticket.settle(usage ?? {}, run.timings);
  } catch (error) {
    const cause = causeOf(error, signal);
    ticket.void(cause, { completionTokens: passed }, run.timings);
    if (!(cause instanceof ClientGone)) held.fail(asApiError(cause));
  }
}

/** Text as a value, for routes that shape their own answer. The client is kept waiting by `held`. */
export async function completeText(
  { gpu }: GenerationDeps,
  { model, endpoint, body, ticket }: TextJob,
  held: HeldReply,
): Promise<{ body: string; usage: Usage }> {
  const signal = AbortSignal.any([held.signal, ticket.signal]);
  const run = gpu.text(model.id, { endpoint, body, stream: false }, ticket.caller, signal);
  held.tellWaiting(() => waitingOf(run));
  try {
    for await (const event of run.events) {
      if (event.type === 'end' && event.body !== null) {
        ticket.settle(event.usage, run.timings);
        return { body: event.body, usage: event.usage };
      }
    }
    throw new Error('the engine ended without an answer');
  } catch (error) {
    const cause = causeOf(error, signal);
    ticket.void(cause, {}, run.timings);
    throw cause;
  }
}
