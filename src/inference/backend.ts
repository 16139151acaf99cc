/**
 * What an engine is to the rest of the supplier: something that takes a chat and gives text.
 *
 * Implementations: llamacpp/host.ts (the built-in engine, in a child process), upstream.ts (any
 * server that speaks the OpenAI API). Failures are `InferenceError` (errors.ts). Every
 * implementation passes the same contract suite, test/contract/backend.ts.
 */

/** One turn of a conversation. `content` is plain text: markers of a chat template in it mean nothing. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: string
}

/** A checked chat request; what is absent is the model's own default. */
export interface ChatRequest {
  /** At least one; in the order of the conversation. */
  readonly messages: readonly ChatMessage[]
  /** At most so many tokens are generated; absent: what the context still holds. */
  readonly maxTokens?: number
  /** 0 is greedy. */
  readonly temperature?: number
  readonly topP?: number
  /** The same request with the same seed gives the same text on the same engine. */
  readonly seed?: number
  /** The text ends before the first of these; empty = none. */
  readonly stop: readonly string[]
  /** The whole body as the caller sent it, for engines that speak OpenAI themselves. */
  readonly body: Readonly<Record<string, unknown>>
}

/** Exact token counts; `completionTokens` includes the token that ended the answer, if one did. */
export interface Usage {
  readonly promptTokens: number
  readonly completionTokens: number
}

export interface Completion {
  /** Everything that `onText` got, joined. */
  readonly text: string
  /** `length`: maxTokens or the end of the context was reached first. */
  readonly finishReason: 'stop' | 'length'
  readonly usage: Usage
  /** What ran, in short: changes when the weights, the engine or its settings change. */
  readonly fingerprint: string
  /** An upstream's own answer, passed on as it is. */
  readonly raw?: Readonly<Record<string, unknown>>
}

export interface BackendInfo {
  readonly kind: 'llamacpp' | 'upstream' | 'echo'
  readonly model: string
  /** Tokens of prompt and answer together that one request may use. */
  readonly contextSize: number
  /** Requests answered at the same time. */
  readonly slots: number
  /** Where it computes, in words: `cpu`, or the names of the graphics cards. */
  readonly device: string
}

export interface BackendStats {
  /** Requests that hold a slot now. */
  readonly active: number
  /** Requests that wait for one. */
  readonly queued: number
  readonly state: 'starting' | 'ready' | 'restarting' | 'stopped'
  /** Tokens generated a second, all slots together, lately; 0 before the first answer. */
  readonly tokensPerSecond: number
}

export interface InferenceBackend {
  readonly kind: BackendInfo['kind']

  /** Resolves when requests can be answered; throws InferenceError when that can't be. Called once. */
  start(signal?: AbortSignal): Promise<void>

  info(): BackendInfo

  stats(): BackendStats

  /**
   * Answers one chat. `onText` gets the text as it comes, in pieces that are whole characters and never
   * part of a stop string; it is called before the promise resolves and never after.
   *
   * Throws InferenceError BUSY (queue full), CONTEXT_LENGTH, BAD_REQUEST, ENGINE_FAILED, ENGINE_TIMEOUT,
   * STOPPED; after an abort, the signal's reason.
   */
  chat(
    request: ChatRequest,
    options: { signal: AbortSignal; onText?: (text: string) => void },
  ): Promise<Completion>

  /** Ends running requests with STOPPED and gives memory and processes back. May be called twice. */
  stop(): Promise<void>
}
