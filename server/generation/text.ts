import type { FastifyReply, FastifyRequest } from 'fastify';
import type { CatalogModel } from '../../gpu/catalog.ts';
import { EngineError } from '../../gpu/engines/engine-error.ts';
import type { Answer } from '../../gpu/engines/engine.ts';
import { isMedia, weighPrompt } from '../../gpu/engines/text-weight.ts';
import { mostMediaTokens, promptTokensOf, type Usage } from '../../gpu/engines/usage.ts';
import type { Gpu, Task, Timings } from '../../gpu/gpu.ts';
import type { Admission, Ticket } from '../admission/admission.ts';
import { limits } from '../contract/limits.ts';
import { HeldReply, type Waiting } from '../http/held-reply.ts';
import type { KeptAnswer } from '../idempotency/idempotency-store.ts';
import type { Actual, PricedWork } from '../offers/prices.ts';
import type { Identity } from '../tenants/tenant.ts';

const eventStream = 'text/event-stream; charset=utf-8';
export const json = 'application/json; charset=utf-8';

export interface GenerationDeps {
  readonly gpu: Gpu;
  readonly admission: Admission;
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
  if (!streamed) return answerText(deps, job, held);
  try {
    await streamText(deps, job, held);
  } catch (error) {
    held.fail(error);
  }
}

async function streamText({ gpu }: GenerationDeps, job: TextJob, held: HeldReply): Promise<void> {
  const { model, endpoint, body, ticket } = job;
  const run = gpu.stream(model.id, { endpoint, body }, ticket.caller, held.signal);
  ticket.onRevoked((reason) => held.abort(reason));
  held.tellWaiting(() => waitingOf(run));
  const kept = ticket.keepsAnswer ? new KeptStream() : null;
  let written = 0;
  let usage: Usage | null = null;
  try {
    for await (const event of run.events) {
      if (event.type === 'event') {
        written = event.tokensSoFar;
        kept?.add(event.bytes);
        await held.write(event.bytes);
      } else ({ usage } = event);
    }
    if (usage === null) throw new EngineError('broken_stream', 'The engine said no end.');
    // What it took is known once the lease has ended, which is after the last event.
    ticket.settle(usage, run.timings, kept?.answer());
    held.end();
  } catch (error) {
    const cause = causeOf(error, held.signal);
    ticket.void(cause, begunWork(promptsOf(body), run.timings, written), run.timings);
    throw cause;
  }
}

/** A stream to be given again, as long as it is not too long to keep. */
class KeptStream {
  #pieces: Uint8Array[] | null = [];
  #bytes = 0;

  add(piece: Uint8Array): void {
    this.#bytes += piece.length;
    if (this.#bytes > limits.idempotency.answerBytes) this.#pieces = null;
    this.#pieces?.push(piece);
  }

  answer(): KeptAnswer | null {
    return this.#pieces && { status: 200, contentType: eventStream, body: Buffer.concat(this.#pieces) };
  }
}

/** Answers with a whole text, as the engine gave it or as `render` makes of it. */
export async function answerText(
  { gpu }: GenerationDeps,
  { model, endpoint, body, ticket }: TextJob,
  held: HeldReply,
  render: (answer: Answer) => string = (answer) => answer.body,
): Promise<void> {
  const task = gpu.complete(model.id, { endpoint, body }, ticket.caller, held.signal);
  return answerTask(task, promptsOf(body), ticket, held, render);
}

/** Answers with the result of a task. The ticket is settled before the answer goes out, or voided. */
export async function answerTask(
  task: Task<Answer>,
  prompts: unknown,
  ticket: Ticket,
  held: HeldReply,
  render: (answer: Answer) => string = (answer) => answer.body,
): Promise<void> {
  ticket.onRevoked((reason) => held.abort(reason));
  held.tellWaiting(() => waitingOf(task));
  try {
    const answer = await task.result;
    const body = render(answer);
    ticket.settle(answer.usage, task.timings, { status: 200, contentType: json, body });
    held.end(body);
  } catch (error) {
    const cause = causeOf(error, held.signal);
    ticket.void(cause, begunWork(prompts, task.timings), task.timings);
    held.fail(cause);
  }
}

/** What of a request the model reads. */
function promptsOf(body: Readonly<Record<string, unknown>>): unknown {
  return [
    body['messages'],
    body['prompt'],
    body['suffix'],
    body['tools'],
    body['functions'],
    body['response_format'],
  ];
}

/** What work had come to when it ended early: a prompt counts from the moment the engine begins with it. */
function begunWork(prompts: unknown, { granted }: Timings, completionTokens = 0): Actual {
  return granted ? { promptTokens: promptTokensOf(weighPrompt(prompts)), completionTokens } : {};
}

/** The most tokens a text can come to: no token is shorter than a byte, and nothing is longer than the context. */
export function textWork(model: CatalogModel, prompts: unknown, mostTokens: number): PricedWork {
  return { kind: 'text', tokens: Math.min(contextOf(model), mostPromptTokens(prompts) + mostTokens) };
}

/** The most that vectors can come to: every input is read on its own, up to the context. */
export function embeddingWork(model: CatalogModel, input: string | readonly string[]): PricedWork {
  const inputs = typeof input === 'string' ? [input] : input;
  const context = contextOf(model);
  return {
    kind: 'text',
    tokens: inputs.reduce((sum, text) => sum + Math.min(context, Buffer.byteLength(text)), 0),
  };
}

/** As many as the prompt has bytes, as JSON; pictures have a bound of their own instead of their base64. */
function mostPromptTokens(prompts: unknown): number {
  let media = 0;
  const text = JSON.stringify(prompts, (_, part: unknown) => {
    if (!isMedia(part)) return part;
    media += 1;
    return null;
  });
  return Buffer.byteLength(text ?? '') + media * mostMediaTokens;
}

function contextOf({ contextLength }: CatalogModel): number {
  return contextLength ?? limits.assumedContextTokens;
}

/** The tokens that an answer may have at most. What costs something gets a bound where the caller set none. */
export function mostTokensOf(body: {
  max_tokens?: number | null | undefined;
  max_completion_tokens?: number | null | undefined;
}): number {
  return body.max_completion_tokens ?? body.max_tokens ?? limits.pricedCompletionTokens;
}

/** The request as the engine gets it: with that bound in it, where text costs something. */
export function boundedBody<Body extends Readonly<Record<string, unknown>>>(
  { admission }: GenerationDeps,
  { tenant }: Identity,
  body: Body & Parameters<typeof mostTokensOf>[0],
): Body {
  const isBounded = (body.max_completion_tokens ?? body.max_tokens ?? null) !== null;
  if (isBounded || !admission.chargesText(tenant)) return body;
  return { ...body, max_tokens: mostTokensOf(body) };
}
