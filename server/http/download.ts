import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { stringify } from 'csv-stringify';
import { paced } from '../db/in-turns.ts';

type Lines = Iterable<object> | AsyncIterable<object>;

/** A file of JSON lines, made while it is sent. */
export function sendLines(reply: FastifyReply, name: string, lines: Lines): FastifyReply {
  return sendFile(reply, name, 'application/x-ndjson', Readable.from(jsonLines(lines)));
}

/**
 * A table, made while it is sent. What a spreadsheet would take for a formula is defused: a name must not run in the
 * reader's office (F48).
 */
export function sendTable(
  reply: FastifyReply,
  name: string,
  columns: readonly string[],
  rows: Lines,
): FastifyReply {
  const table = stringify({
    header: true,
    columns: [...columns],
    escape_formulas: true,
    cast: { object: (value) => JSON.stringify(value) },
  });
  return sendFile(reply, name, 'text/csv; charset=utf-8', Readable.from(paced(rows)).compose(table));
}

function sendFile(reply: FastifyReply, name: string, type: string, content: Readable): FastifyReply {
  return reply
    .headers({
      'content-type': type,
      'content-disposition': `attachment; filename="${name}"`,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    })
    .send(content);
}

async function* jsonLines(lines: Lines): AsyncGenerator<string> {
  for await (const line of paced(lines)) yield `${JSON.stringify(line)}\n`;
}
