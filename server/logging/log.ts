import { mkdirSync } from 'node:fs';
import { type Logger, multistream, pino } from 'pino';
import pretty from 'pino-pretty';
import { createStream } from 'rotating-file-stream';

export interface Log {
  readonly logger: Logger;
  close(): Promise<void>;
}

/** Header and field names whose values never reach a log, wherever they appear near the surface. */
const secret = [
  'authorization',
  'x-api-key',
  'cookie',
  'apiKey',
  'apiToken',
  'token',
  'password',
  'prompt',
  'messages',
];

/** JSON lines in one file a day; on a terminal also lines for people. */
export function openLog(folder: string, options: { level: string; files: number; terminal: boolean }): Log {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = createStream('kilnhouse.log', {
    path: folder,
    interval: '1d',
    size: '50M',
    maxFiles: options.files,
    history: 'rotated.txt',
  });
  const level = options.level as 'info';
  const streams = [{ stream: file, level }];
  const forPeople = pretty({
    colorize: true,
    destination: 2,
    ignore: 'pid,hostname,reqId',
    singleLine: true,
  });
  const logger = pino(
    {
      level,
      redact: {
        paths: secret.flatMap((name) => [`["${name}"]`, `*["${name}"]`, `*.*["${name}"]`]),
        censor: '(hidden)',
      },
    },
    multistream(options.terminal ? [...streams, { stream: forPeople, level: 'warn' as const }] : streams),
  );
  return {
    logger,
    close: () => {
      // Work that is only now coming to its end may still want to say so.
      logger.level = 'silent';
      return new Promise((resolve) => file.end(() => resolve()));
    },
  };
}
