import type { LaunchProfile } from './engine.ts';

const gib = 1024 ** 3;

/** What the operator set by hand; null or missing leaves the choice to us. */
export interface ProfileOverrides {
  readonly args?: readonly string[] | null;
  readonly slots?: number | null;
  readonly contextLength?: number | null;
  readonly gpuRatio?: number | null;
}

interface Step {
  /** For cards with at least this much VRAM. */
  readonly fromGib: number;
  readonly profile: LaunchProfile;
}

/** Text engines: how long a context and how many requests at once a card has room for beside the weights. */
const textSteps: readonly Step[] = [
  { fromGib: 20, profile: text('text-24g', 'a card of 20 GiB and more', 8, 16_384) },
  { fromGib: 11, profile: text('text-12g', 'a card of 11 to 20 GiB', 4, 8_192) },
  { fromGib: 7, profile: text('text-8g', 'a card of 7 to 11 GiB', 4, 4_096) },
  { fromGib: 0, profile: text('text-small', 'a card below 7 GiB', 2, 2_048) },
];

/**
 * Web UIs. Half precision is their default; cards below 11 GiB also get attention and VAE savings, and move parts
 * of SDXL in and out (`--medvram-sdxl`); below 5 GiB of everything (`--medvram`).
 */
const webuiSteps: readonly Step[] = [
  { fromGib: 11, profile: image('image-12g', 'a card of 11 GiB and more', ['--opt-sdp-attention'], false) },
  {
    fromGib: 5,
    profile: image('image-8g', 'a card of 5 to 11 GiB', ['--opt-sdp-attention', '--medvram-sdxl'], true),
  },
  {
    fromGib: 0,
    profile: image('image-small', 'a card below 5 GiB', ['--opt-sdp-attention', '--medvram'], true),
  },
];

/** Forge ignores the medvram flags and manages memory itself; only a small card needs telling. */
const forgeSteps: readonly Step[] = [
  { fromGib: 5, profile: image('forge', 'Forge manages memory itself', [], true) },
  { fromGib: 0, profile: image('forge-small', 'a card below 5 GiB', ['--always-low-vram'], true) },
];

const steps = { text: textSteps, webui: webuiSteps, forge: forgeSteps } as const;

/** The profile for a card, by its measured VRAM, with the operator's wishes over it. */
export function chooseProfile(
  kind: keyof typeof steps,
  totalBytes: number,
  overrides: ProfileOverrides = {},
): LaunchProfile {
  const chosen = steps[kind].find(({ fromGib }) => totalBytes >= fromGib * gib) ?? steps[kind].at(-1);
  if (!chosen) throw new Error(`no profile for ${kind}`);
  const { profile } = chosen;
  const set = Object.values(overrides).some((value) => value !== null && value !== undefined);
  return {
    ...profile,
    reason: set ? `${profile.reason}, with the operator’s settings` : profile.reason,
    args: overrides.args ?? profile.args,
    slots: overrides.slots ?? profile.slots,
    contextLength: overrides.contextLength ?? profile.contextLength,
    gpuRatio: overrides.gpuRatio ?? profile.gpuRatio,
  };
}

function text(name: string, reason: string, slots: number, contextLength: number): LaunchProfile {
  return {
    name,
    reason,
    args: [],
    slots,
    contextLength,
    gpuRatio: null,
    savesMemory: false,
    workingBytes: 0,
  };
}

function image(name: string, reason: string, args: readonly string[], savesMemory: boolean): LaunchProfile {
  return {
    name,
    reason,
    args,
    slots: 1,
    contextLength: null,
    gpuRatio: null,
    savesMemory,
    workingBytes: (savesMemory ? 0.85 : 1.4) * gib,
  };
}
