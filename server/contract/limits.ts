/** Every bound of the server that is not a setting, in one place. */
export const limits = {
  /** JSON bodies, which carry pictures as base64 for vision models. */
  bodyBytes: 32 * 1024 * 1024,
  jsonDepth: 64,
  messages: 2_000,
  promptCharacters: 200_000,
  imagePromptCharacters: 8_000,
  embeddingInputs: 2_048,
  image: { minSide: 64, maxSide: 2_048, multipleOf: 8, maxCount: 4, maxSteps: 100, maxGuidance: 30 },
  upload: { bytes: 16 * 1024 * 1024, files: 5, fields: 20, fieldBytes: 256 * 1024, pixels: 4_096 * 4_096 },
  imageLink: { lifetimeMs: 60 * 60_000, storeBytes: 512 * 1024 * 1024 },
  /** A waiting client hears something at least this often (Cloudflare cuts at about 100 s of silence). */
  heartbeatMs: 10_000,
  /** How long an answer is held back in the hope of a proper status before the first heartbeat commits to 200. */
  patienceMs: 2_000,
  jsonPatienceMs: 12_000,
  /** A reader that takes nothing for this long is cut. */
  stalledReaderMs: 30_000,
  headersMs: 10_000,
  requestMs: 60_000,
  connections: 12_000,
  /** How long a request waits for engines that are just being started. */
  engineStartMs: 60_000,
  keyCharacters: 256,
  closeMs: 9_000,
} as const;
