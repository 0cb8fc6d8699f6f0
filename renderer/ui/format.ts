/* How figures are written: short, with units, the same on every page. */

const gib = 1024 ** 3;

/** 6.4 GB, as graphics cards are sold (GiB); MB below one. */
export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–';
  if (Math.abs(value) >= 1024 * gib) return `${(value / (1024 * gib)).toFixed(1)} TB`;
  if (Math.abs(value) >= gib) return `${(value / gib).toFixed(1)} GB`;
  if (Math.abs(value) >= 1024 ** 2) return `${Math.round(value / 1024 ** 2)} MB`;
  return `${Math.round(value / 1024)} kB`;
}

/** 850 ms, 4.2 s, 3 min 05 s, 2 h 10 min, 3 days. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '–';
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
  return `${Math.floor(minutes / (24 * 60))} days`;
}

export function count(value: number): string {
  return value.toLocaleString('en-GB');
}

export function percent(share: number | null | undefined): string {
  return share === null || share === undefined ? '–' : `${Math.round(share * 100)} %`;
}

/** 14:05:09 today, 20 Nov 14:05 otherwise. `at` is wall-clock milliseconds or an ISO moment. */
export function moment(at: number | string | null | undefined, now = Date.now()): string {
  if (at === null || at === undefined) return '–';
  const date = new Date(at);
  const time = { hour: '2-digit', minute: '2-digit', hour12: false } as const;
  if (date.toDateString() === new Date(now).toDateString())
    return date.toLocaleTimeString('en-GB', { ...time, second: '2-digit' });
  const isThisYear = date.getFullYear() === new Date(now).getFullYear();
  return date.toLocaleString('en-GB', {
    day: 'numeric',
    month: 'short',
    ...(!isThisYear && { year: 'numeric' }),
    ...time,
  });
}
