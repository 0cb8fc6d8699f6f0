const gib = 1024 ** 3;

export interface DemoModel {
  readonly key: string;
  readonly type: 'llm' | 'embedding';
  readonly title: string;
  readonly sizeBytes: number;
  readonly mib: number;
  readonly loadMs: number;
  readonly tokensPerSecond: number;
  readonly vision: boolean;
}

/** An 8B model that fills most of an 8 GiB card, a 3B one that fits beside a picture, and one that fits nowhere. */
export const demoModels: readonly DemoModel[] = [
  {
    key: 'demo-chat-8b',
    type: 'llm',
    title: 'Demo Chat 8B (stand-in)',
    sizeBytes: Math.round(4.4 * gib),
    mib: 5_120,
    loadMs: 6_000,
    tokensPerSecond: 35,
    vision: false,
  },
  {
    key: 'demo-chat-3b',
    type: 'llm',
    title: 'Demo Chat 3B (stand-in)',
    sizeBytes: Math.round(1.9 * gib),
    mib: 2_600,
    loadMs: 3_000,
    tokensPerSecond: 60,
    vision: true,
  },
  {
    key: 'demo-embed',
    type: 'embedding',
    title: 'Demo Embedding (stand-in)',
    sizeBytes: Math.round(0.14 * gib),
    mib: 320,
    loadMs: 800,
    tokensPerSecond: 2_000,
    vision: false,
  },
  {
    key: 'demo-chat-70b',
    type: 'llm',
    title: 'Demo Chat 70B (stand-in, too big for this card)',
    sizeBytes: Math.round(39 * gib),
    mib: 42_000,
    loadMs: 60_000,
    tokensPerSecond: 3,
    vision: false,
  },
];
