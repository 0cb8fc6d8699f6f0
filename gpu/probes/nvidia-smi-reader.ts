import smi from 'node-nvidia-smi';

/*
 * A process of its own around node-nvidia-smi, which has no timeout: when nvidia-smi hangs (a stuck driver), this
 * process is ended with it and a new one is started. One question, one answer: {} in, {data} or {error} out.
 */
process.on('message', () => {
  smi((error, data) => {
    process.send?.(
      error ? { error: error instanceof Error ? error.message : 'it wrote to stderr' } : { data },
    );
  });
});
process.on('disconnect', () => {
  // A hung nvidia-smi shares our process group and must not outlive us.
  if (process.platform !== 'win32') process.kill(-process.pid, 'SIGKILL');
  process.exit(0);
});
