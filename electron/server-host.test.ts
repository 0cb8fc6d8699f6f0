import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type HostedProcess, ServerHost } from './server-host.ts';
import { Updates } from './updates.ts';

class FakeProcess extends EventEmitter implements HostedProcess {
  postMessage = vi.fn();
  kill = vi.fn(() => this.emit('exit', 1));
}

const serving = {
  type: 'serving',
  tenantUrl: 'http://t',
  operatorUrl: 'http://o',
  link: 'http://o/#/enter/x',
};
let made: FakeProcess[];
let states: string[];
let host: ServerHost;
const onServing = vi.fn();

beforeEach(() => {
  vi.useFakeTimers();
  made = [];
  states = [];
  onServing.mockClear();
  host = new ServerHost({
    fork: () => {
      const one = new FakeProcess();
      made.push(one);
      return one;
    },
    onServing,
    onState: (state) => states.push(state),
  });
  host.start();
});
afterEach(() => vi.useRealTimers());

describe('the server’s process', () => {
  test('says when it serves; what else it says is passed over', () => {
    for (const message of [null, 'x', { type: 'other' }, serving]) made[0]?.emit('message', message);
    expect(onServing).toHaveBeenCalledExactlyOnceWith(serving);
    expect(states).toEqual(['starting', 'serving']);
  });

  test('one that dies is started anew, later each time; after five times it is given up, until somebody says again', () => {
    for (const waitMs of [500, 1_000, 2_000, 4_000]) {
      made.at(-1)?.emit('exit', 1);
      const before = made.length;
      vi.advanceTimersByTime(waitMs - 1);
      expect(made).toHaveLength(before);
      vi.advanceTimersByTime(1);
      expect(made).toHaveLength(before + 1);
    }
    made.at(-1)?.emit('exit', 1);
    vi.advanceTimersByTime(3_600_000);
    expect([made.length, states.at(-1)]).toEqual([5, 'failed']);
    host.retry();
    expect([made.length, states.at(-1)]).toEqual([6, 'starting']);
  });

  test('one that says that it cannot start is not tried again until somebody says so', () => {
    made[0]?.emit('exit', 78);
    vi.advanceTimersByTime(3_600_000);
    expect([made.length, states.at(-1)]).toEqual([1, 'failed']);
    host.retry();
    expect(made).toHaveLength(2);
  });

  test('crashes long apart are no reason to give up', () => {
    for (let i = 0; i < 20; i += 1) {
      made.at(-1)?.emit('exit', 1);
      vi.advanceTimersByTime(2 * 60_000);
    }
    expect(states).not.toContain('failed');
  });

  test('one that wants to be started again is, at once', () => {
    made[0]?.emit('exit', 75);
    expect(made).toHaveLength(2);
  });

  test('told to end, it is not started again; one that does not end is ended', async () => {
    const ended = host.end();
    expect(made[0]?.postMessage).toHaveBeenCalledWith('end');
    vi.advanceTimersByTime(12_000);
    expect(made[0]?.kill).toHaveBeenCalled();
    await ended;
    vi.advanceTimersByTime(60_000);
    expect([made.length, states.at(-1)]).toEqual([1, 'ended']);
    host.start();
    expect(made).toHaveLength(1);
  });
});

describe('updates', () => {
  const setup = (skippedVersion: string | null = null) => {
    const updater = Object.assign(new EventEmitter(), {
      autoDownload: true,
      autoInstallOnAppQuit: true,
      checkForUpdates: vi.fn(async () => undefined),
      downloadUpdate: vi.fn(async () => undefined),
      quitAndInstall: vi.fn(),
    });
    const offers: unknown[] = [];
    const skip = vi.fn();
    const endServer = vi.fn(async () => undefined);
    const updates = new Updates({
      updater,
      skipped: () => skippedVersion,
      skip,
      onOffer: (offer) => offers.push(offer),
      onError: () => undefined,
      endServer,
    });
    updates.start();
    return { updater, offers, skip, endServer, updates };
  };

  test('are offered, loaded and installed only when the operator says so, with the server ended first', async () => {
    const { updater, offers, updates, endServer } = setup();
    expect([updater.autoDownload, updater.autoInstallOnAppQuit]).toEqual([false, false]);
    await updates.accept();
    expect(updater.downloadUpdate).not.toHaveBeenCalled();
    updater.emit('update-available', { version: '2.0.0' });
    await updates.accept();
    expect(updater.downloadUpdate).toHaveBeenCalledOnce();
    updater.emit('update-downloaded', { version: '2.0.0' });
    expect(offers).toEqual([
      { version: '2.0.0', isLoaded: false },
      { version: '2.0.0', isLoaded: true },
    ]);
    await updates.accept();
    expect(endServer.mock.invocationCallOrder[0]).toBeLessThan(
      updater.quitAndInstall.mock.invocationCallOrder[0] ?? 0,
    );
    updates.close();
  });

  test('that are refused are not offered again', () => {
    const { updater, offers, skip, updates } = setup('1.9.0');
    updater.emit('update-available', { version: '1.9.0' });
    expect(offers).toEqual([]);
    updater.emit('update-available', { version: '2.0.0' });
    updates.refuse();
    expect(skip).toHaveBeenCalledWith('2.0.0');
    expect(offers.at(-1)).toBeNull();
    vi.advanceTimersByTime(6 * 3_600_000);
    expect(updater.checkForUpdates).toHaveBeenCalledTimes(2);
    updates.close();
  });
});
