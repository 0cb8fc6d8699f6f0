import { setTimeout as delay } from 'node:timers/promises';
import { alive, type Mark, type Processes } from './processes.ts';

/**
 * Ends a process and all that carries its mark: polite, then forced, then confirmed. Returns the pids that are
 * still there at the deadline, which is none unless the kernel holds one back.
 */
export async function endProcess(
  processes: Processes,
  target: { pid: number | null; mark: Required<Mark> },
  limits: { graceMs: number; deadlineMs: number },
): Promise<number[]> {
  const began = performance.now();
  const remaining = async (): Promise<number[]> => {
    const marked = await processes.marked(target.mark);
    const own =
      target.pid !== null && alive(target.pid) && (await processes.identity(target.pid)) ? [target.pid] : [];
    return [...new Set([...own, ...marked])];
  };
  let forced = false;
  let signalled = new Set<number>();
  for (;;) {
    const left = await remaining();
    const spent = performance.now() - began;
    if (left.length === 0 || spent >= limits.deadlineMs) return left;
    if (!forced && spent >= limits.graceMs) {
      forced = true;
      signalled = new Set();
    }
    for (const pid of left) {
      if (signalled.has(pid)) continue;
      signalled.add(pid);
      await processes.kill(pid, forced);
    }
    await delay(30);
  }
}
