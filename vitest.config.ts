import { defineConfig } from 'vitest/config';

/**
 * For every lane: a temp folder for the run and for each file, and times after which a test has hung. A test is never
 * that slow on a quiet machine; on a busy one it may be.
 */
const setup = {
  globalSetup: ['tests/setup/run.ts'],
  setupFiles: ['tests/setup/file.ts'],
  testTimeout: 120_000,
  hookTimeout: 120_000,
};

export default defineConfig({
  test: {
    projects: [
      {
        // Pure logic and single parts: fast, side by side.
        test: {
          ...setup,
          name: 'unit',
          include: ['{gpu,server,renderer,electron,bench,scripts}/**/*.test.ts'],
          maxWorkers: '100%',
        },
      },
      {
        // Real processes, ports and files: two files at a time, so that two cores are enough; after the unit tests.
        test: {
          ...setup,
          name: 'system',
          include: ['tests/**/*.test.ts'],
          exclude: ['tests/slow/**'],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        // What takes many minutes: npm run test:slow. KILLS, HITS and SEED may be set from outside.
        test: {
          ...setup,
          name: 'slow',
          include: ['tests/crash.test.ts', 'tests/slow/**/*.test.ts'],
          fileParallelism: false,
          env: { KILLS: process.env['KILLS'] ?? '1000', HITS: process.env['HITS'] ?? '2', KEEP: '1' },
        },
      },
    ],
  },
});
