/** One NVIDIA card as read from `nvidia-smi -q -x`. Null means the driver did not say, never zero. */
export interface CardSample {
  readonly uuid: string | null;
  readonly name: string;
  readonly driver: string | null;
  readonly totalBytes: number;
  readonly usedBytes: number;
  readonly utilization: number | null;
  readonly temperatureC: number | null;
  readonly powerWatts: number | null;
  readonly powerLimitWatts: number | null;
  readonly processes: readonly CardProcess[];
}

export interface CardProcess {
  readonly pid: number;
  readonly name: string;
  /** Null on Windows, where the driver does not know it. */
  readonly usedBytes: number | null;
}

const mib = 1024 ** 2;

/**
 * Reads the object that node-nvidia-smi makes of the XML. Element names moved between driver versions (power, from
 * about 535 on), one card is an object and several are an array, and any leaf may be "N/A" or a sentence.
 * Returns no card when the text is not a reading at all.
 */
export function parseSmi(parsed: unknown): CardSample[] {
  const log = get(parsed, 'nvidia_smi_log');
  const driver = text(get(log, 'driver_version'));
  const cards: CardSample[] = [];
  for (const gpu of list(get(log, 'gpu'))) {
    const memory = get(gpu, 'fb_memory_usage');
    const total = number(get(memory, 'total'));
    const used = number(get(memory, 'used'));
    const free = number(get(memory, 'free'));
    // "used" leaves out what the driver reserves; total less free is what nobody can have.
    const taken = total !== null && free !== null ? Math.max(total - free, used ?? 0) : used;
    if (total === null || total <= 0 || taken === null || taken < 0 || taken > total) continue;
    const power = get(gpu, 'gpu_power_readings') ?? get(gpu, 'power_readings');
    cards.push({
      uuid: text(get(gpu, 'uuid')),
      name: text(get(gpu, 'product_name')) ?? 'NVIDIA GPU',
      driver,
      totalBytes: total * mib,
      usedBytes: taken * mib,
      utilization: fraction(number(get(get(gpu, 'utilization'), 'gpu_util'))),
      temperatureC: number(get(get(gpu, 'temperature'), 'gpu_temp')),
      powerWatts: first(power, ['power_draw', 'instant_power_draw', 'average_power_draw']),
      powerLimitWatts: first(power, ['current_power_limit', 'enforced_power_limit', 'power_limit']),
      processes: processesOf(gpu),
    });
  }
  return cards;
}

function processesOf(gpu: unknown): CardProcess[] {
  const found: CardProcess[] = [];
  for (const entry of list(get(get(gpu, 'processes'), 'process_info'))) {
    const pid = number(get(entry, 'pid'));
    if (pid === null) continue;
    const used = number(get(entry, 'used_memory'));
    found.push({
      pid,
      name: text(get(entry, 'process_name')) ?? `process ${pid}`,
      usedBytes: used === null ? null : used * mib,
    });
  }
  return found;
}

function get(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

function list(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  return typeof value === 'object' && value !== null ? [value] : [];
}

function text(value: unknown): string | null {
  if (typeof value !== 'string') return null;
  const trimmed = value.trim();
  return trimmed === '' || /^\[?(N\/A|Not Supported|Unknown Error)\]?$/i.test(trimmed) ? null : trimmed;
}

/** The number at the start of "8192 MiB", "54 %" or "112,35 W"; null for anything else. */
function number(value: unknown): number | null {
  const match = /^(-?\d+(?:[.,]\d+)?)(?:\s|$)/.exec(text(value) ?? '');
  return match?.[1] === undefined ? null : Number(match[1].replace(',', '.'));
}

function fraction(percent: number | null): number | null {
  return percent === null ? null : Math.min(1, Math.max(0, percent / 100));
}

function first(value: unknown, keys: readonly string[]): number | null {
  for (const key of keys) {
    const found = number(get(value, key));
    if (found !== null) return found;
  }
  return null;
}
