import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  app,
  BrowserWindow,
  clipboard,
  dialog,
  Menu,
  type MenuItemConstructorOptions,
  nativeTheme,
  Notification,
  powerMonitor,
  powerSaveBlocker,
  session,
  shell,
  Tray,
  utilityProcess,
} from 'electron';
import electronUpdater from 'electron-updater';
import type { Static } from 'typebox';
import { ApplianceLink } from './appliance-link.ts';
import { autostart, hiddenFlag } from './autostart.ts';
import { noticesOf } from './notices.ts';
import { quitQuestion } from './quit-question.ts';
import { isAllowed, isOwnPage, opensOutside } from './security.ts';
import { ServerHost } from './server-host.ts';
import { moodOf, type Status, staysAwake } from './status.ts';
import { type Action, type Item, trayMenu, trayTip } from './tray-menu.ts';
import { Updates } from './updates.ts';
import { windowOptions } from './window-options.ts';
import type { TenantsView } from '../server/contract/operator-accounts.ts';

/*
 * The desktop shell: only wires. What it shows and decides is in the pure files beside it; what serves is the server, in
 * a process of its own. Pages have no way into this process: there is no preload script and no IPC.
 */
const here = fileURLToPath(new URL('.', import.meta.url));
const icons = join(here, '../build/icons');
const tenantsEveryMs = 60_000;

if (app.requestSingleInstanceLock()) run();
else app.quit();

function run(): void {
  let status: Status = {
    server: 'starting',
    state: null,
    tenants: [],
    update: null,
    startsWithSystem: false,
  };
  let urls: { operatorUrl: string; tenantUrl: string } | null = null;
  let window: BrowserWindow | null = null;
  let tray: Tray | null = null;
  let awake: number | null = null;
  let isQuitting = false;
  const preferencesFile = join(app.getPath('userData'), 'shell.json');
  const atLogin = autostart(app, {
    platform: process.platform,
    configFolder: app.getPath('appData'),
    program: process.env['APPIMAGE'] ?? process.execPath,
  });

  const link = new ApplianceLink((state) => update({ state }));
  const host = new ServerHost({
    fork: () =>
      // Its own programs run in plain Node, which cannot look into the archive.
      utilityProcess.fork(join(here.replace('app.asar', 'app.asar.unpacked'), '../server/main.js'), [], {
        serviceName: 'Kilnhouse server',
        stdio: 'inherit',
        env: { ...process.env, KILNHOUSE_NODE: nodeBeside(), KILNHOUSE_RESTARTS: '1' },
      }),
    onState: (server) => {
      if (server !== 'serving') urls = null;
      update({ server });
      if (server === 'restarting' || server === 'failed') showStarting();
    },
    onServing: (serving) => {
      urls = serving;
      link.follow(serving);
      void readTenants();
      if (window) void showConsole('/');
    },
  });
  const updates = new Updates({
    updater: electronUpdater.autoUpdater,
    skipped: () => preferences().skippedVersion ?? null,
    skip: (skippedVersion) =>
      writeFileSync(preferencesFile, JSON.stringify({ ...preferences(), skippedVersion })),
    onOffer: (offer) => update({ update: offer }),
    onError: (error) => console.error('Updates:', error.message),
    endServer: () => end(),
  });

  app.on('second-instance', () => openWindow());
  app.on('activate', () => openWindow());
  // It goes on in the tray.
  app.on('window-all-closed', () => undefined);
  app.on('web-contents-created', (_event, contents) => {
    contents.on('will-attach-webview', (event) => event.preventDefault());
    contents.on('will-navigate', (event) => {
      if (!isOwnPage(event.url, urls?.operatorUrl ?? null)) event.preventDefault();
    });
    contents.setWindowOpenHandler(({ url }) => {
      if (opensOutside(url, urls?.tenantUrl ?? null)) void shell.openExternal(url);
      return { action: 'deny' };
    });
  });
  app.on('before-quit', (event) => {
    if (isQuitting) return;
    event.preventDefault();
    void quit();
  });

  void app.whenReady().then(() => {
    if (process.platform !== 'darwin') Menu.setApplicationMenu(null);
    const own = session.defaultSession;
    own.setPermissionRequestHandler((contents, permission, answer) =>
      answer(isAllowed(permission, contents.getURL(), urls?.operatorUrl ?? null)),
    );
    own.setPermissionCheckHandler((_contents, permission, origin) =>
      isAllowed(permission, origin, urls?.operatorUrl ?? null),
    );
    tray = new Tray(iconOf());
    tray.on('double-click', () => openWindow());
    nativeTheme.on('updated', () => draw());
    // A sleeping machine served nobody: what stands by now is asked for anew.
    powerMonitor.on('resume', () => void readTenants());
    // The system ends: nobody is there to be asked. (The types leave out the event, which the documentation has.)
    powerMonitor.on('shutdown', ((event: { preventDefault(): void }) => {
      event.preventDefault();
      void end().then(() => app.quit());
    }) as () => void);
    update({ startsWithSystem: atLogin.isOn() });
    host.start();
    setInterval(() => void readTenants(), tenantsEveryMs);
    if (app.isPackaged) updates.start();
    if (!process.argv.includes(hiddenFlag)) openWindow();
  });

  /** The Node that comes with the app, and the one that started it in development. */
  function nodeBeside(): string {
    const name = process.platform === 'win32' ? 'node.exe' : 'node';
    const packed = join(process.resourcesPath, 'node', name);
    return existsSync(packed) ? packed : (process.env['KILNHOUSE_NODE'] ?? name);
  }

  function preferences(): { skippedVersion?: string } {
    try {
      return JSON.parse(readFileSync(preferencesFile, 'utf8')) as { skippedVersion?: string };
    } catch {
      return {};
    }
  }

  function update(change: Partial<Status>): void {
    const before = status;
    status = { ...status, ...change };
    for (const { title, body, page } of noticesOf(before, status)) {
      const notice = new Notification({ title, body, icon: join(icons, 'icon.png') });
      notice.on('click', () => openWindow(page));
      notice.show();
    }
    if (staysAwake(status) && awake === null) awake = powerSaveBlocker.start('prevent-app-suspension');
    if (!staysAwake(status) && awake !== null) {
      powerSaveBlocker.stop(awake);
      awake = null;
    }
    draw();
  }

  function draw(): void {
    if (!tray) return;
    tray.setImage(iconOf());
    tray.setToolTip(trayTip(status));
    tray.setContextMenu(Menu.buildFromTemplate(trayMenu(status).map(templateOf)));
  }

  function iconOf(): string {
    const scheme = nativeTheme.shouldUseDarkColors ? 'dark' : 'light';
    return join(icons, `tray-${moodOf(status)}-${scheme}.png`);
  }

  function templateOf(item: Item): MenuItemConstructorOptions {
    switch (item.kind) {
      case 'line':
        return { type: 'separator' };
      case 'text':
        return { label: item.label, enabled: false };
      case 'menu':
        return { label: item.label, submenu: item.items.map(templateOf) };
      case 'check':
        return {
          label: item.label,
          type: 'checkbox',
          checked: item.checked,
          click: () => void act(item.action),
        };
      case 'press':
        return { label: item.label, enabled: item.enabled ?? true, click: () => void act(item.action) };
    }
  }

  async function act(action: Action): Promise<void> {
    try {
      await perform(action);
    } catch (error) {
      dialog.showErrorBox('That did not work', error instanceof Error ? error.message : String(error));
    }
  }

  async function perform(action: Action): Promise<void> {
    switch (action.do) {
      case 'open-console':
        return openWindow();
      case 'copy':
        return clipboard.writeText(action.text);
      case 'load':
      case 'unload':
        await link.call('POST', `/api/models/${encodeURIComponent(action.model)}/${action.do}`);
        return;
      case 'pause': {
        const { do: _, ...wish } = action;
        await link.call('POST', '/api/pause', wish);
        return;
      }
      case 'resume':
        await link.call('POST', '/api/resume');
        return;
      case 'tunnel':
        await link.call('POST', `/api/tunnel/${action.on ? 'start' : 'stop'}`);
        return;
      case 'start-with-system':
        atLogin.set(action.on);
        return update({ startsWithSystem: atLogin.isOn() });
      case 'update':
        return updates.accept();
      case 'skip-update':
        return updates.refuse();
      case 'restart-server':
        return host.retry();
      case 'quit':
        app.quit();
    }
  }

  function openWindow(page = '/'): void {
    if (!window) {
      const made = new BrowserWindow(
        windowOptions({ icon: join(icons, 'icon.png'), isPackaged: app.isPackaged }),
      );
      made.once('ready-to-show', () => made.show());
      made.on('closed', () => (window = null));
      window = made;
      showStarting();
    }
    if (window.isMinimized()) window.restore();
    window.show();
    window.focus();
    if (urls) void showConsole(page);
  }

  function showStarting(): void {
    void window?.loadFile(join(here, 'starting.html'));
  }

  /** The console, with a session of its own where the window has none yet. */
  async function showConsole(page: string): Promise<void> {
    if (!window || !urls) return;
    const isThere = isOwnPage(window.webContents.getURL(), urls.operatorUrl);
    await window.loadURL(isThere ? `${urls.operatorUrl}/#${page}` : await link.consoleLink());
  }

  async function readTenants(): Promise<void> {
    try {
      const tenants: Status['tenants'][number][] = [];
      let next: string | null = '';
      while (next !== null) {
        const after: string = next === '' ? '' : `&after=${next}`;
        const page = (await link.call('GET', `/api/tenants?limit=100${after}`)) as Static<typeof TenantsView>;
        tenants.push(...page.items);
        next = page.next;
      }
      update({ tenants });
    } catch {
      // The appliance is starting or gone; what was known stays until it answers.
    }
  }

  async function quit(): Promise<void> {
    const question = quitQuestion(status);
    if (question) {
      const { message, detail, buttons } = question;
      const { response } = await dialog.showMessageBox({
        type: 'question',
        message,
        detail,
        buttons: [...buttons],
        defaultId: 1,
        cancelId: 1,
      });
      if (response !== 0) return;
    }
    await end();
    app.quit();
  }

  async function end(): Promise<void> {
    isQuitting = true;
    updates.close();
    link.close();
    await host.end();
  }
}
