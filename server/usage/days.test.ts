import { describe, expect, test } from 'vitest';
import { openDatabase } from '../db/open.ts';
import { Days } from './days.ts';
import { usageReport } from './usage-report.ts';
import { type UsageRow, UsageStore } from './usage-store.ts';

const row: UsageRow = {
  id: 'request',
  at: 0,
  tenant: 'acme',
  keyId: 'key',
  person: null,
  feature: 'chat',
  model: 'm',
  status: 'ok',
  errorCode: null,
  promptTokens: 1,
  completionTokens: 1,
  images: 0,
  queueMs: 0,
  swapMs: 0,
  runMs: 1,
  gpuMs: 1,
  credits: 0,
};

describe('case 26: days begin and end where the machine stands, daylight saving included', () => {
  test.each([
    ['UTC', '2026-06-30T23:30:00Z', '2026-06-30'],
    ['Europe/Berlin', '2026-06-30T21:59:59Z', '2026-06-30'],
    ['Europe/Berlin', '2026-06-30T22:00:00Z', '2026-07-01'],
    ['Europe/Berlin', '2026-01-31T22:00:00Z', '2026-01-31'],
    ['Europe/Berlin', '2026-01-31T23:00:00Z', '2026-02-01'],
    // The night in which the clocks go forward, and the one in which they go back.
    ['Europe/Berlin', '2026-03-29T21:59:59Z', '2026-03-29'],
    ['Europe/Berlin', '2026-03-29T22:00:00Z', '2026-03-30'],
    ['Europe/Berlin', '2026-10-25T22:59:59Z', '2026-10-25'],
    ['Europe/Berlin', '2026-10-25T23:00:00Z', '2026-10-26'],
    ['America/New_York', '2026-07-01T03:59:59Z', '2026-06-30'],
    ['Asia/Kathmandu', '2026-06-30T18:15:00Z', '2026-07-01'],
    ['Pacific/Kiritimati', '2026-06-30T10:00:00Z', '2026-07-01'],
  ])('in %s, %s is %s', (zone, moment, day) => {
    expect(new Days(zone).of(Date.parse(moment))).toBe(day);
  });

  test('the last days up to today', () => {
    const now = Date.parse('2026-03-29T23:30:00Z');
    expect(new Days('Europe/Berlin').last(30, now)).toEqual({ from: '2026-03-01', until: '2026-03-30' });
    expect(new Days('UTC').last(1, now)).toEqual({ from: '2026-03-29', until: '2026-03-29' });
  });

  test('a zone that does not exist is refused', () => {
    expect(() => new Days('Europe/Nowhere')).toThrow(RangeError);
  });

  test('usage is added up by these days', () => {
    const days = new Days('Europe/Berlin');
    const db = openDatabase(':memory:', (at) => days.of(at));
    const usage = new UsageStore(db, (error) => {
      throw error;
    });
    for (const [id, moment] of [
      '2026-06-30T21:00:00Z',
      '2026-06-30T22:00:00Z',
      '2026-07-01T21:00:00Z',
    ].entries())
      usage.add({ ...row, id: `request-${id}`, at: Date.parse(moment) });
    usage.close();
    const lines = usageReport(db, null, '2026-06-01').byDay.map(({ name, requests }) => [name, requests]);
    expect(lines).toEqual([
      ['2026-07-01', 2],
      ['2026-06-30', 1],
    ]);
  });
});
