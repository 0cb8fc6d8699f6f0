/** Where the parts of the GPU say what happened. */
export type GpuLog = (level: 'info' | 'warn' | 'error', message: string, about: object) => void;
