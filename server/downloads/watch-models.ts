import { watch } from 'chokidar';

/** Calls back when model files come, go or change, once they have been still for a moment. */
export function watchModels(folder: string, changed: () => void): { close(): Promise<void> } {
  let timer: NodeJS.Timeout | null = null;
  const watcher = watch(folder, {
    ignoreInitial: true,
    depth: 2,
    // A file that is being copied grows for minutes: it counts when it has stopped.
    awaitWriteFinish: { stabilityThreshold: 1_000, pollInterval: 250 },
    ignored: (path, stats) => stats?.isFile() === true && !/\.gguf$/i.test(path),
  });
  watcher.on('all', () => {
    if (timer) clearTimeout(timer);
    timer = setTimeout(changed, 200);
  });
  watcher.on('error', () => undefined);
  return {
    close: () => {
      if (timer) clearTimeout(timer);
      return watcher.close();
    },
  };
}
