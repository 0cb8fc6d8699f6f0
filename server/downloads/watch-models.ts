import { watch } from 'chokidar';

const stillMs = 1_000;

/** Calls back when model files came, went or changed, once they have been still for a moment: one that is copied grows. */
export function watchModels(folder: string, changed: () => void): { close(): Promise<void> } {
  let timer: NodeJS.Timeout | null = null;
  const watcher = watch(folder, {
    ignoreInitial: true,
    depth: 2,
    ignored: (path, stats) => stats?.isFile() === true && !/\.gguf$/i.test(path),
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
