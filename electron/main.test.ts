import { EventEmitter } from 'node:events';
import { beforeEach, expect, test, vi } from 'vitest';

/* That the shell is wired as its parts are meant: Electron is replaced, and nothing of it is trusted here. */
function fake(hasLock = true) {
  const app = Object.assign(new EventEmitter(), {
    isPackaged: false,
    requestSingleInstanceLock: () => hasLock,
    quit: vi.fn(),
    getPath: () => '/nowhere',
    whenReady: () => Promise.resolve(),
    getLoginItemSettings: () => ({ openAtLogin: false }),
    setLoginItemSettings: vi.fn(),
  });
  const server = Object.assign(new EventEmitter(), { postMessage: vi.fn(), kill: vi.fn() });
  const windows: Window[] = [];
  class Window extends EventEmitter {
    options: unknown;
    webContents = { getURL: () => 'http://127.0.0.1:1/' };
    loadFile = vi.fn(async () => undefined);
    loadURL = vi.fn(async () => undefined);
    show = vi.fn();
    focus = vi.fn();
    restore = vi.fn();
    isMinimized = () => false;
    constructor(options: unknown) {
      super();
      this.options = options;
      windows.push(this);
    }
  }
  const trays: Tray[] = [];
  class Tray extends EventEmitter {
    setImage = vi.fn();
    setToolTip = vi.fn();
    setContextMenu = vi.fn();
    constructor() {
      super();
      trays.push(this);
    }
  }
  const session = { setPermissionRequestHandler: vi.fn(), setPermissionCheckHandler: vi.fn() };
  return {
    app,
    server,
    windows,
    trays,
    session,
    module: {
      app,
      BrowserWindow: Window,
      Tray,
      clipboard: { writeText: vi.fn() },
      dialog: { showMessageBox: vi.fn(async () => ({ response: 1 })), showErrorBox: vi.fn() },
      Menu: { setApplicationMenu: vi.fn(), buildFromTemplate: vi.fn((template: unknown) => template) },
      nativeTheme: Object.assign(new EventEmitter(), { shouldUseDarkColors: true }),
      Notification: class extends EventEmitter {
        show = vi.fn();
      },
      powerMonitor: new EventEmitter(),
      powerSaveBlocker: { start: vi.fn(() => 1), stop: vi.fn() },
      session: { defaultSession: session },
      shell: { openExternal: vi.fn(async () => undefined) },
      utilityProcess: { fork: vi.fn((..._: unknown[]) => server) },
    },
  };
}

async function start(hasLock = true) {
  vi.resetModules();
  const made = fake(hasLock);
  vi.doMock('electron', () => made.module);
  vi.doMock('electron-updater', () => ({ default: { autoUpdater: new EventEmitter() } }));
  await import('./main.ts');
  await vi.waitFor(() => expect(!hasLock || made.trays.length).toBeTruthy());
  return made;
}

beforeEach(() => {
  Object.assign(process, { resourcesPath: '/nowhere' });
});

test('a second instance ends at once, and the first comes to the front', async () => {
  const { app, module } = await start(false);
  expect(app.quit).toHaveBeenCalledOnce();
  expect(module.utilityProcess.fork).not.toHaveBeenCalled();
  const first = await start();
  first.app.emit('second-instance');
  expect(first.windows).toHaveLength(1);
  expect(first.windows[0]?.focus).toHaveBeenCalled();
});

test('the server runs in a utility process, with a Node for its own programs', async () => {
  const { module } = await start();
  const [path, args, options] = module.utilityProcess.fork.mock.calls[0] as [
    string,
    string[],
    { env: NodeJS.ProcessEnv },
  ];
  expect(path).toMatch(/server[/\\]main\.js$/);
  expect(args).toEqual([]);
  expect(options.env).toMatchObject({ KILNHOUSE_RESTARTS: '1', KILNHOUSE_NODE: expect.any(String) });
});

test('started with the system it shows no window; the tray does', async () => {
  process.argv.push('--hidden');
  const { windows, trays } = await start();
  expect(windows).toHaveLength(0);
  process.argv.pop();
  trays[0]?.emit('double-click');
  expect(windows).toHaveLength(1);
});

test('pages go nowhere else, open no windows, attach no webviews and are given nothing', async () => {
  const { app, module, session } = await start();
  const contents = Object.assign(new EventEmitter(), { setWindowOpenHandler: vi.fn() });
  app.emit('web-contents-created', {}, contents);
  for (const [event, url] of [
    ['will-navigate', 'https://evil.test/'],
    ['will-attach-webview', ''],
  ] as const) {
    const preventDefault = vi.fn();
    contents.emit(event, { url, preventDefault });
    expect(preventDefault, event).toHaveBeenCalled();
  }
  const open = contents.setWindowOpenHandler.mock.calls[0]?.[0] as (details: { url: string }) => unknown;
  expect(open({ url: 'file:///etc/passwd' })).toEqual({ action: 'deny' });
  expect(module.shell.openExternal).not.toHaveBeenCalled();
  expect(open({ url: 'https://lmstudio.ai/' })).toEqual({ action: 'deny' });
  expect(module.shell.openExternal).toHaveBeenCalledExactlyOnceWith('https://lmstudio.ai/');
  const answer = vi.fn();
  const request = session.setPermissionRequestHandler.mock.calls[0]?.[0] as (...args: unknown[]) => void;
  request({ getURL: () => 'http://127.0.0.1:1/' }, 'media', answer);
  expect(answer).toHaveBeenCalledWith(false);
});

test('when it is to end, the server ends first', async () => {
  const { app, server } = await start();
  const preventDefault = vi.fn();
  app.emit('before-quit', { preventDefault });
  expect(preventDefault).toHaveBeenCalled();
  await vi.waitFor(() => expect(server.postMessage).toHaveBeenCalledWith('end'));
  expect(app.quit).not.toHaveBeenCalled();
  server.emit('exit', 0);
  await vi.waitFor(() => expect(app.quit).toHaveBeenCalledOnce());
});
