import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import type { CDPSession, Page } from 'playwright-core';
import { WebSocket } from 'ws';
import { AuditLog, system } from '../../server/audit/audit-log.ts';
import { openDatabase } from '../../server/db/open.ts';
import { startBrowser } from '../../tests/browser.ts';
import { key, type Program, start, startAppliance, stop } from '../gateway/programs.ts';
import { printTable } from '../table.ts';

const [waiting, slots, rows, seconds] = [500, 4, 10_000, 15];

/** The console in a real Chromium, with 500 requests waiting and four of them done each second. */
export async function benchConsole(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'kilnhouse-bench-console-'));
  fillAudit(folder);
  const upstream = await start('bench/gateway/upstream.ts', [String(slots)], /port (\d+)/);
  const appliance = await startAppliance(Number(new URL(upstream.url).port), { folder });
  const operatorUrl = readFileSync(join(folder, 'run/operator-url'), 'utf8').trim();
  const token = readFileSync(join(folder, 'operator-token'), 'utf8').trim();
  const browser = await startBrowser();
  const closing = new AbortController();
  try {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
    const page = await context.newPage();
    const first = await firstScreen(page, await linkOf(operatorUrl, token));
    printTable('The first screen, nothing kept from before', [first]);

    const still = await context.newPage();
    await still.goto('about:blank');
    const nothing = await motion(still, seconds);
    await still.close();
    keepWaiting(appliance, closing.signal);
    await page.bringToFront();
    await page.getByText(new RegExp(`^(${waiting}|49\\d|4[5-9]\\d) waiting$`)).waitFor({ timeout: 60_000 });
    const [traffic, dashboard] = await Promise.all([
      kilobytesPerSecond(operatorUrl, token, seconds),
      motion(page, seconds),
    ]);
    await page.evaluate(`window.location.hash = '#/audit'`);
    const log = page.getByRole('table', { name: 'Audit log' });
    await log.waitFor();
    const [scrolled, reached] = await Promise.all([motion(page, seconds), scrollDown(page, seconds)]);
    printTable(`In motion, ${seconds} s each`, [
      { what: 'an empty page', ...nothing },
      { what: `dashboard, ${waiting} waiting`, ...dashboard },
      { what: `audit log, scrolled to row ${reached} of ${rows}`, ...scrolled },
    ]);
    console.log(
      `\nThe WebSocket with ${waiting} waiting and ${slots} done a second: ${traffic.toFixed(1)} kB/s on the wire.`,
    );
  } finally {
    closing.abort();
    await browser.close();
    await stop(appliance);
    await stop(upstream);
  }
}

function fillAudit(folder: string): void {
  const db = openDatabase(join(folder, 'kilnhouse.db'));
  const audit = new AuditLog(db);
  db.transaction(() => {
    for (let i = 0; i < rows; i += 1) audit.add(system, { action: 'bench.row', target: `row-${i}` });
  })();
  db.close();
}

async function linkOf(operatorUrl: string, token: string): Promise<string> {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(`${operatorUrl}/api/session/links`, { method: 'POST', headers });
  return ((await response.json()) as { url: string }).url;
}

/** When something is seen, and what had to come for it, as a server that compresses would send it. */
async function firstScreen(page: Page, link: string): Promise<Record<string, number>> {
  const bodies: Promise<Buffer>[] = [];
  page.on('response', (response) => {
    if (new URL(response.url()).pathname.startsWith('/assets/')) bodies.push(response.body());
  });
  await page.goto(link);
  await page.getByRole('heading', { level: 1, name: 'Dashboard' }).waitFor();
  const files = await Promise.all(bodies);
  const paint = (await page.evaluate(
    `performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN`,
  )) as number;
  await page.reload();
  await page.getByRole('region', { name: 'Video memory' }).waitFor();
  const whole = (await page.evaluate('performance.now()')) as number;
  return {
    'first paint ms': paint,
    'dashboard with data ms (second load)': whole,
    files: files.length,
    'kB gzip': files.reduce((sum, file) => sum + gzipSync(file).length, 0) / 1024,
  };
}

/** Requests of one tenant that wait for each other; whoever is served asks again. */
function keepWaiting({ url }: Program, signal: AbortSignal): void {
  const body = JSON.stringify({
    model: 'bench-model',
    stream: true,
    max_tokens: 50,
    messages: [{ role: 'user', content: 'hello' }],
  });
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const ask = async (): Promise<void> => {
    while (!signal.aborted) {
      const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body, signal });
      await response.arrayBuffer();
    }
  };
  for (let i = 0; i < waiting + slots; i += 1) ask().catch(() => undefined);
}

/** The time of frames, and the part of a core that scripts and everything of the page took. */
async function motion(page: Page, forSeconds: number): Promise<Record<string, number>> {
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable');
  const before = await metricsOf(session);
  const frames = (await page.evaluate(`new Promise((resolve) => {
    const times = [];
    let last = performance.now();
    const end = last + ${forSeconds * 1_000};
    const frame = (now) => {
      times.push(now - last);
      last = now;
      if (now < end) requestAnimationFrame(frame);
      else resolve(times.slice(1));
    };
    requestAnimationFrame(frame);
  })`)) as number[];
  const after = await metricsOf(session);
  await session.detach();
  const sorted = frames.toSorted((a, b) => a - b);
  const share = (name: string): number => (((after[name] ?? 0) - (before[name] ?? 0)) / forSeconds) * 100;
  return {
    'frames/s': frames.length / forSeconds,
    'frame p95 ms': sorted[Math.floor(sorted.length * 0.95)] ?? Number.NaN,
    'frame p99 ms': sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN,
    'script % of a core': share('ScriptDuration'),
    'page % of a core': share('TaskDuration'),
  };
}

async function metricsOf(session: CDPSession): Promise<Record<string, number>> {
  const { metrics } = await session.send('Performance.getMetrics');
  return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
}

/** Turns the wheel all the while. Resolves to the last row that was seen. */
async function scrollDown(page: Page, forSeconds: number): Promise<number> {
  await page.mouse.move(700, 600);
  const end = performance.now() + forSeconds * 1_000;
  while (performance.now() < end) {
    await page.mouse.wheel(0, 1_200);
    await delay(30);
  }
  return (await page.evaluate(
    `Math.max(...[...document.querySelectorAll('[role=row]')].map((row) => Number(row.getAttribute('aria-rowindex')))) - 1`,
  )) as number;
}

/** What comes on the wire, compressed as it is, once the state is there. */
async function kilobytesPerSecond(operatorUrl: string, token: string, forSeconds: number): Promise<number> {
  const socket = new WebSocket(`${operatorUrl.replace(/^http/, 'ws')}/api/live`, [
    'kilnhouse',
    `token.${token}`,
  ]);
  await new Promise((resolve) => socket.once('message', resolve));
  const read = (): number => (socket as unknown as { _socket: { bytesRead: number } })._socket.bytesRead;
  const before = read();
  await delay(forSeconds * 1_000);
  const after = read();
  socket.terminate();
  return (after - before) / 1024 / forSeconds;
}
