/** The part of electron-updater that is used. */
interface Updater {
  autoDownload: boolean;
  autoInstallOnAppQuit: boolean;
  on(event: 'update-available' | 'update-downloaded', listener: (info: { version: string }) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  checkForUpdates(): Promise<unknown>;
  downloadUpdate(): Promise<unknown>;
  quitAndInstall(): void;
}

export interface Offer {
  readonly version: string;
  readonly isLoaded: boolean;
}

interface UpdatesOptions {
  readonly updater: Updater;
  /** The version that the operator does not want. */
  readonly skipped: () => string | null;
  readonly skip: (version: string) => void;
  readonly onOffer: (offer: Offer | null) => void;
  readonly onError: (error: Error) => void;
  /** Ends the server before another version takes its place. */
  readonly endServer: () => Promise<void>;
}

const everyMs = 6 * 3_600_000;

/**
 * New versions: looked for, offered, and only taken when the operator says so. Which part of the machines is offered one
 * already is in what is published beside it (stagingPercentage), and electron-updater's to see to.
 */
export class Updates {
  readonly #options: UpdatesOptions;
  #timer: NodeJS.Timeout | null = null;
  #offer: Offer | null = null;

  constructor(options: UpdatesOptions) {
    this.#options = options;
    const { updater, skipped, onError } = options;
    updater.autoDownload = false;
    updater.autoInstallOnAppQuit = false;
    updater.on('update-available', ({ version }) => {
      if (version !== skipped() && this.#offer?.version !== version) this.#set({ version, isLoaded: false });
    });
    updater.on('update-downloaded', ({ version }) => this.#set({ version, isLoaded: true }));
    updater.on('error', onError);
  }

  start(): void {
    const look = (): void => void this.#options.updater.checkForUpdates().catch(this.#options.onError);
    look();
    this.#timer = setInterval(look, everyMs);
  }

  /** Loads what is offered, or restarts into what is loaded. */
  async accept(): Promise<void> {
    if (!this.#offer) return;
    if (!this.#offer.isLoaded) {
      await this.#options.updater.downloadUpdate();
      return;
    }
    await this.#options.endServer();
    this.#options.updater.quitAndInstall();
  }

  refuse(): void {
    if (!this.#offer) return;
    this.#options.skip(this.#offer.version);
    this.#set(null);
  }

  close(): void {
    if (this.#timer) clearInterval(this.#timer);
  }

  #set(offer: Offer | null): void {
    this.#offer = offer;
    this.#options.onOffer(offer);
  }
}
