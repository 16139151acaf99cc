/**
 * What may be asked of an engine, checked and in our own terms, and what it gives back.
 *
 * Readers (read/*.ts) make these from bodies of the OpenAI API, backends answer them, writers (write/*.ts)
 * make bodies again. One request is one choice: `n`, `best_of` and lists of prompts become several.
 * What is absent is left to the model's own default. No engine's names and no wire form in here.
 */

export type JsonObject = Readonly<Record<string, unknown>>

/** One call of a tool, as the model made it. */
export interface ToolCall {
  /** `call_` and letters; unique within the conversation. */
  readonly id: string
  readonly name: string
  /** The JSON text of one object, always valid. */
  readonly arguments: string
}

/** One turn of a conversation. Texts are plain: markers of a chat template in them mean nothing. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool'
  readonly content: string
  /** Of an assistant's turn: what it thought, where the caller gives it back. */
  readonly reasoning?: string
  /** Of an assistant's turn. */
  readonly toolCalls?: readonly ToolCall[]
  /** Of a tool's turn: which call it answers. */
  readonly toolCallId?: string
  /** Of a tool's turn: the tool's name, where it is known. */
  readonly name?: string
}

export interface Tool {
  readonly name: string
  readonly description?: string
  /** JSON Schema of the arguments, checked by schema.ts; absent: an object with anything in it. */
  readonly parameters?: JsonObject
}

export type ToolChoice = 'auto' | 'none' | 'required' | { readonly name: string }

export type AnswerFormat =
  | { readonly kind: 'text' }
  /** Any JSON object. */
  | { readonly kind: 'json' }
  /** JSON that the schema accepts; the schema was checked by schema.ts. */
  | { readonly kind: 'schema'; readonly name: string; readonly schema: JsonObject }

/** How the next token is picked, and when to end. */
export interface GenerationWishes {
  /** At most so many tokens are generated, thoughts included; absent: what the context still holds. */
  readonly maxTokens?: number
  /** 0 is greedy. */
  readonly temperature?: number
  readonly topP?: number
  /** 0 keeps every token. */
  readonly topK?: number
  /** Tokens below this share of the best one's probability are left out. */
  readonly minP?: number
  /** -2 to 2. */
  readonly presencePenalty?: number
  /** -2 to 2. */
  readonly frequencyPenalty?: number
  /** Above 0; 1 changes nothing. */
  readonly repeatPenalty?: number
  /** Token id to what is added to its logit, -100 to 100. */
  readonly logitBias?: ReadonlyMap<number, number>
  /** Any 64-bit pattern. The same request with the same seed gives the same text on the same weights. */
  readonly seed?: bigint
  /** The text ends before the first of these; empty = none. */
  readonly stop: readonly string[]
  /** Log-probabilities are wanted, of the chosen token and of so many of the most likely ones (0 to 20). */
  readonly topLogprobs?: number
  /** Decoded alone and without reuse of earlier work, so that the answer does not depend on neighbours. */
  readonly deterministic?: boolean
}

export interface ChatRequest extends GenerationWishes {
  readonly kind: 'chat'
  /** At least one; in the order of the conversation. */
  readonly messages: readonly ChatMessage[]
  /** Empty = none. */
  readonly tools: readonly Tool[]
  readonly toolChoice: ToolChoice
  /** False: at most one call in an answer. */
  readonly parallelToolCalls: boolean
  readonly format: AnswerFormat
  /** For models that think: whether, and at most how many tokens. */
  readonly thinking?: { readonly enabled?: boolean; readonly tokensMax?: number }
}

export interface CompletionRequest extends GenerationWishes {
  readonly kind: 'completion'
  /** Text, or token ids that are taken as they are (no begin-of-sequence token is added to ids). */
  readonly prompt: string | readonly number[]
  /** What comes after the gap that is to be filled. */
  readonly suffix?: string
  /** The answer begins with the prompt; with `topLogprobs` its tokens are scored too. */
  readonly echo: boolean
}

export type GenerationRequest = ChatRequest | CompletionRequest

/** One token of an answer or of an echoed prompt, with its exact log-probabilities. */
export interface TokenScore {
  /** Its text; halves of a character are U+FFFD, `bytes` has them. */
  readonly text: string
  readonly bytes: Uint8Array
  /** Natural logarithm, of the model's own distribution; null for the first token of a prompt. */
  readonly logprob: number | null
  /** The most likely tokens, best first; as many as were asked for. */
  readonly top: readonly TokenAlternative[]
}

export interface TokenAlternative {
  readonly text: string
  readonly bytes: Uint8Array
  readonly logprob: number
}

/** Exact counts; `completionTokens` includes the token that ended the answer, if one did. */
export interface Usage {
  readonly promptTokens: number
  readonly completionTokens: number
  /** Of the prompt: not computed again. */
  readonly cachedTokens?: number
  /** Of the completion: thoughts. */
  readonly reasoningTokens?: number
}

/** A piece of an answer, while it comes. Texts are whole characters and never part of a stop string. */
export interface Delta {
  readonly text?: string
  readonly reasoning?: string
  /** A whole call at once: its arguments are then known to be valid JSON. */
  readonly toolCall?: ToolCall
  /** Scores of the tokens behind `text`. */
  readonly scores?: readonly TokenScore[]
}

export interface Generation {
  /** Everything that came as `text`, joined; after an echo, the prompt first. */
  readonly text: string
  readonly reasoning?: string
  readonly toolCalls: readonly ToolCall[]
  /** `length`: the limit of tokens, of the context or of time came first. */
  readonly finishReason: 'stop' | 'length' | 'tool_calls' | 'content_filter'
  readonly usage: Usage
  /** Present if they were asked for: of the echoed prompt first, then of the answer. */
  readonly scores?: readonly TokenScore[]
  /** What ran, in short: changes when the weights, the engine or its settings change. */
  readonly fingerprint: string
}

export interface EmbeddingRequest {
  /** Texts, or token ids; one vector each. */
  readonly inputs: readonly (string | readonly number[])[]
  /** Vectors are cut to so many numbers and scaled to length 1 again. */
  readonly dimensions?: number
}

export interface Embeddings {
  /** One for each input, in order; of length 1. */
  readonly vectors: readonly Float32Array[]
  readonly promptTokens: number
  readonly fingerprint: string
}

/** What a backend can do; what it can't is refused by the name of the field that asks for it. */
export interface Features {
  readonly chat: boolean
  readonly completions: boolean
  /** Prompts as token ids. */
  readonly tokenPrompts: boolean
  readonly echo: boolean
  readonly suffix: boolean
  readonly logprobs: boolean
  readonly logitBias: boolean
  readonly tools: boolean
  /** `required` and named choices: the call is forced. */
  readonly forcedTools: boolean
  readonly jsonObject: boolean
  readonly jsonSchema: boolean
  readonly embeddings: boolean
  readonly tokenize: boolean
  /** The model can think before it answers. */
  readonly thinking: boolean
}
