import type { FastifyReply, FastifyRequest } from 'fastify';
import type { CatalogModel } from '../../gpu/catalog.ts';
import type { Answer } from '../../gpu/engines/engine.ts';
import type { Gpu, Task } from '../../gpu/gpu.ts';
import type { Admission, Ticket } from '../admission/admission.ts';
import { limits } from '../contract/limits.ts';
import { ApiError } from '../http/api-error.ts';
import { HeldReply, type Waiting } from '../http/held-reply.ts';
import type { Identity } from '../tenants/tenants.ts';

export interface GenerationDeps {
  readonly gpu: Gpu;
  readonly admission: Admission;
}

/**
 * The model of a name, or of a kind when no name was given. Throws for one that is not there or cannot do it. Just
 * after the start the engines may not have said yet what they have; then they are waited for.
 */
export async function modelFor(
  { gpu, admission }: GenerationDeps,
  identity: Identity,
  kind: 'text' | 'image' | 'embedding',
  name?: string,
): Promise<CatalogModel> {
  const find = () => (name === undefined ? gpu.defaultModel(kind) : gpu.model(name));
  let model = find();
  if (!model) {
    await gpu.settled(limits.engineStartMs);
    model = find();
  }
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
export function waitingOf(work: Pick<Task<unknown>, 'standing'>): Waiting | undefined {
  const standing = work.standing();
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
  deps: GenerationDeps,
  job: TextJob,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const streamed = job.body['stream'] === true;
  const held = new HeldReply(request, reply, streamed ? 'events' : 'json');
  try {
    if (streamed) await streamText(deps, job, held);
    else held.end((await completeText(deps, job, held)).body);
  } catch (error) {
    held.fail(error);
  }
}

async function streamText({ gpu }: GenerationDeps, job: TextJob, held: HeldReply): Promise<void> {
  const { model, endpoint, body, ticket } = job;
  const run = gpu.stream(model.id, { endpoint, body }, ticket.caller, held.signal);
  ticket.onRevoked((reason) => held.abort(reason));
  held.tellWaiting(() => waitingOf(run));
  let passed = 0;
  try {
    for await (const event of run.events) {
      if (event.type === 'event') {
        passed += 1;
        await held.write(event.bytes);
      } else {
        ticket.settle(event.usage, run.timings);
        held.end();
      }
    }
  } catch (error) {
    const cause = causeOf(error, held.signal);
    ticket.void(cause, { completionTokens: passed }, run.timings);
    throw cause;
  }
}

/** A whole answer as a value; the client is kept waiting by `held`. */
export function completeText({ gpu }: GenerationDeps, job: TextJob, held: HeldReply): Promise<Answer> {
  const { model, endpoint, body, ticket } = job;
  return settled(gpu.complete(model.id, { endpoint, body }, ticket.caller, held.signal), ticket, held);
}

/** The result of a task, with the ticket settled or voided by how it went. */
export async function settled(task: Task<Answer>, ticket: Ticket, held: HeldReply): Promise<Answer> {
  ticket.onRevoked((reason) => held.abort(reason));
  held.tellWaiting(() => waitingOf(task));
  try {
    const answer = await task.result;
    ticket.settle(answer.usage, task.timings);
    return answer;
  } catch (error) {
    const cause = causeOf(error, held.signal);
    ticket.void(cause, {}, task.timings);
    throw cause;
  }
}
