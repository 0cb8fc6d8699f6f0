import { openWork, type Status } from './status.ts';

/** What a press on an item does, as data. */
export type Action =
  | { readonly do: 'open-console' }
  | { readonly do: 'copy'; readonly text: string }
  | { readonly do: 'load' | 'unload'; readonly model: string }
  | {
      readonly do: 'pause';
      readonly minutes?: number;
      readonly whileProcess?: number;
      readonly stop?: boolean;
    }
  | { readonly do: 'resume' }
  | { readonly do: 'tunnel'; readonly on: boolean }
  | { readonly do: 'start-with-system'; readonly on: boolean }
  | { readonly do: 'update' | 'skip-update'; readonly version: string }
  | { readonly do: 'restart-server' }
  | { readonly do: 'quit' };

export type Item =
  | { readonly kind: 'line' }
  | { readonly kind: 'text'; readonly label: string }
  | { readonly kind: 'press'; readonly label: string; readonly action: Action; readonly enabled?: boolean }
  | { readonly kind: 'check'; readonly label: string; readonly checked: boolean; readonly action: Action }
  | { readonly kind: 'menu'; readonly label: string; readonly items: readonly Item[] };

const line: Item = { kind: 'line' };

/** The tray's menu. Pure. */
export function trayMenu(status: Status): Item[] {
  const { server, state, update, startsWithSystem } = status;
  const end: Item[] = [
    {
      kind: 'check',
      label: 'Start with the system',
      checked: startsWithSystem,
      action: { do: 'start-with-system', on: !startsWithSystem },
    },
    ...updateItems(update),
    line,
    { kind: 'press', label: 'Quit Kilnhouse', action: { do: 'quit' } },
  ];
  if (server !== 'serving' || !state) {
    const restart: Item[] =
      server === 'failed'
        ? [{ kind: 'press', label: 'Start it again', action: { do: 'restart-server' } }]
        : [];
    return [{ kind: 'text', label: headings[server] }, ...restart, line, ...end];
  }
  return [
    { kind: 'text', label: memoryLine(status) },
    { kind: 'text', label: workLine(status) },
    ...Object.values(state.alerts).map((alert): Item => ({ kind: 'text', label: `⚠ ${alert.title}` })),
    line,
    { kind: 'press', label: 'Open the console', action: { do: 'open-console' } },
    ...modelItems(status),
    ...pauseItems(status),
    line,
    {
      kind: 'press',
      label: 'Copy the API address',
      action: { do: 'copy', text: `${state.tunnel.address ?? state.tenantUrl}/v1` },
    },
    tunnelItem(state.tunnel.state),
    ...end,
  ];
}

/** What is read when the pointer rests on the icon. Pure. */
export function trayTip(status: Status): string {
  const { server, state } = status;
  if (server !== 'serving' || !state) return `Kilnhouse: ${headings[server].toLowerCase()}`;
  const mode = state.gpu.mode === 'running' ? servingWords(state) : 'paused';
  return `Kilnhouse: ${mode}, ${memoryLine(status)}`;
}

/** Stopped engines are the operator's own wish, and still mean that not everything is served. */
function servingWords({ engines }: NonNullable<Status['state']>): string {
  const all = Object.values(engines);
  const stopped = all.filter(({ health }) => health === 'stopped');
  if (stopped.length === 0) return 'serving';
  return stopped.length === all.length ? 'stopped' : 'partly serving';
}

const headings: Readonly<Record<Status['server'], string>> = {
  starting: 'Starting…',
  serving: 'Connecting…',
  restarting: 'Starting anew…',
  failed: 'It does not start',
  ended: 'Ending…',
};

function memoryLine({ state }: Status): string {
  if (!state) return '';
  const { totalBytes, reservedBytes, othersBytes, excessBytes } = state.gpu;
  return `VRAM ${gb(reservedBytes + othersBytes + excessBytes)} of ${gb(totalBytes)} GB`;
}

function workLine({ state }: Status): string {
  if (!state) return '';
  const tenants = Object.keys(state.running).length;
  const work = openWork(state);
  if (work === 0 && tenants === 0) return 'Nobody is served at the moment';
  return `${work} ${work === 1 ? 'request' : 'requests'} of ${tenants} ${tenants === 1 ? 'tenant' : 'tenants'}`;
}

function modelItems({ state }: Status): Item[] {
  const models = Object.values(state?.models ?? {}).toSorted((a, b) => a.id.localeCompare(b.id));
  if (models.length === 0) return [];
  const items = models.map(({ id, phase, vramBytes, obstacle }): Item => {
    const isLoaded = phase !== 'absent';
    const isMoving = phase === 'loading' || phase === 'unloading' || phase === 'draining';
    return {
      kind: 'press',
      label: `${isLoaded ? '● Stop' : '○ Start'} ${id} (${gb(vramBytes)} GB)${isMoving ? `, ${phase}` : ''}`,
      enabled: !isMoving && (isLoaded || !obstacle),
      action: { do: isLoaded ? 'unload' : 'load', model: id },
    };
  });
  return [{ kind: 'menu', label: 'Models', items }];
}

function pauseItems({ state }: Status): Item[] {
  if (!state) return [];
  if (state.gpu.mode !== 'running')
    return [{ kind: 'press', label: 'Give the GPU back to the tenants', action: { do: 'resume' } }];
  const programs = (state.machine?.card?.processes ?? [])
    .filter(({ ours }) => !ours)
    .slice(0, 6)
    .map(({ pid, name, usedBytes }): Item => {
      const size = usedBytes === null || usedBytes === undefined ? '' : ` (${gb(usedBytes)} GB)`;
      return {
        kind: 'press',
        label: `Until ${name.split(/[/\\]/).at(-1)} ends${size}`,
        action: { do: 'pause', whileProcess: pid },
      };
    });
  return [
    {
      kind: 'menu',
      label: 'Take the GPU back',
      items: [
        { kind: 'press', label: 'For an hour', action: { do: 'pause', minutes: 60 } },
        { kind: 'press', label: 'Until I give it back', action: { do: 'pause' } },
        { kind: 'press', label: 'At once, ending what runs', action: { do: 'pause', stop: true } },
        ...(programs.length > 0 ? [line, ...programs] : []),
      ],
    },
  ];
}

function tunnelItem(state: string): Item {
  const isOn = state !== 'off' && state !== 'failed';
  return {
    kind: 'check',
    label: 'Tunnel to the internet',
    checked: isOn,
    action: { do: 'tunnel', on: !isOn },
  };
}

function updateItems(update: Status['update']): Item[] {
  if (update === null) return [];
  const { version, isLoaded } = update;
  return [
    {
      kind: 'press',
      label: isLoaded ? `Restart into ${version}` : `Get version ${version}`,
      action: { do: 'update', version },
    },
    { kind: 'press', label: `Not version ${version}`, action: { do: 'skip-update', version } },
  ];
}

function gb(bytes: number): string {
  return (bytes / 1024 ** 3).toFixed(1);
}
