import type { TSchema } from 'typebox';
import type { CatalogModel } from '../../gpu/catalog.ts';
import type { Run } from '../../gpu/gpu.ts';
import type { Answer, ImageEvent, ImageRequest, TextRequest } from '../../gpu/engines/engine.ts';
import type { Wish } from '../admission/admission.ts';
import type { Upload } from '../files/upload-store.ts';
import type { PictureResult, PictureWork } from '../media/picture-work.ts';
import type { Actual } from '../offers/prices.ts';

/** What a feature's work is given: steps that are done once, the GPU a lease at a time, and a place for results. */
export interface JobContext {
  readonly signal: AbortSignal;
  readonly model: CatalogModel;
  /**
   * Does a step, or gives what it came to before: a job that was interrupted goes on after its last finished step.
   * The results a step makes are kept with it, all or none.
   */
  readonly step: <Result>(name: string, work: (results: ResultSink) => Promise<Result>) => Promise<Result>;
  /** One picture on the GPU: a lease of its own, so that others get their turn between two of them. */
  readonly image: (request: Omit<ImageRequest, 'modelKey'>) => Run<ImageEvent>;
  /** One text on the GPU, whole. */
  readonly text: (request: Omit<TextRequest, 'modelKey'>) => Promise<Answer>;
  /** An upload that the job was asked for with. */
  readonly upload: (id: string) => Promise<{ upload: Upload; bytes: Uint8Array }>;
  /** Work on a picture, off the GPU. */
  readonly picture: (work: PictureWork) => Promise<PictureResult>;
  /** How far the whole job is, 0 to 1. */
  readonly progress: (fraction: number) => void;
  /** How it looks at the moment. */
  readonly preview: (bytes: Uint8Array) => void;
}

export interface Result {
  readonly name: string;
  readonly contentType: string;
  readonly bytes: Uint8Array;
  readonly metadata: object;
}

export interface ResultSink {
  /** Resolves to false for a picture that the tenant's policy keeps from it: it is not delivered, nor charged. */
  readonly add: (result: Result) => Promise<boolean>;
}

/** A kind of job. Adding one is a folder with one of these, and its name in the list of compose.ts. */
export interface Feature<Input = never> {
  readonly name: string;
  /** Where it is asked for. */
  readonly path: string;
  readonly summary: string;
  /** The body of the request that asks for it. */
  readonly body: TSchema;
  readonly modality: 'image' | 'text';
  /** The ids of uploads in the body, by the parameter that names them. */
  uploads?(input: Input): Readonly<Record<string, string | undefined>>;
  /**
   * What is asked of admission, for a body that the schema let through and uploads that are there. Throws an ApiError
   * for what cannot be.
   */
  wish(
    input: Input,
    model: CatalogModel,
    uploads: Readonly<Record<string, Upload>>,
  ): Pick<Wish, 'prompts' | 'work' | 'images'>;
  /** What is kept of the body: defaults filled in, and chance decided, so that every attempt does the same. */
  prepare(input: Input): Input;
  /** Does it all. Returns what was used, also by the steps that were done before. */
  run(input: Input, context: JobContext): Promise<Actual>;
  /** How many steps the whole is: a job that is given up pays for those that were finished. */
  steps(input: Input): number;
}

/** The uploads that a body names, by the parameter, and the first of them that is not there. */
export function uploadsOf(
  feature: Feature<unknown>,
  input: unknown,
  find: (id: string) => Upload | undefined,
): { uploads: Record<string, Upload>; missing: { param: string; id: string } | null } {
  const uploads: Record<string, Upload> = {};
  for (const [param, id] of Object.entries(feature.uploads?.(input) ?? {})) {
    if (id === undefined) continue;
    const upload = find(id);
    if (!upload) return { uploads, missing: { param, id } };
    uploads[param] = upload;
  }
  return { uploads, missing: null };
}
