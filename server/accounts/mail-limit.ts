import { RateWindows } from '../admission/rate-window.ts';
import { limits } from '../contract/limits.ts';

/** Anybody can have messages sent to any address, so no address gets more than a few of them. */
export class MailLimit {
  readonly #sent = new RateWindows(limits.mailedToken.windowMs);

  /** Whether the address can be sent one more; counts it. */
  takes(address: string): boolean {
    return this.#sent.take(address, limits.mailedToken.perWindow, performance.now()).allowed;
  }
}
