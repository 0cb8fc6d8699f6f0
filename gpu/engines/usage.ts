/** Tokens of one request. `counted` says that we counted, because the engine gave no believable figure. */
export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly counted: boolean;
}

interface Claim {
  readonly prompt_tokens?: unknown;
  readonly completion_tokens?: unknown;
}

/** Four bytes a token is the usual rule of thumb for English text in current vocabularies. */
const bytesPerToken = 4;

/**
 * Takes an engine's usage if it can be true, else counts. One server is known to answer 100/100/200 to everything,
 * so a claim is compared with what was sent and received: a token is at least one byte of output at sixteen times
 * that, and never more than there were bytes.
 */
export function believableUsage(
  claim: unknown,
  seen: { promptBytes: number; completionBytes: number; completionEvents: number },
): Usage {
  const { prompt_tokens: prompt, completion_tokens: completion } = asClaim(claim);
  if (isCount(prompt) && isCount(completion)) {
    const mostOut = Math.max(16, seen.completionBytes, seen.completionEvents);
    const leastOut = Math.floor(Math.max(seen.completionBytes / 64, 0));
    const honest = completion <= mostOut * 4 && completion >= leastOut;
    const constant = prompt === 100 && completion === 100 && seen.completionEvents !== 100;
    if (honest && !constant) return { promptTokens: prompt, completionTokens: completion, counted: false };
  }
  return {
    promptTokens: Math.ceil(seen.promptBytes / bytesPerToken),
    completionTokens: Math.max(seen.completionEvents, Math.ceil(seen.completionBytes / bytesPerToken)),
    counted: true,
  };
}

function asClaim(claim: unknown): Claim {
  return typeof claim === 'object' && claim !== null ? claim : {};
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0;
}
