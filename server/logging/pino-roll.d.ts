declare module 'pino-roll' {
  import type { SonicBoom } from 'sonic-boom';

  export interface RollOptions {
    file: string;
    extension?: string;
    frequency?: 'daily' | 'hourly';
    size?: string;
    limit?: { count: number };
    mkdir?: boolean;
    sync?: boolean;
  }

  /** A file stream that begins a new file by time and size, and keeps so many of them. */
  export default function roll(options: RollOptions): Promise<SonicBoom>;
}
