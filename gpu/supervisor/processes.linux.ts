import { readdir, readFile, readlink } from 'node:fs/promises';

/*
 * What Linux tells of processes, from /proc (proc(5)). Every function takes a process that is gone, or that we may
 * not look at, as "not found".
 */

/** When a process started, in clock ticks since boot, and its executable: together they name it for good. */
export async function identityOf(pid: number): Promise<{ startTime: string; executable: string } | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The second field is the name in parentheses and may hold anything; the state follows it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const startTime = fields[19];
    if (startTime === undefined || fields[0] === 'Z') return null;
    return { startTime, executable: await readlink(`/proc/${pid}/exe`) };
  } catch {
    return null;
  }
}

/** The processes whose environment holds all of these variables: ours and what ours started, wherever they went. */
export async function processesWith(variables: Readonly<Record<string, string>>): Promise<number[]> {
  const wanted = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
  const found = await Promise.all(
    (await allPids()).map(async (pid) => {
      try {
        const environ = (await readFile(`/proc/${pid}/environ`, 'latin1')).split('\0');
        return wanted.every((pair) => environ.includes(pair)) && (await identityOf(pid)) ? pid : null;
      } catch {
        return null;
      }
    }),
  );
  return found.filter((pid) => pid !== null);
}

/** The processes that listen on a TCP port of this machine; empty when nobody does. */
export async function listenersOn(port: number): Promise<number[]> {
  const inodes = new Set<string>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const text = await readFile(table, 'utf8').catch(() => '');
    for (const line of text.split('\n').slice(1)) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      const isListening = state === '0A';
      if (isListening && inode && Number.parseInt(local?.split(':')[1] ?? '', 16) === port) inodes.add(inode);
    }
  }
  if (inodes.size === 0) return [];
  const owners = await Promise.all(
    (await allPids()).map(async (pid) => {
      try {
        for (const fd of await readdir(`/proc/${pid}/fd`)) {
          const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
          const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
          if (inode && inodes.has(inode)) return pid;
        }
      } catch {
        return null;
      }
      return null;
    }),
  );
  return owners.filter((pid) => pid !== null);
}

async function allPids(): Promise<number[]> {
  const names = await readdir('/proc').catch(() => []);
  return names.filter((name) => /^\d+$/.test(name)).map(Number);
}
