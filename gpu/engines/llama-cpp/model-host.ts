import { randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import {
  type ChatHistoryItem,
  type ChatModelFunctions,
  getLlama,
  type Llama,
  LlamaChat,
  LlamaCompletion,
  type LlamaContext,
  type LlamaEmbeddingContext,
  type LlamaGrammar,
  type LlamaModel,
} from 'node-llama-cpp';
import { type ChatPrompt, type Sampling, UnsupportedRequest } from './openai-request.ts';

export interface LoadOptions {
  readonly file: string;
  readonly contextLength: number;
  readonly slots: number;
  /** 0 to 1; null leaves it to llama.cpp. */
  readonly gpuRatio: number | null;
}

export interface Generated {
  readonly text: string;
  readonly finish: 'stop' | 'length' | 'tool_calls';
  readonly calls: readonly { id: string; name: string; args: string }[];
  readonly promptTokens: number;
  readonly completionTokens: number;
}

interface Loaded {
  readonly model: LlamaModel;
  readonly context: LlamaContext;
  embeddings: Promise<LlamaEmbeddingContext> | null;
}

export interface Generation {
  readonly sampling: Sampling;
  readonly signal: AbortSignal;
  readonly onText: (text: string) => void;
}

/** Models in this process, through node-llama-cpp: load, unload, generate. */
export class ModelHost {
  readonly #llama: Promise<Llama>;
  readonly #models = new Map<string, Loaded>();

  constructor() {
    // Never compiles or downloads: what npm installed is what there is.
    this.#llama = getLlama({
      build: 'never',
      skipDownload: true,
      progressLogs: false,
      // One core stays with the appliance. llama.cpp's threads spin: with as many as cores, tokens took 200 ms each.
      maxThreads: Math.max(1, availableParallelism() - 1),
    });
  }

  async gpu(): Promise<string | false> {
    return (await this.#llama).gpu;
  }

  loaded(): string[] {
    return [...this.#models.keys()];
  }

  async load(key: string, options: LoadOptions): Promise<void> {
    if (this.#models.has(key)) return;
    const llama = await this.#llama;
    const model = await llama.loadModel({
      modelPath: options.file,
      ...(options.gpuRatio !== null && { gpuLayers: await layersOf(options) }),
    });
    try {
      const contextSize = Math.min(options.contextLength, model.trainContextSize);
      const context = await model.createContext({ contextSize, sequences: options.slots });
      this.#models.set(key, { model, context, embeddings: null });
    } catch (error) {
      await model.dispose();
      throw error;
    }
  }

  async unload(key: string): Promise<void> {
    const loaded = this.#models.get(key);
    this.#models.delete(key);
    await loaded?.model.dispose();
  }

  async chat(key: string, prompt: ChatPrompt, generation: Generation): Promise<Generated> {
    const { model, context } = this.#get(key);
    const sequence = context.getSequence();
    // A sequence of its own for every request: no tenant's prompt is left for the next one (T4).
    const chat = new LlamaChat({ contextSequence: sequence, autoDisposeSequence: true });
    try {
      const common = this.#options(model, generation);
      const history = historyOf(prompt);
      if (prompt.tools) {
        // The schemas are the caller's own; node-llama-cpp refuses what it cannot express.
        const functions = prompt.tools as ChatModelFunctions;
        const answer = await chat.generateResponse(history, { ...common, functions });
        const made = (answer.functionCalls ?? []).map(({ functionName, params }) => ({
          id: `call_${randomUUID().replaceAll('-', '').slice(0, 24)}`,
          name: functionName,
          args: JSON.stringify(params ?? {}),
        }));
        return this.#generated(answer, sequence, made);
      }
      const grammar = await this.#grammar(generation.sampling);
      const answer = await chat.generateResponse(history, { ...common, ...(grammar && { grammar }) });
      return this.#generated(answer, sequence, []);
    } finally {
      chat.dispose();
    }
  }

  async complete(key: string, prompt: string, generation: Generation): Promise<Generated> {
    const { model, context } = this.#get(key);
    const sequence = context.getSequence();
    const completion = new LlamaCompletion({ contextSequence: sequence, autoDisposeSequence: true });
    try {
      const grammar = await this.#grammar(generation.sampling);
      const options = { ...this.#options(model, generation), ...(grammar && { grammar }) };
      const answer = await completion.generateCompletionWithMeta(prompt, options);
      return this.#generated(answer, sequence, []);
    } finally {
      completion.dispose();
    }
  }

  async embed(key: string, inputs: readonly string[]): Promise<{ vectors: number[][]; tokens: number }> {
    const loaded = this.#get(key);
    loaded.embeddings ??= loaded.model.createEmbeddingContext({ contextSize: { max: 2_048 } });
    const context = await loaded.embeddings;
    const vectors: number[][] = [];
    let tokens = 0;
    for (const input of inputs) {
      tokens += loaded.model.tokenize(input).length;
      vectors.push([...(await context.getEmbeddingFor(input)).vector]);
    }
    return { vectors, tokens };
  }

  #get(key: string): Loaded {
    const loaded = this.#models.get(key);
    if (!loaded) throw new UnsupportedRequest(`The model "${key}" is not loaded.`);
    return loaded;
  }

  #options(model: LlamaModel, { sampling, signal, onText }: Generation) {
    return {
      onTextChunk: onText,
      signal,
      // Without a limit a model that never ends would hold its slot for a whole context.
      maxTokens: Math.min(sampling.maxTokens ?? 2_048, model.trainContextSize),
      temperature: sampling.temperature,
      ...(sampling.topP !== null && { topP: sampling.topP }),
      ...(sampling.seed !== null && { seed: sampling.seed }),
      ...(sampling.stop.length > 0 && { customStopTriggers: [...sampling.stop] }),
    };
  }

  async #grammar({ json }: Sampling): Promise<LlamaGrammar | null> {
    if (json === null) return null;
    const llama = await this.#llama;
    if (json === true) return llama.getGrammarFor('json');
    try {
      // The schema came over the wire: what it cannot express is refused by the library.
      return await llama.createGrammarForJsonSchema(json as { type: 'object' });
    } catch (error) {
      throw new UnsupportedRequest(`The JSON schema cannot be used: ${String(error)}`);
    }
  }

  #generated(
    answer: { response: string; metadata: { stopReason: string } },
    sequence: { tokenMeter: { usedInputTokens: number; usedOutputTokens: number } },
    calls: Generated['calls'],
  ): Generated {
    return {
      text: answer.response,
      finish:
        calls.length > 0 ? 'tool_calls' : answer.metadata.stopReason === 'maxTokens' ? 'length' : 'stop',
      calls,
      promptTokens: sequence.tokenMeter.usedInputTokens,
      completionTokens: sequence.tokenMeter.usedOutputTokens,
    };
  }
}

function historyOf({ messages }: ChatPrompt): ChatHistoryItem[] {
  const results = new Map(
    messages.flatMap((turn) => (turn.role === 'tool' ? [[turn.id, turn.text] as const] : [])),
  );
  const history: ChatHistoryItem[] = [];
  for (const turn of messages) {
    if (turn.role === 'system') history.push({ type: 'system', text: turn.text });
    else if (turn.role === 'user') history.push({ type: 'user', text: turn.text });
    else if (turn.role === 'assistant') history.push({ type: 'model', response: [turn.text] });
    else if (turn.role === 'calls') {
      const response = turn.calls.map(({ id, name, args }) => ({
        type: 'functionCall' as const,
        name,
        params: args,
        result: results.get(id) ?? null,
      }));
      history.push({ type: 'model', response });
    }
  }
  // The library continues the last turn of the model, which is the one to be written.
  history.push({ type: 'model', response: [] });
  return history;
}

async function layersOf({ gpuRatio, file }: LoadOptions): Promise<number> {
  const { readGgufFileInfo, GgufInsights } = await import('node-llama-cpp');
  const insights = await GgufInsights.from(await readGgufFileInfo(file));
  return Math.round(insights.totalLayers * (gpuRatio ?? 1));
}
