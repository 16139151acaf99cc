/**
 * What an engine is to the rest of the supplier: something that answers requests with tokens.
 *
 * Implementations: llamacpp/host.ts (the built-in engine, in a child process), ollama/backend.ts (an
 * Ollama server), upstream/backend.ts (any servers that speak the OpenAI API), and berth.ts, which loads and
 * unloads one of these. Failures are
 * `InferenceError` (errors.ts). Every implementation passes the same contract suite,
 * test/contract/backend.ts.
 */
import type {
  ChatMessage,
  Delta,
  EmbeddingRequest,
  Embeddings,
  Features,
  Generation,
  GenerationRequest,
} from './request.ts'

export interface BackendInfo {
  readonly kind: 'llamacpp' | 'ollama' | 'upstream' | 'echo'
  readonly model: string
  /** Tokens of prompt and answer together that one request may use. */
  readonly contextSize: number
  /** Requests answered at the same time. */
  readonly slots: number
  /** Where it computes, in words: `cpu`, or the names of the graphics cards. */
  readonly device: string
  readonly features: Features
  /** What runs, in short: changes when the weights, the engine or its settings change. */
  readonly fingerprint: string
  readonly facts: ModelFacts
}

/** What is known of the model because it was read here; what only a server says is not in here. */
export interface ModelFacts {
  /** Of the weights, in hex. */
  readonly sha256?: string
  readonly format?: 'gguf'
  readonly quantisation?: string
  readonly tokenizerSha256?: string
  readonly templateSha256?: string
  /** Versions of the engine. */
  readonly build?: string
  /** A greedy answer is the same alone, under load and with a cached prompt. */
  readonly repeatable?: boolean
  /** How the next token is picked where a request says nothing. */
  readonly sampling?: SamplingFacts
}

export interface SamplingFacts {
  /** 0 is greedy. */
  readonly temperature: number
  readonly topP: number
  readonly topK: number
  readonly minP: number
}

export interface BackendStats {
  /** Requests that hold a slot now. */
  readonly active: number
  /** Requests that wait for one. */
  readonly queued: number
  /**
   * starting: for the first time; unloaded: it has no memory, and can be loaded; failed: it could not be
   * loaded and is tried again.
   */
  readonly state: 'starting' | 'ready' | 'restarting' | 'unloaded' | 'failed' | 'stopped'
  /** Of a failed one, in words for the owner. */
  readonly failure?: string
  /** Tokens generated a second, all slots together, lately; 0 before the first answer. */
  readonly tokensPerSecond: number
  /** Present while it runs worse than it was asked to; in words for the owner. */
  readonly degraded?: string
  /** The process of ours that computes, while there is one. */
  readonly pid?: number
  /** Of other programs that are asked over the network. */
  readonly servers?: readonly ServerStats[]
  /** Tokens that were bought in the last hour and the last day. */
  readonly spent?: { readonly hour: number; readonly day: number }
}

export interface ServerStats {
  /** Host and port. */
  readonly name: string
  /** ok; unhealthy: its health says so; open: it failed and rests; half-open: it is tried again. */
  readonly state: 'ok' | 'unhealthy' | 'open' | 'half-open'
  /** Until the next try; absent unless open. */
  readonly restMs?: number
  readonly inFlight: number
  readonly slots: number
  /** A code or a few words; absent: nothing has failed yet. */
  readonly lastFailure?: string
}

export interface RunOptions {
  readonly signal: AbortSignal
}

export interface InferenceBackend {
  readonly kind: BackendInfo['kind']

  /** Resolves when requests can be answered; throws InferenceError when that can't be. Called once. */
  start(signal?: AbortSignal): Promise<void>

  info(): BackendInfo

  stats(): BackendStats

  /**
   * Answers one request. `onDelta` gets the answer as it comes; it is called before the promise resolves
   * and never after. What the backend has no feature for was refused before.
   *
   * Throws InferenceError BUSY (queue full), CONTEXT_LENGTH, BAD_REQUEST, ENGINE_FAILED, ENGINE_TIMEOUT,
   * STOPPED; after an abort, the signal's reason.
   */
  generate(
    request: GenerationRequest,
    options: RunOptions & { readonly onDelta?: (delta: Delta) => void },
  ): Promise<Generation>

  /** With `features.embeddings`. Throws as `generate`. */
  embed(request: EmbeddingRequest, options: RunOptions): Promise<Embeddings>

  /**
   * With `features.tokenize`: token ids of a text, or of a conversation as the model's template writes it.
   * @param addSpecial of a text: begin with the model's own first token, if it has one
   */
  tokenize(
    of: string | readonly ChatMessage[],
    addSpecial: boolean,
    options: RunOptions,
  ): Promise<readonly number[]>

  /** With `features.tokenize`. @throws InferenceError BAD_REQUEST: no such token */
  detokenize(tokens: readonly number[], options: RunOptions): Promise<string>

  /**
   * For models that another program holds in memory: has it let go of them. Called before `stop` when the owner
   * needs the machine. Never throws.
   */
  release?(): Promise<void>

  /** Ends running requests with STOPPED and gives memory and processes back. May be called twice. */
  stop(): Promise<void>
}
