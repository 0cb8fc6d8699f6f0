import { setTimeout as delay } from 'node:timers/promises';

const speed = Number(process.env['STANDIN_SPEED'] ?? '1');

/** Waits as long as the real thing would take, divided by STANDIN_SPEED. */
export function takes(ms: number, signal?: AbortSignal): Promise<void> {
  return delay(ms / speed, undefined, signal ? { signal } : {});
}
