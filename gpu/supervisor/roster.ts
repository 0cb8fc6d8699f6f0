import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Processes } from './processes.ts';

export interface Enrolled {
  readonly pid: number;
  readonly child: string;
  readonly startTime: string;
  readonly executable: string;
}

/**
 * The processes we started, written down so that the next boot can end what a crash left behind. A process is ours
 * only if pid, start time and executable all match (P2): pids are reused.
 */
export class Roster {
  readonly #file: string;
  readonly #entries = new Map<number, Enrolled>();

  constructor(file: string) {
    this.#file = file;
  }

  add(entry: Enrolled): void {
    this.#entries.set(entry.pid, entry);
    this.#save();
  }

  remove(pid: number): void {
    if (this.#entries.delete(pid)) this.#save();
  }

  /** Ends what an earlier run left; returns what was ended. Run once, before anything is started. */
  async reap(processes: Processes, owner: string): Promise<Enrolled[]> {
    const reaped: Enrolled[] = [];
    for (const entry of this.#read()) {
      // Where the system does not tell, nobody is ended on a guess.
      const identity = await processes.identity(entry.pid).catch(() => null);
      if (identity?.startTime !== entry.startTime || identity.executable !== entry.executable) continue;
      await processes.kill(entry.pid, true);
      reaped.push(entry);
    }
    for (const pid of await processes.marked({ owner })) {
      await processes.kill(pid, true);
      if (!reaped.some((entry) => entry.pid === pid)) {
        reaped.push({ pid, child: 'unknown', startTime: '', executable: '' });
      }
    }
    this.#save();
    return reaped;
  }

  #read(): Enrolled[] {
    try {
      const parsed: unknown = JSON.parse(readFileSync(this.#file, 'utf8'));
      return Array.isArray(parsed) ? parsed.filter(isEnrolled) : [];
    } catch {
      return [];
    }
  }

  #save(): void {
    mkdirSync(dirname(this.#file), { recursive: true });
    const draft = `${this.#file}.new`;
    writeFileSync(draft, JSON.stringify([...this.#entries.values()], null, 2), { mode: 0o600 });
    renameSync(draft, this.#file);
  }
}

function isEnrolled(value: unknown): value is Enrolled {
  if (typeof value !== 'object' || value === null) return false;
  const { pid, startTime, executable } = value as Record<string, unknown>;
  return (
    typeof pid === 'number' && pid > 1 && typeof startTime === 'string' && typeof executable === 'string'
  );
}
