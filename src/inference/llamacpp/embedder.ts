/**
 * Vectors for texts, in a context of its own that is made when the first one is asked for.
 *
 * One input at a time: a vector is the same alone, repeated and in a list.
 * Tested by test/inference/llamacpp/held.ts.
 */
import type { LlamaEmbeddingContext, LlamaModel, Token } from 'node-llama-cpp'
import { Mutex } from '../../base/queue.ts'
import { InferenceError } from '../errors.ts'
import { unit } from '../vectors.ts'
import type { Prompts } from './prompts.ts'

export interface Vectors {
  /** Of length 1. */
  readonly vectors: Float32Array<ArrayBuffer>[]
  readonly promptTokens: number
}

/** A text is read in one piece, whose memory grows with its size; nobody embeds longer ones. */
const CONTEXT_MAX = 8_192

export class Embedder {
  readonly #model: LlamaModel
  readonly #prompts: Prompts
  readonly #options: { readonly contextSize: number; readonly threads: number }
  readonly #turn = new Mutex()
  #context: LlamaEmbeddingContext | undefined

  constructor(
    deps: { model: LlamaModel; prompts: Prompts },
    options: { contextSize: number; threads: number },
  ) {
    this.#model = deps.model
    this.#prompts = deps.prompts
    this.#options = { ...options, contextSize: Math.min(options.contextSize, CONTEXT_MAX) }
  }

  /**
   * @throws InferenceError CONTEXT_LENGTH, BAD_REQUEST; signal.reason between two inputs
   */
  async embed(
    inputs: readonly (string | readonly number[])[],
    signal: AbortSignal,
  ): Promise<Vectors> {
    const tokens = inputs.map((input, at) => this.#tokens(input, at))
    const vectors: Float32Array<ArrayBuffer>[] = []
    for (const input of tokens) {
      signal.throwIfAborted()
      vectors.push(await this.#turn.run(() => this.#vector(input)))
    }
    return { vectors, promptTokens: tokens.reduce((sum, { length }) => sum + length, 0) }
  }

  #tokens(input: string | readonly number[], at: number): Token[] {
    const tokens =
      typeof input === 'string'
        ? this.#prompts.tokensOf(input, true)
        : this.#prompts.known(input, `input[${at}]`)
    const { contextSize } = this.#options
    // A token that ends the text may be added.
    if (tokens.length + 1 <= contextSize) return tokens
    throw new InferenceError(
      'CONTEXT_LENGTH',
      `input ${at} takes ${tokens.length} tokens and the context holds ${contextSize}`,
      { data: { param: 'input', promptTokens: tokens.length, contextSize } },
    )
  }

  async #vector(tokens: Token[]): Promise<Float32Array<ArrayBuffer>> {
    const { contextSize, threads } = this.#options
    this.#context ??= await this.#model.createEmbeddingContext({
      contextSize,
      batchSize: contextSize,
      threads,
    })
    const { vector } = await this.#context.getEmbeddingFor(tokens)
    return unit(vector)
  }
}
