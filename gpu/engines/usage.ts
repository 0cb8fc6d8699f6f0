import { field } from './http.ts';
import type { PromptWeight, Written } from './text-weight.ts';

/** Tokens of one request. `counted` says that we counted some of them, because the engine gave no believable figure. */
export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly counted: boolean;
}

/** Four bytes a token is the usual rule of thumb for English text in current vocabularies. */
const bytesPerToken = 4;
/** A token of ordinary text is never longer than this. */
const mostBytesPerToken = 64;
/** What a picture takes in most vision models that fit a small card (LLaVA 1.5: 24 x 24 patches). */
const mediaTokens = 576;
/** What a picture takes at most (Qwen2-VL at its default bound of pixels). */
export const mostMediaTokens = 16_384;
/** What a chat template may add of its own: a system prompt, instructions for tools. */
const templateTokens = 4_096;
/** Engines may cut a prompt that is too long; a claim of this many tokens is believed for any text. */
const cutPromptTokens = 1_024;
/** Tokens that leave no trace in the text, such as those around a tool call. */
const silentTokens = 64;

/** The tokens of a prompt, counted by its weight. */
export function promptTokensOf({ bytes, media }: PromptWeight): number {
  return Math.ceil(bytes / bytesPerToken) + media * mediaTokens;
}

/**
 * The tokens that a stream has come to so far, in the caller's favour: at least one in each piece, and more where an
 * engine sends many at once.
 */
export function tokensSoFar({ pieces, bytes }: Pick<Written, 'pieces' | 'bytes'>): number {
  return Math.max(pieces, Math.ceil(bytes / (2 * bytesPerToken)));
}

/**
 * Takes an engine's figures where they can be true, and counts where they cannot; prompt and completion are judged
 * apart. LM Studio says 0 for embeddings, and KoboldCpp 100/100/200 to everything, so a claim is compared with what
 * was sent and received. Nothing but the weight of the text goes in: streamed or whole, the same answer is booked
 * the same.
 */
export function believableUsage(
  claim: unknown,
  prompt: PromptWeight,
  written: Pick<Written, 'bytes' | 'thinkingBytes'>,
): Usage {
  const counted = {
    promptTokens: promptTokensOf(prompt),
    completionTokens: Math.ceil(written.bytes / bytesPerToken),
  };
  const claimed = {
    promptTokens: countOf(field(claim, 'prompt_tokens')),
    completionTokens: countOf(field(claim, 'completion_tokens')),
  };
  const isConstant =
    claimed.promptTokens === 100 &&
    claimed.completionTokens === 100 &&
    !(isNear(100, counted.promptTokens) && isNear(100, counted.completionTokens));
  const promptTokens = !isConstant && canBePrompt(claimed.promptTokens, prompt) ? claimed.promptTokens : null;
  const completionTokens =
    !isConstant && canBeCompletion(claimed.completionTokens, claim, written)
      ? claimed.completionTokens
      : null;
  return {
    promptTokens: promptTokens ?? counted.promptTokens,
    completionTokens: completionTokens ?? counted.completionTokens,
    counted: promptTokens === null || completionTokens === null,
  };
}

function canBePrompt(tokens: number | null, { bytes, media }: PromptWeight): boolean {
  if (tokens === null) return false;
  const least = Math.max(bytes + media > 0 ? 1 : 0, Math.floor(bytes / mostBytesPerToken));
  return (
    tokens >= Math.min(least, cutPromptTokens) && tokens <= bytes + media * mostMediaTokens + templateTokens
  );
}

function canBeCompletion(
  tokens: number | null,
  claim: unknown,
  { bytes, thinkingBytes }: Pick<Written, 'bytes' | 'thinkingBytes'>,
): boolean {
  if (tokens === null || tokens < Math.max(bytes > 0 ? 1 : 0, Math.floor(bytes / mostBytesPerToken)))
    return false;
  const most = Math.max(silentTokens, 4 * bytes);
  // Thinking that was not shown can only be believed where it is told apart.
  const thought = countOf(field(field(claim, 'completion_tokens_details'), 'reasoning_tokens')) ?? 0;
  const hidden = thinkingBytes === 0 && thought <= tokens ? thought : 0;
  return tokens - hidden <= most;
}

/** The figures as the caller is told them: those that are booked. What the engine says beside them stays. */
export function usageTold(claim: unknown, { promptTokens, completionTokens }: Usage): object {
  const {
    prompt_tokens_details: promptDetails,
    completion_tokens_details: completionDetails,
    ...rest
  } = typeof claim === 'object' && claim !== null ? (claim as Record<string, unknown>) : {};
  const keepsPrompt = promptDetails !== undefined && rest['prompt_tokens'] === promptTokens;
  const keepsCompletion = completionDetails !== undefined && rest['completion_tokens'] === completionTokens;
  return {
    ...rest,
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    ...(keepsPrompt && { prompt_tokens_details: promptDetails }),
    ...(keepsCompletion && { completion_tokens_details: completionDetails }),
  };
}

/** Whether a claim says what is booked, so that it can be passed on as it is. */
export function isTold(claim: unknown, { promptTokens, completionTokens }: Usage): boolean {
  return (
    field(claim, 'prompt_tokens') === promptTokens &&
    (field(claim, 'completion_tokens') ?? 0) === completionTokens &&
    field(claim, 'total_tokens') === promptTokens + completionTokens
  );
}

function isNear(claimed: number, counted: number): boolean {
  return claimed <= counted * 3 && counted <= claimed * 3;
}

function countOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null;
}
