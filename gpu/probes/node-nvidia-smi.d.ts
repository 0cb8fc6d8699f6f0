declare module 'node-nvidia-smi' {
  /** Runs `nvidia-smi -q -x` and parses its XML: every value a string with its unit, attributes under `$`. */
  export default function smi(callback: (error: unknown, data: unknown) => void): void;
}
