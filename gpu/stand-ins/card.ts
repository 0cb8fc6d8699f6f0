import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fault } from './faults.ts';

/**
 * The demonstration's video card: 8 GiB, kept as one small file for each allocation, so that several programs
 * share it and it forgets those that died.
 */
export interface Allocation {
  readonly pid: number;
  readonly program: string;
  readonly mib: number;
  /** Set when it was freed and the driver has not noticed yet: wall-clock milliseconds. */
  readonly until: number | null;
}

export const cardMib = 8_192;
/** What the desktop takes, whatever else happens. */
const desktopMib = 420;

export function allocate(folder: string, name: string, mib: number): void {
  write(folder, name, { pid: process.pid, program: process.argv[1] ?? 'stand-in', mib, until: null });
}

export function release(folder: string, name: string): void {
  const lagMs = fault(folder, 'vram_lag');
  const path = join(folder, 'vram', `${process.pid}-${name}.json`);
  const held = parse(path);
  if (lagMs !== null && held) write(folder, name, { ...held, pid: 1, until: Date.now() + lagMs });
  else rmSync(path, { force: true });
}

/** What is in use now; the dead and the freed no longer count. */
export function allocations(folder: string): Allocation[] {
  let names: string[];
  try {
    names = readdirSync(join(folder, 'vram'));
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    const held = parse(join(folder, 'vram', name));
    if (!held) return [];
    return held.until === null ? (alive(held.pid) ? [held] : []) : held.until > Date.now() ? [held] : [];
  });
}

export function usedMib(folder: string): number {
  return desktopMib + allocations(folder).reduce((sum, { mib }) => sum + mib, 0);
}

function write(folder: string, name: string, allocation: Allocation): void {
  mkdirSync(join(folder, 'vram'), { recursive: true });
  writeFileSync(join(folder, 'vram', `${process.pid}-${name}.json`), JSON.stringify(allocation));
}

function parse(path: string): Allocation | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Allocation;
  } catch {
    return null;
  }
}

/** A zombie, which nobody has collected yet, holds no memory. */
function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return true;
  }
}
