import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

/** The console, as static files that the operator API serves. */
export default defineConfig({
  root: 'renderer/console',
  base: './',
  plugins: [react()],
  build: {
    outDir: '../../build/console',
    emptyOutDir: true,
    target: 'es2023',
    // Browsers of 2024 and later: they know light-dark().
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    // Of what the server sends, nothing is inlined as data: the page's policy stays simple.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1_500,
  },
});
