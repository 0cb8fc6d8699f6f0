import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * What a stand-in does wrong, by name; the F numbers are those of the fault list in docs/reliability.md. Set in the
 * file `faults` of the stand-in's folder (read anew each time, so that a fault can begin while it runs) or in
 * STANDIN_FAULTS, as words separated by commas, some with a value: `slow_start=120000`.
 */
export const faultNames = {
  never_listens: 'F16: starts and never opens its port',
  slow_start: 'F16: opens its port after so many milliseconds',
  exit_at_once: 'F16: ends at once with code 0',
  crash_at_start: 'F16: ends at once with code 139',
  hang_first_byte: 'F17: takes a request and never answers',
  hang_mid_stream: 'F17: falls silent in the middle of a stream',
  hang_before_done: 'F17: falls silent after the last token',
  half_stream: 'F18: breaks the connection in the middle of a stream',
  no_terminator: 'F18: ends a stream without [DONE]',
  status: 'F19: answers every piece of work with this status',
  html: 'F19: answers 200 with a web page',
  wrong_content_type: 'F19: says text/plain',
  wrong_content_length: 'F19: promises more bytes than it sends',
  chunk_garbage: 'F19: sends a stream of things that are no events',
  invalid_utf8: 'F20: sends bytes that are no text',
  split_code_point: 'F20: cuts characters between pieces',
  long_line: 'F20: sends one endless line',
  control_characters: 'F20: sends NUL and terminal codes',
  wrong_model: 'F21: answers in the name of another model',
  out_of_memory: 'F22: answers with CUDA out of memory',
  out_of_memory_on_load: 'F22: cannot load for lack of memory',
  die_in_work: 'F22: dies with code 137 in the middle of work',
  ignore_term: 'F23: ignores SIGTERM',
  fork: 'F23: starts a child that ignores SIGTERM',
  daemonise: 'F23: starts a child in a session of its own',
  vram_lag: 'F24: video memory comes back after so many milliseconds',
  smi_hang: 'F25: nvidia-smi never answers',
  smi_fail: 'F25: nvidia-smi says that it failed',
  smi_localised: 'F25: nvidia-smi writes decimal commas',
  smi_not_available: 'F25: nvidia-smi says N/A to everything',
  dead_completions: 'F27: lists models and generates nothing',
  latency: 'F28: every answer takes so many milliseconds longer',
  log_flood: 'P8: writes without end to its log',
  base64_vectors: 'F19: sends vectors as base64 when asked to, which the real one does not',
  error_200: 'F19: answers 200 with an error in it',
  path_names: 'F30: names its files ../../etc/passwd',
} as const;
export type Fault = keyof typeof faultNames;

/** The value of a fault (1 where it has none), or null when it is not set. */
export function fault(folder: string, name: Fault): number | null {
  for (const word of `${read(folder)},${process.env['STANDIN_FAULTS'] ?? ''}`.split(/[,\s]+/)) {
    const [key, value] = word.split('=');
    if (key === name) return value === undefined ? 1 : Number(value);
  }
  return null;
}

function read(folder: string): string {
  try {
    return readFileSync(join(folder, 'faults'), 'utf8');
  } catch {
    return '';
  }
}
