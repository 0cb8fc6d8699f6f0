import type { BrowserWindowConstructorOptions } from 'electron';

/** How the window is made. What keeps pages in their place is written out, though it is Electron's default by now. Pure. */
export function windowOptions({
  icon,
  isPackaged,
}: {
  icon: string;
  isPackaged: boolean;
}): BrowserWindowConstructorOptions {
  return {
    width: 1280,
    height: 860,
    minWidth: 380,
    minHeight: 480,
    show: false,
    title: 'Kilnhouse',
    icon,
    autoHideMenuBar: true,
    backgroundColor: '#171412',
    webPreferences: {
      nodeIntegration: false,
      nodeIntegrationInWorker: false,
      nodeIntegrationInSubFrames: false,
      contextIsolation: true,
      sandbox: true,
      webSecurity: true,
      allowRunningInsecureContent: false,
      experimentalFeatures: false,
      webviewTag: false,
      navigateOnDragDrop: false,
      spellcheck: false,
      devTools: !isPackaged,
    },
  };
}
