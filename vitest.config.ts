import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        // Pure logic and single parts: fast, side by side.
        test: { name: 'unit', include: ['{gpu,server,bench,scripts}/**/*.test.ts'], testTimeout: 20_000 },
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
    ],
  },
});
