import { limits } from '../contract/limits.ts';
import { ToolProcess } from '../media/tool-process.ts';
import { programBeside } from '../../gpu/program.ts';

/** How sure the classifier is of each kind, 0 to 1; they add up to 1. */
export interface ImageScores {
  readonly Neutral: number;
  readonly Drawing: number;
  readonly Sexy: number;
  readonly Porn: number;
  readonly Hentai: number;
}

/** What kind of picture something is, by nsfwjs in a process of its own. */
export class ImageClassifier {
  readonly #tool: ToolProcess;

  constructor(env: Readonly<Record<string, string>>) {
    const { requestMs, idleMs } = limits.classifier;
    const program = programBeside(import.meta.url, 'classifier-process');
    this.#tool = new ToolProcess({ program, env, requestMs, idleMs });
  }

  async classify(bytes: Uint8Array, tenant: string): Promise<ImageScores> {
    return (await this.#tool.ask({ bytes }, tenant)) as ImageScores;
  }

  close(): void {
    this.#tool.close();
  }
}
