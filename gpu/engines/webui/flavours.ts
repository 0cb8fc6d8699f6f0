/** The three web UIs that speak AUTOMATIC1111's API, and where they differ. */
export interface Flavour {
  readonly name: 'automatic1111' | 'forge' | 'sdnext';
  readonly title: string;
  /** Brings weights back from system memory; null where the next picture does that by itself. */
  readonly reloadPath: string | null;
  /** The flags that make it an API on loopback, quick to start and offline. */
  readonly args: (port: number) => readonly string[];
}

const a1111Args = (port: number): readonly string[] => [
  'launch.py',
  '--nowebui',
  '--api',
  // Without it --nowebui listens on every interface.
  '--server-name',
  '127.0.0.1',
  '--port',
  String(port),
  '--skip-prepare-environment',
  '--skip-load-model-at-start',
  '--no-download-sd-model',
];

export const flavours: Readonly<Record<Flavour['name'], Flavour>> = {
  automatic1111: {
    name: 'automatic1111',
    title: 'AUTOMATIC1111',
    reloadPath: '/sdapi/v1/reload-checkpoint',
    args: a1111Args,
  },
  forge: { name: 'forge', title: 'Forge', reloadPath: null, args: a1111Args },
  sdnext: {
    name: 'sdnext',
    title: 'SD.Next',
    reloadPath: '/sdapi/v1/reload-checkpoint',
    args: (port) => ['launch.py', '--server-name', '127.0.0.1', '--port', String(port)],
  },
};

/** Tells the flavours apart by the paths of the running build's own OpenAPI document. */
export function flavourOf(openApiPaths: readonly string[]): Flavour {
  const has = (path: string): boolean => openApiPaths.includes(`/sdapi/v1/${path}`);
  if (has('sd-modules')) return flavours.forge;
  if (has('status') && has('version')) return flavours.sdnext;
  return flavours.automatic1111;
}
