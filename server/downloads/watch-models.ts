import { watch } from 'chokidar';

const stillMs = 1_000;

export interface ModelsFolder {
  readonly path: string;
  /** What models end in there. */
  readonly files: RegExp;
}

/** Calls back when model files came, went or changed, once they have been still for a moment: one that is copied grows. */
export function watchModels({ path, files }: ModelsFolder, changed: () => void): { close(): Promise<void> } {
  let timer: NodeJS.Timeout | null = null;
  const watcher = watch(path, {
    ignoreInitial: true,
    // LM Studio: publisher, model, file.
    depth: 3,
    ignored: (file, stats) => stats?.isFile() === true && !files.test(file),
  });
  watcher.on('all', () => {
    if (timer) clearTimeout(timer);
    timer = setTimeout(changed, stillMs);
  });
  watcher.on('error', () => undefined);
  return {
    close: () => {
      if (timer) clearTimeout(timer);
      return watcher.close();
    },
  };
}
