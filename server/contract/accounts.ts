import { Type } from 'typebox';
import { limits } from './limits.ts';
import { Nullable } from './platform.ts';

const closed = { additionalProperties: false } as const;
/**
 * One line of text a person wrote: no control, direction or other characters that cannot be seen. Two of them shape what
 * is seen: the joiners U+200C and U+200D, in emoji and in the scripts of Persian and India. They are taken after a letter
 * of such a script or an emoji, not in Latin names, where they would only make two names look the same. The tags U+E0020
 * to U+E007F make the flag of a region out of a black flag.
 */
export const Name = Type.String({
  minLength: 1,
  maxLength: limits.accounts.nameCharacters,
  pattern: String.raw`^(?=.*\S)(?:[^\p{C}]|(?<=[^\x00-\x7f\u200c\u200d])[\u200c\u200d]|\u{1f3f4}[\u{e0020}-\u{e007e}]+\u{e007f})+$`,
  'x-form': 'one line of visible text',
});
const Email = Type.String({ minLength: 3, maxLength: 320 });
const Password = Type.String({
  minLength: limits.password.minCharacters,
  maxLength: limits.password.maxCharacters,
});
/** What was set before the rules may be shorter; what is longer is refused before it costs a hash. */
const GivenPassword = Type.String({ minLength: 1, maxLength: limits.password.maxCharacters });
const Token = Type.String({ minLength: 20, maxLength: 200 });
export const Role = Type.Union([Type.Literal('admin'), Type.Literal('member')]);
/** Names that may be used; `*` stands for any characters. */
const Patterns = Type.Array(Type.String({ minLength: 1, maxLength: 200 }), {
  maxItems: limits.key.patterns,
  description: 'Names that may be used; * stands for any characters.',
});
const Mode = Type.Optional(
  Type.Union([Type.Literal('token'), Type.Literal('cookie')], {
    default: 'token',
    description: 'token: tokens in the answer, for programs. cookie: httpOnly cookies, for pages.',
  }),
);

export const RegisterBody = Type.Object(
  {
    email: Email,
    password: Password,
    name: Name,
    company: Type.Optional(Name),
    invitation: Type.Optional(Token),
    mode: Mode,
  },
  closed,
);
export const LoginBody = Type.Object({ email: Email, password: GivenPassword, mode: Mode }, closed);
export const RefreshBody = Type.Object(
  { refreshToken: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })) },
  closed,
);
export const VerifyBody = Type.Object({ token: Token, mode: Mode }, closed);
export const ForgotBody = Type.Object({ email: Email }, closed);
export const ResetBody = Type.Object({ token: Token, password: Password }, closed);
export const PasswordBody = Type.Object({ current: GivenPassword, password: Password }, closed);

export const UserView = Type.Object({
  id: Type.String(),
  email: Type.String(),
  name: Type.String(),
  role: Role,
  company: Type.String({ description: 'The id of the company.' }),
  models: Nullable(Patterns),
  features: Nullable(Patterns),
  emailVerified: Type.Boolean(),
  disabled: Type.Boolean(),
  createdAt: Type.String(),
});

export const SignedInView = Type.Object({
  token: Nullable(Type.String(), {
    description: 'Send as "Authorization: Bearer <token>"; null where it came as a cookie.',
  }),
  expiresAt: Type.String(),
  refreshToken: Nullable(Type.String({ description: 'Good once, for the next token.' })),
  user: UserView,
  apiKey: Type.Optional(Nullable(Type.String(), { description: 'The first key, shown only now.' })),
});

export const ProfileBody = Type.Object({ name: Name }, closed);

export const SessionView = Type.Object({
  id: Type.String(),
  current: Type.Boolean(),
  createdAt: Type.String(),
  expiresAt: Type.String(),
  address: Nullable(Type.String()),
  agent: Nullable(Type.String()),
});

const SharesWork = Type.Boolean({
  description: 'Whether everybody of the company sees everybody’s jobs and uploads, rather than their own.',
});
export const CompanyView = Type.Object({
  id: Type.String(),
  name: Type.String(),
  plan: Type.String(),
  history: Type.String(),
  allowNSFW: Type.Boolean(),
  sharesWork: SharesWork,
  suspended: Type.Boolean(),
  createdAt: Type.String(),
});
export const History = Type.Union([Type.Literal('none'), Type.Literal('encrypted')], {
  description: 'none: prompts are not kept. encrypted: they are, for as long as the plan says.',
});
export const CompanyBody = Type.Object(
  { name: Type.Optional(Name), history: Type.Optional(History), sharesWork: Type.Optional(SharesWork) },
  { ...closed, minProperties: 1 },
);

const KeepJobs = Type.Boolean({
  default: false,
  description: 'Lets the jobs go on that were asked for; otherwise they end, uncharged.',
});
/** How a key is revoked. */
export const RevokeQuery = Type.Object({ keepJobs: Type.Optional(KeepJobs) }, closed);

export const PersonBody = Type.Object(
  {
    role: Type.Optional(Role),
    disabled: Type.Optional(Type.Boolean()),
    keepJobs: Type.Optional(KeepJobs),
    models: Type.Optional(Nullable(Patterns)),
    features: Type.Optional(Nullable(Patterns)),
  },
  { ...closed, minProperties: 1 },
);

export const InvitationBody = Type.Object({ email: Email, role: Type.Optional(Role) }, closed);
export const InvitationView = Type.Object({
  id: Type.String(),
  email: Type.String(),
  role: Role,
  plan: Nullable(Type.String()),
  credits: Type.Integer(),
  createdAt: Type.String(),
  expiresAt: Type.String(),
});

const Expiry = Type.String({ maxLength: 40, description: 'ISO date and time.' });
export const KeyBody = Type.Object(
  {
    name: Name,
    expiresAt: Type.Optional(Nullable(Expiry)),
    models: Type.Optional(Nullable(Patterns)),
    features: Type.Optional(Nullable(Patterns)),
  },
  closed,
);
export const RotateBody = Type.Object(
  {
    graceSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: limits.key.maxGraceMs / 1000,
        default: limits.key.defaultGraceMs / 1000,
        description: 'How long the old key goes on working.',
      }),
    ),
  },
  closed,
);
export const KeyView = Type.Object({
  id: Type.String(),
  name: Type.String(),
  prefix: Type.String(),
  lastFour: Type.String(),
  createdBy: Nullable(Type.String()),
  models: Nullable(Patterns),
  features: Nullable(Patterns),
  createdAt: Type.String(),
  expiresAt: Nullable(Type.String()),
  revokedAt: Nullable(Type.String()),
  rotatedTo: Nullable(Type.String()),
  lastUsedAt: Nullable(Type.String()),
});
export const MadeKeyView = Type.Object({
  key: Type.String({ description: 'The key itself, shown only now.' }),
  ...KeyView.properties,
});

/** To be sure that it is the person who wants it. */
export const EraseBody = Type.Object({ password: GivenPassword }, closed);

export const HistoryView = Type.Object({
  id: Type.String(),
  at: Type.String(),
  key: Type.String({ description: 'The key that asked, or the person where one signed in.' }),
  user: Nullable(Type.String()),
  feature: Type.String(),
  model: Type.String(),
  status: Type.String({ description: 'ok, failed, refused or abandoned.' }),
  error: Nullable(Type.String()),
  promptTokens: Type.Integer(),
  completionTokens: Type.Integer(),
  images: Type.Integer(),
  queueMs: Type.Integer(),
  runMs: Type.Integer(),
  gpuSeconds: Type.Number(),
  credits: Type.Integer({ description: 'What was charged.' }),
  prompts: Type.Unknown({ description: 'What was asked, where the company has it kept; null otherwise.' }),
});

export const IdParams = Type.Object({ id: Type.String({ minLength: 1, maxLength: 60 }) });
export const Counted = Type.Object({ removed: Type.Integer() });
export const Nothing = Type.Null();
