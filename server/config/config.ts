import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Static, type TSchema, Type } from 'typebox';
import { checked, InvalidValue, parseChecked } from './checked.ts';
import { readTextFile } from './text-file.ts';
import { shutOutOthers } from './private-folder.ts';

const Port = (value: number, description: string) =>
  Type.Integer({ minimum: 0, maximum: 65_535, default: value, description });
const Flag = (value: boolean, description: string) => Type.Boolean({ default: value, description });
const Mib = (value: number, description: string) => Type.Integer({ minimum: 0, default: value, description });
const Optional = <S extends TSchema>(schema: S, description: string) =>
  Type.Union([schema, Type.Null()], { default: null, description });
/** What a path in the settings has to lead to. `folder to write` need not be there yet. */
export type PathKind = 'folder' | 'folder to write' | 'file' | 'program';
/** A path, as people paste it: quotes around it and spaces beside it are taken off, and ~ is the home folder. */
const PathTo = (kind: PathKind, description: string) =>
  Type.Union([Type.String({ minLength: 1 }), Type.Null()], { default: null, description, pathTo: kind });
/** Shown to nobody once it is set. */
const Secret = (description: string) =>
  Type.Union([Type.String(), Type.Null()], { default: null, description, writeOnly: true });
const group = <P extends Record<string, TSchema>>(properties: P, description: string) =>
  Type.Object(properties, { additionalProperties: false, default: {}, description });

const Profile = {
  slots: Optional(
    Type.Integer({ minimum: 1, maximum: 64 }),
    'Requests at once; chosen by the card when null.',
  ),
  contextLength: Optional(Type.Integer({ minimum: 256 }), 'Tokens of context; chosen by the card when null.'),
  gpuRatio: Optional(
    Type.Number({ minimum: 0, maximum: 1 }),
    'Part of the layers on the GPU, 0 to 1; the engine decides when null.',
  ),
};

/** Every setting of the appliance, with its default and what it is for. docs/configuration.md is made from this. */
export const Config = Type.Object(
  {
    $schema: Type.Optional(Type.String()),
    tenant: group(
      {
        port: Port(3050, 'Port of the tenant API; 0 takes a free one.'),
        host: Type.String({
          default: '127.0.0.1',
          description:
            'Address of the tenant API. 0.0.0.0 opens it to the LAN, and is refused while there is no key.',
        }),
        https: Flag(
          false,
          'Serve over TLS: with the certificate below, or one that is made here and whose fingerprint is shown.',
        ),
        certificateFile: PathTo('file', 'PEM file of your own certificate.'),
        keyFile: PathTo('file', 'PEM file of its key.'),
        publicUrl: Optional(
          Type.String(),
          'The address tenants use, for links in answers; the listener’s own when null.',
        ),
        origins: Type.Array(
          Type.String({
            pattern: '^(\\*|null|[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#\\s]+)$',
            'x-form': 'an origin such as https://chat.example.com or app://obsidian.md, without a path, or *',
          }),
          {
            default: [],
            description:
              'Origins of web pages that may call the API with a key (CORS), such as `app://obsidian.md`; `*` for all. Cookies are never taken from them. Browsers let no other page call the API while this is empty.',
          },
        ),
      },
      'The API that tenants use.',
    ),
    operator: group(
      {
        port: Port(
          3051,
          'Port of the operator API and its console, always on 127.0.0.1; 0 takes a free one.',
        ),
        isSetUp: Flag(false, 'Whether the console’s first-run steps are done.'),
      },
      'The console and the API that it uses.',
    ),
    demo: Type.Union([Type.Literal('auto'), Type.Literal('always'), Type.Literal('never')], {
      default: 'auto',
      description: 'Stand-ins instead of engines: when none is found (auto), always, or never.',
    }),
    gpu: group(
      {
        uuid: Optional(Type.String(), 'The card to use where there are several; the first one when null.'),
        declaredMib: Optional(
          Type.Integer({ minimum: 256 }),
          'Memory to plan with where no NVIDIA card can be read; half of the system memory, at most 8 GiB, when null.',
        ),
        reserveMib: Mib(256, 'Kept free for the driver and the desktop, over what they use now.'),
        marginMib: Mib(192, 'Kept free for measurement error.'),
        capMib: Optional(Type.Integer({ minimum: 0 }), 'Never use more than this; no cap when null.'),
      },
      'Video memory.',
    ),
    scheduler: group(
      {
        maxWaitSeconds: Type.Integer({
          minimum: 5,
          default: 60,
          description: 'The longest an interactive request waits before a swap to its model begins.',
        }),
        idleUnloadMinutes: Optional(
          Type.Integer({ minimum: 1 }),
          'Unload a model nobody used for so long; never when null.',
        ),
        interactiveQueueSeconds: Type.Integer({
          minimum: 10,
          default: 150,
          description:
            'Interactive work that may wait, in GPU seconds; above it requests are refused with Retry-After.',
        }),
        pinned: Type.Array(Type.String(), {
          default: [],
          description: 'Models that are never unloaded for others.',
        }),
        defaultText: Optional(
          Type.String(),
          'The text model for requests that name none; one that is loaded, or the first, when null.',
        ),
        defaultImage: Optional(Type.String(), 'The image model for requests that name none; likewise.'),
      },
      'The order of work.',
    ),
    lmStudio: group(
      {
        enabled: Flag(true, 'Use LM Studio where it is installed or running.'),
        port: Port(1234, 'Port of its server.'),
        lmsPath: PathTo('program', 'Its lms command; looked for in the usual places when null.'),
        apiToken: Secret('Its API token, where its server demands one.'),
        ...Profile,
      },
      'LM Studio, for text.',
    ),
    webui: group(
      {
        enabled: Flag(true, 'Use a Stable Diffusion web UI where one is running or its folder is set.'),
        port: Port(7861, 'Port of its API.'),
        folder: PathTo('folder', 'Folder of AUTOMATIC1111, Forge or SD.Next, for the appliance to start it.'),
        checkpointsFolder: PathTo(
          'folder to write',
          'Its folder of checkpoints, for downloads; models/Stable-diffusion in its folder when null.',
        ),
        python: PathTo('program', 'Its Python; the venv in its folder when null.'),
        flavour: Optional(
          Type.Union([Type.Literal('automatic1111'), Type.Literal('forge'), Type.Literal('sdnext')]),
          'Which of the three it is; found out when null.',
        ),
        auth: Secret('user:password, where a running one demands it.'),
        args: Optional(Type.Array(Type.String()), 'Arguments instead of the launch profile’s.'),
      },
      'AUTOMATIC1111, Forge or SD.Next, for images.',
    ),
    llamaCpp: group(
      {
        enabled: Flag(true, 'Serve the GGUF files of the models folder with the built-in engine.'),
        modelsFolder: PathTo(
          'folder to write',
          'Folder of GGUF files; "models" in the data folder when null.',
        ),
        ...Profile,
      },
      'llama.cpp, built in, for text.',
    ),
    accounts: group(
      {
        registration: Type.Union([Type.Literal('open'), Type.Literal('invitation'), Type.Literal('closed')], {
          default: 'invitation',
          description: 'Who may make an account: anybody, who was invited, or nobody.',
        }),
        verifyEmail: Flag(
          false,
          'Whether an e-mail address has to be confirmed before its owner is let in. Wants a mail server.',
        ),
        plan: Type.String({ default: 'free', description: 'The plan of companies that register.' }),
        welcomeCredits: Type.Integer({
          minimum: 0,
          maximum: 1_000_000,
          default: 0,
          description: 'Credits that a new company begins with.',
        }),
        callsPerAddress: Type.Integer({
          minimum: 1,
          maximum: 1_000_000,
          default: 100,
          description: 'Calls of the sign-in routes that one network address has in 15 minutes.',
        }),
      },
      'People and companies that sign in.',
    ),
    mail: group(
      {
        host: Optional(
          Type.String({ minLength: 1 }),
          'SMTP server. Without one, messages wait in the outbox for the operator to pass on.',
        ),
        port: Port(587, 'Port of the SMTP server.'),
        secure: Flag(false, 'TLS from the first byte (port 465); otherwise STARTTLS where it is offered.'),
        user: Optional(Type.String(), 'Name to sign in to it with.'),
        password: Secret('Password to sign in to it with.'),
        from: Type.String({ default: 'Kilnhouse <kilnhouse@localhost>', description: 'Sender of messages.' }),
      },
      'E-mail.',
    ),
    webhooks: group(
      {
        allow: Type.Array(
          Type.String({
            pattern: '^([0-9]{1,3}(\\.[0-9]{1,3}){3}(/[0-9]{1,2})?|[0-9a-fA-F:]+(/[0-9]{1,3})?)$',
            'x-form': 'an address or a network, such as 192.168.1.20 or 192.168.1.0/24',
          }),
          {
            default: [],
            description:
              'Addresses or ranges (10.0.0.0/8) beside the internet that tenants may have told of events. Empty: none.',
          },
        ),
      },
      'What tenants’ own servers are told.',
    ),
    moderation: group(
      {
        imageThreshold: Type.Number({
          minimum: 0,
          maximum: 1,
          default: 0.7,
          description:
            'How sure the classifier has to be that a picture is explicit, for tenants without allowNSFW not to get it: 0 blocks all, 1 nearly none.',
        }),
      },
      'What is in pictures.',
    ),
    storage: group(
      { floorMib: Mib(512, 'Free disk below which no new files of tenants are taken.') },
      'Files of tenants.',
    ),
    usage: group(
      {
        timeZone: Optional(
          Type.String({ minLength: 1, maxLength: 60 }),
          'Where the days of usage begin and end, such as Europe/Berlin; the time zone of this machine when null.',
        ),
      },
      'Statistics.',
    ),
    tunnel: group(
      {
        enabled: Flag(false, 'Open a Cloudflare Tunnel to the tenant API at the start.'),
        cloudflared: PathTo('program', 'The cloudflared program; looked for on the PATH when null.'),
        token: Secret(
          'Token of a named tunnel, from Cloudflare’s dashboard. Without one, a quick tunnel gets another address at each start.',
        ),
        address: Optional(
          Type.String({ pattern: '^https://', 'x-form': 'an address that begins with https://' }),
          'The public address of the named tunnel, as it was set in the dashboard.',
        ),
      },
      'The way from the internet to the tenant API, and to nothing else.',
    ),
    backup: group(
      {
        enabled: Flag(true, 'Make a backup every day.'),
        folder: PathTo(
          'folder to write',
          'Where backups go: another disk, best of all; "backups" in the data folder when null.',
        ),
        keepDays: Type.Integer({
          minimum: 1,
          maximum: 3_650,
          default: 30,
          description: 'How long they are kept.',
        }),
      },
      'Backups of the database, the settings and, once a week, tenants’ files.',
    ),
    payments: group(
      {
        stripeSecretKey: Secret('Secret key of Stripe. Without it there are no payments.'),
        stripeWebhookSecret: Secret(
          'Signing secret of the webhook <public address>/api/v1/payments/webhook. Without it there are no payments.',
        ),
        stripeUrl: Optional(Type.String(), 'Another address than Stripe’s, for trying things out.'),
      },
      'Payments, through Stripe.',
    ),
    log: group(
      {
        level: Type.Union(
          [
            Type.Literal('trace'),
            Type.Literal('debug'),
            Type.Literal('info'),
            Type.Literal('warn'),
            Type.Literal('error'),
          ],
          { default: 'info', description: 'How much is logged.' },
        ),
        files: Type.Integer({
          minimum: 1,
          maximum: 100,
          default: 7,
          description: 'Log files kept, one a day.',
        }),
      },
      'Logs, in the folder "logs" of the data folder.',
    ),
  },
  { additionalProperties: false },
);
export type Config = Static<typeof Config>;

export interface LoadedConfig {
  readonly config: Config;
  readonly folder: string;
  readonly file: string;
  /** What `config` was read from, without what variables say. */
  readonly text: string;
  /** Why the settings in `file` are not the ones in effect; null when they are. */
  readonly fault: string | null;
}

/** Where the data lies: KILNHOUSE_DATA, or a folder in the home folder. */
export function dataFolder(env: NodeJS.ProcessEnv): string {
  return pathAsMeant(env['KILNHOUSE_DATA'] ?? '') || join(homedir(), '.kilnhouse');
}

/** Reads the settings, making the folder and an empty file on the first start. Throws InvalidValue. */
export function loadConfig(env: NodeJS.ProcessEnv = process.env): LoadedConfig {
  const folder = dataFolder(env);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  shutOutOthers(folder, (message) => void process.stderr.write(`${message}\n`));
  const file = join(folder, 'config.json');
  if (!existsSync(file)) writeFileSync(file, '{\n  "$schema": "./config.schema.json"\n}\n', { mode: 0o600 });
  writeFileSync(join(folder, 'config.schema.json'), `${JSON.stringify(Config, null, 2)}\n`);
  const text = readTextFile(file);
  return { folder, file, text, fault: null, config: override(parseChecked(Config, text, file), env) };
}

/** One setting that stands alone: its path, schema and the variable that overrides it. */
export interface Setting {
  readonly path: readonly string[];
  readonly variable: string;
  readonly schema: TSchema & { default?: unknown; description?: string };
}

/** All settings, in the order of the schema. `gpu.capMib` is overridden by KILNHOUSE_GPU_CAP_MIB. */
export function settings(schema: TSchema = Config, path: readonly string[] = []): Setting[] {
  const properties = 'properties' in schema ? (schema.properties as Record<string, TSchema>) : null;
  if (!properties) return [{ path, schema, variable: variableOf(path) }];
  return Object.entries(properties)
    .filter(([key]) => key !== '$schema')
    .flatMap(([key, inner]) => settings(inner, [...path, key]));
}

function variableOf(path: readonly string[]): string {
  return `KILNHOUSE_${path
    .join('_')
    .replaceAll(/([a-z])([A-Z])/g, '$1_$2')
    .toUpperCase()}`;
}

/** The settings of the file, with what variables say instead. Throws InvalidValue. */
export function override(config: Config, env: NodeJS.ProcessEnv): Config {
  const changed = structuredClone(config) as Record<string, unknown>;
  for (const { path, variable } of settings()) {
    const text = env[variable];
    if (text === undefined || text === '') continue;
    const [name = '', inner] = path;
    const value = valueOf(name === 'demo' ? (demoWords[text] ?? text) : text);
    if (inner === undefined) changed[name] = value;
    else (changed[name] as Record<string, unknown>)[inner] = value;
    try {
      checked(Config, changed, variable);
    } catch (error) {
      throw new InvalidValue(
        `The variable ${variable}`,
        '',
        `is "${text}", which is not allowed: ${String(error)}`,
      );
    }
  }
  for (const setting of settings()) {
    if (pathKindOf(setting) === null) continue;
    const path = valueAt(changed as Config, setting.path);
    if (typeof path !== 'string') continue;
    // "C:\new" has a line break in it, where "C:\\new" was meant.
    if (/\p{Cc}/u.test(path))
      throw new InvalidValue(
        'config.json',
        setting.path.join('.'),
        'holds a line break or another control character. In JSON a backslash is written twice: "C:\\\\models"',
      );
    writeAt(changed, setting.path, pathAsMeant(path));
  }
  return checked(Config, changed, 'settings');
}

/** What the path in a setting has to lead to; null for a setting that is no path. */
export function pathKindOf({ schema }: Setting): PathKind | null {
  return 'pathTo' in schema ? (schema.pathTo as PathKind) : null;
}

/** A path without the quotes that "Copy as path" and `set NAME="..."` leave around it, and with ~ as the home folder. */
function pathAsMeant(path: string): string {
  const bare = path.trim().replace(/^"(.*)"$/, '$1');
  return /^~(?=$|[\\/])/.test(bare) ? join(homedir(), bare.slice(1)) : bare;
}

export function valueAt(config: Config, path: readonly string[]): unknown {
  let value: unknown = config;
  for (const name of path) value = (value as Record<string, unknown>)[name];
  return value;
}

/** Settings lie one group deep, or stand alone. */
export function writeAt(
  into: Record<string, unknown>,
  [name = '', inner]: readonly string[],
  value: unknown,
): void {
  if (inner === undefined) {
    if (value === undefined) delete into[name];
    else into[name] = value;
    return;
  }
  const group = { ...(into[name] as Record<string, unknown> | undefined) };
  if (value === undefined) delete group[inner];
  else group[inner] = value;
  into[name] = group;
}

const demoWords: Readonly<Record<string, string>> = { '1': 'always', '0': 'never' };

/** Numbers, true, false, null and lists as JSON; anything else is text. */
function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
