import { childVariable, ownerVariable } from './child-env.ts';
import * as linux from './processes.linux.ts';
import * as windows from './processes.win32.ts';

/** Whose a process is: `owner` names the installation, `child` one program of it. */
export interface Mark {
  readonly owner: string;
  readonly child?: string;
}

/** What is needed of the operating system to end what we started, and nothing else. */
export interface Processes {
  /**
   * A name for a process that a later process with the same pid does not share; null when it is gone. Rejects where the
   * system could not be asked.
   */
  identity(pid: number): Promise<{ startTime: string; executable: string } | null>;
  /** Signals a whole process group (a tree on Windows). A group that is gone is no error. */
  kill(pid: number, force: boolean): Promise<void>;
  /**
   * The living processes of an installation, or of one of its children, found by the marks in their environment. The
   * owner is always part of the question: two installations on one machine may name their children alike.
   */
  marked(mark: Mark): Promise<number[]>;
  /** Who listens on a port; null where the system does not tell. */
  listeners(port: number): Promise<number[] | null>;
}

export const processes: Processes = {
  async identity(pid) {
    if (process.platform === 'win32') return windows.identityOf(pid);
    if (process.platform === 'linux') return linux.identityOf(pid);
    return alive(pid) ? { startTime: 'unknown', executable: 'unknown' } : null;
  },
  async kill(pid, force) {
    if (process.platform === 'win32') return windows.killTree(pid, force);
    const signal = force ? 'SIGKILL' : 'SIGTERM';
    // The group first; a process that left its group (setsid) is its own.
    for (const target of [-pid, pid]) {
      try {
        process.kill(target, signal);
      } catch {
        // Gone already.
      }
    }
  },
  async marked(mark) {
    if (process.platform !== 'linux') return [];
    return linux.processesWith({
      [ownerVariable]: mark.owner,
      ...(mark.child !== undefined && { [childVariable]: mark.child }),
    });
  },
  async listeners(port) {
    return process.platform === 'linux' ? linux.listenersOn(port) : null;
  },
};

export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
