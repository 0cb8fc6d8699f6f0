/** Every bound of the server that is not a setting, in one place. */
export const limits = {
  /** Bodies of requests. A route has `usualBytes` unless it says otherwise. */
  body: {
    /** Routes of accounts: anybody may call them, and a form of a few short texts is all they take. */
    accountBytes: 16 * 1024,
    usualBytes: 1024 * 1024,
    /** Many texts in one request. */
    textsBytes: 8 * 1024 * 1024,
    /** Routes that take pictures as base64, for vision models. */
    picturesBytes: 32 * 1024 * 1024,
    /** JSON, counted before it is parsed: levels, and values with their containers. */
    depth: 64,
    nodes: 50_000,
    /** What one value of parsed JSON costs beside its text. */
    nodeBytes: 64,
    /** Bodies in flight, which are read, parsed or wait with their request: see BodyBudget. */
    inFlight: {
      /** Of the heap: a body lies there as text, as values and as the engine gets it, with up to two bytes a character. */
      heapShare: 1 / 8,
      leastBytes: 128 * 1024 * 1024,
      mostBytes: 512 * 1024 * 1024,
      /** One tenant's part of it. */
      tenantShare: 1 / 4,
      /** Of one network address on routes that need no key. */
      addressBytes: 2 * 1024 * 1024,
      retryAfterMs: 2_000,
    },
    /** A body that brings less than this in such a time is cut (F31). */
    slow: { bytes: 12 * 1024, windowMs: 12_000, lookEveryMs: 3_000 },
  },
  messages: 2_000,
  promptCharacters: 200_000,
  /** Text has 3 to 5 characters a token; only padding has more. A prompt with more cannot fit the model's context. */
  charactersPerToken: 16,
  imagePromptCharacters: 8_000,
  embeddingInputs: 2_048,
  image: { minSide: 64, maxSide: 2_048, multipleOf: 8, maxCount: 4, maxSteps: 100, maxGuidance: 30 },
  /** A form of files. What is kept is deleted after its time, unless a job still needs it. */
  upload: {
    bytes: 16 * 1024 * 1024,
    files: 10,
    fields: 20,
    fieldBytes: 256 * 1024,
    /** A whole form: an image and a mask, or as many files as one form has. */
    formBytes: 40 * 1024 * 1024,
    batchBytes: 170 * 1024 * 1024,
    nameCharacters: 200,
    pixels: 4_096 * 4_096,
    /** Of a form that is being read: a file, or an image with its mask. */
    heldBytes: 32 * 1024 * 1024,
    /** The longer side to the shorter one. */
    ratio: 32,
    keptMs: 7 * 24 * 3_600_000,
  },
  thumbnailSide: 256,
  /** Pictures of strangers are decoded in a process that may die of them, and looked at in another. */
  pictureProcess: { requestMs: 20_000, idleMs: 60_000 },
  classifier: { requestMs: 30_000, idleMs: 2 * 60_000 },
  /** Pictures of one tenant that may wait for each of these processes. */
  toolWaitingOfEach: 32,
  storage: { lookEveryMs: 1_000 },
  moderation: { texts: 100, images: 10 },
  imageLink: { lifetimeMs: 60 * 60_000 },
  /** A waiting client hears something at least this often (Cloudflare cuts at about 100 s of silence). */
  heartbeatMs: 10_000,
  /** How long an answer is held back in the hope of a proper status before the first heartbeat commits to 200. */
  patienceMs: 2_000,
  jsonPatienceMs: 12_000,
  /** A reader that takes nothing for this long is cut, whatever it is being sent. */
  stalledReaderMs: 30_000,
  headersMs: 10_000,
  requestMs: 60_000,
  /** How often the two are looked at. */
  slowRequestLookMs: 5_000,
  connections: 12_000,
  /** How long after it could not be opened the tenant API is opened again. */
  listenAgainMs: 2_000,
  /** Of a path, between two slashes. */
  pathPartCharacters: 500,
  /** Who watches over a WebSocket has nothing to say. */
  socketMessageBytes: 1_024,
  /** How long a request waits for engines that are just being started. */
  engineStartMs: 60_000,
  keyCharacters: 256,
  /** How long browsers may remember that a page may call the API; Chromium takes no more. */
  preflightSeconds: 7_200,
  /** Credits that one entry may move, and grants looked at in one sweep. */
  /** Passwords hashed at once, and how many sign-ins may wait for that. */
  login: {
    atOnce: 2,
    waiting: 64,
    /** Failures in the window, by account and address together, and by account from anywhere. */
    windowMs: 15 * 60_000,
    failures: 10,
    failuresAnywhere: 100,
  },
  password: { minCharacters: 10, maxCharacters: 256 },
  session: {
    accessMs: 15 * 60_000,
    /** A session that is not used ends after this time, and every session after the longer one. */
    refreshMs: 30 * 24 * 3_600_000,
    absoluteMs: 90 * 24 * 3_600_000,
    /** Two tabs may use one refresh token within this time of each other. */
    refreshGraceMs: 10_000,
    /** How long a refresh token that was used is remembered, so that a second use ends the session. */
    usedTokenMs: 7 * 24 * 3_600_000,
    tokenCharacters: 2_048,
  },
  mailedToken: {
    resetMs: 3_600_000,
    verifyMs: 3 * 24 * 3_600_000,
    invitationMs: 14 * 24 * 3_600_000,
    /** Messages that anybody can cause to one address, in the window. */
    perWindow: 5,
    windowMs: 15 * 60_000,
  },
  /** Messages handed to the mail server in one go, and how long they are kept: sent ones, and all. */
  mail: { atOnce: 20, sentKeptMs: 24 * 3_600_000, keptMs: 14 * 24 * 3_600_000 },
  accounts: { users: 1_000, keys: 200, openInvitations: 200, nameCharacters: 100 },
  key: { maxGraceMs: 30 * 24 * 3_600_000, defaultGraceMs: 24 * 3_600_000, patterns: 100 },
  webhookBytes: 512 * 1024,
  jobs: {
    /** Jobs that run at once, in all; each asks for one lease of the GPU at a time. */
    running: 16,
    /** Jobs of one tenant that have not ended. */
    openPerTenant: 200,
    /** Engines that may die under a job, and times the appliance may, before it is given up. */
    engineFailures: 2,
    interruptions: 5,
    /** Outages in a row (no engine, a full queue, a full disk) before a job is given up: about half an hour. */
    outages: 10,
    /** Pauses before a job is tried again: after its first failure, its second, ...; the last one repeats. */
    pausesMs: [1_000, 5_000, 20_000, 60_000, 120_000, 300_000],
    /** How often a job whose model is not there yet is looked at again. */
    againMs: 1_000,
    /** Days that jobs of a tenant are kept which is gone from tenants.json. */
    goneTenantDays: 7,
    closeMs: 3_000,
    waitSeconds: 60,
    batch: 50,
    /** Jobs that say how long the next ones are likely to take. */
    lately: 20,
    /** Connections that one tenant may watch its jobs over, and what may wait to be read on one. */
    socketsPerTenant: 20,
    socketBytes: 1024 * 1024,
    /** How long a link to a result is good. */
    linkMs: 60 * 60_000,
  },
  webhooks: {
    perTenant: 20,
    urlCharacters: 2_000,
    /** Calls under way: in all, and of one tenant. */
    atOnce: 32,
    perTenantAtOnce: 2,
    timeoutMs: 15_000,
    answerBytes: 64 * 1024,
    /** After so long without one success an endpoint is not told any more. */
    failingMs: 5 * 24 * 3_600_000,
    /** Deliveries that are over are kept so long, to be looked at and sent again. */
    keptMs: 14 * 24 * 3_600_000,
  },
  /** Prompts opened for one search, and in one go. */
  history: { searched: 2_000, searchedAtOnce: 25 },
  page: { max: 100, default: 20 },
  /** A try-out by the operator, with its wait. */
  tryMs: 5 * 60_000,
  console: {
    /** A link to the console works once, and so long. */
    codeMs: 15 * 60_000,
    codes: 20,
    sessionMs: 30 * 24 * 3_600_000,
  },
  /** Of model files: bytes of one, and of the answers that are read only to keep a connection. */
  download: {
    urlCharacters: 2_000,
    atOnce: 2,
    stallMs: 60_000,
    kept: 50,
    redirects: 10,
    bytes: 1024 ** 4,
    discardBytes: 64 * 1024,
  },
  idempotency: { keyCharacters: 255, answerBytes: 16 * 1024 * 1024, keptMs: 24 * 3_600_000 },
  /** Priced text without a bound of its own gets this one, so that what it can cost is known before. */
  pricedCompletionTokens: 4_096,
  /** The context of a model that does not say how long it is. */
  assumedContextTokens: 32_768,
  ledger: { credits: 1_000_000_000 },
  /** What one turn of the event loop works on where there may be very much: rows, jobs (each has many), bytes. */
  turn: { rows: 50, jobs: 10, bytes: 256 * 1024 },
  /** How often it is looked whether a backup is due, pages copied in one go, and how often files are copied. */
  backup: { lookEveryMs: 10 * 60_000, pagesAtOnce: 500, filesEveryMs: 7 * 24 * 3_600_000 },
  /** cloudflared: until it is connected, between looks, for one look; Cloudflare keeps connections for 400 s. */
  tunnel: { readyMs: 60_000, lookEveryMs: 10_000, askMs: 3_000, keepAliveMs: 410_000 },
  /** Of our own log, in what is sent to find a fault. */
  diagnosticLogBytes: 4 * 1024 * 1024,
  closeMs: 9_000,
} as const;
