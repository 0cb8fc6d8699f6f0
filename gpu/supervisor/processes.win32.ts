import { execa } from 'execa';

/** The arguments that end a process and everything it started (taskkill's /T), without asking (/F). */
export function taskkillArguments(pid: number, force: boolean): string[] {
  return force ? ['/PID', String(pid), '/T', '/F'] : ['/PID', String(pid), '/T'];
}

/** Ends a process tree; a process that is already gone is no error. */
export async function killTree(pid: number, force: boolean): Promise<void> {
  await execa('taskkill', taskkillArguments(pid, force), {
    reject: false,
    windowsHide: true,
    timeout: 5_000,
  });
}

/** The query that names a process for good: its creation time and executable. */
export function identityQuery(pid: number): string {
  return `Get-CimInstance Win32_Process -Filter "ProcessId=${pid}" | ForEach-Object { $_.CreationDate.ToFileTimeUtc().ToString() + '|' + $_.ExecutablePath }`;
}

export async function identityOf(pid: number): Promise<{ startTime: string; executable: string } | null> {
  const { stdout, failed } = await execa('powershell', ['-NoProfile', '-Command', identityQuery(pid)], {
    reject: false,
    windowsHide: true,
    timeout: 10_000,
  });
  // A program that could not be spawned has no output.
  if (failed || typeof stdout !== 'string')
    throw new Error('PowerShell did not say which processes there are.');
  const [startTime, executable] = stdout.trim().split('|');
  return startTime && executable ? { startTime, executable } : null;
}
