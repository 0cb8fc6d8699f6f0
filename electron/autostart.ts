import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The part of Electron's app that is used, on Windows and macOS. */
interface LoginItems {
  getLoginItemSettings(options: { args: string[] }): { openAtLogin: boolean };
  setLoginItemSettings(settings: { openAtLogin: boolean; args: string[] }): void;
}

/** How the shell is told that it was started with the system, and shows no window. */
export const hiddenFlag = '--hidden';

export interface Autostart {
  isOn(): boolean;
  set(on: boolean): void;
}

export function autostart(
  app: LoginItems,
  { platform, configFolder, program }: { platform: NodeJS.Platform; configFolder: string; program: string },
): Autostart {
  const args = [hiddenFlag];
  if (platform !== 'linux')
    return {
      isOn: () => app.getLoginItemSettings({ args }).openAtLogin,
      set: (openAtLogin) => app.setLoginItemSettings({ openAtLogin, args }),
    };
  // Electron does nothing there: desktops start what lies in this folder.
  const file = join(configFolder, 'autostart', 'kilnhouse.desktop');
  return {
    isOn: () => existsSync(file),
    set: (on) => {
      if (!on) return rmSync(file, { force: true });
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, desktopEntry(program));
    },
  };
}

/** A desktop entry (freedesktop.org); in Exec, quotes and what a shell would take apart are escaped. Pure. */
export function desktopEntry(program: string): string {
  const quoted = `"${program.replaceAll(/["`$\\]/g, '\\$&').replaceAll('%', '%%')}"`;
  return [
    '[Desktop Entry]',
    'Type=Application',
    'Name=Kilnhouse',
    `Exec=${quoted.replaceAll('\\', '\\\\')} ${hiddenFlag}`,
    'X-GNOME-Autostart-enabled=true',
    '',
  ].join('\n');
}
