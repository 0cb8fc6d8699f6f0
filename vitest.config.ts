import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        // Pure logic and single parts: fast, side by side.
        test: {
          name: 'unit',
          include: ['{gpu,server,renderer,electron,bench,scripts}/**/*.test.ts'],
          testTimeout: 20_000,
        },
      },
      {
        // Real processes, ports and files: one file at a time, so that two cores are enough.
        test: {
          name: 'system',
          include: ['tests/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        // What takes many minutes: npm run test:slow.
        test: {
          name: 'slow',
          include: ['tests/crash.test.ts'],
          env: { KILLS: '1000', HITS: '2' },
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
