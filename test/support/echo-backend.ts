/** A small real backend: it says again what it was told, a word at a time. */
import type { Clock } from '../../src/base/clock.ts'
import { systemClock } from '../../src/base/clock.ts'
import { type Ms, ms } from '../../src/base/units.ts'
import type {
  BackendInfo,
  BackendStats,
  ChatRequest,
  Completion,
  InferenceBackend,
} from '../../src/inference/backend.ts'
import { InferenceError } from '../../src/inference/errors.ts'

export interface Echo extends Pick<Completion, 'finishReason' | 'usage'> {
  readonly pieces: readonly string[]
}

const words = (text: string) => text.split(/(?<=\s)/).filter((word) => word !== '')

/**
 * The answer to a chat, as a function of it: a token is a word. Above temperature 0 the seed says
 * with which word it begins. @throws InferenceError CONTEXT_LENGTH
 */
export function echo(
  request: Pick<ChatRequest, 'messages' | 'maxTokens' | 'temperature' | 'seed' | 'stop'>,
  contextSize: number,
): Echo {
  const promptTokens = words(request.messages.map(({ content }) => content).join(' ')).length + 1
  if (promptTokens >= contextSize)
    throw new InferenceError('CONTEXT_LENGTH', `the context holds ${contextSize} tokens`)
  const all = words(`You said: ${request.messages.at(-1)?.content ?? ''}`)
  const turn = (request.temperature ?? 0) > 0 ? (request.seed ?? 0) % all.length : 0
  const said = [...all.slice(turn), ...all.slice(0, turn)]
  const limit = Math.min(request.maxTokens ?? Number.POSITIVE_INFINITY, contextSize - promptTokens)
  const text = said.slice(0, limit).join('')
  const ends = request.stop.map((stop) => text.indexOf(stop)).filter((at) => at !== -1)
  const pieces = words(ends.length === 0 ? text : text.slice(0, Math.min(...ends)))
  const isWhole = ends.length > 0 || said.length < limit
  return {
    pieces,
    finishReason: isWhole ? 'stop' : 'length',
    usage: { promptTokens, completionTokens: pieces.length + (isWhole ? 1 : 0) },
  }
}

export interface EchoOptions {
  readonly slots: number
  readonly contextSize: number
  /** 0: no sleep at all, so that a clock that stands still doesn't matter. */
  readonly tokenDelay: Ms
  /** Awaited before the first token: a test holds requests here, or throws from here. */
  readonly gate: (request: ChatRequest, signal: AbortSignal) => Promise<void>
}

export class EchoBackend implements InferenceBackend {
  readonly kind = 'echo'
  readonly #clock: Clock
  readonly #options: EchoOptions
  readonly #running = new Set<AbortController>()
  #state: BackendStats['state'] = 'starting'

  constructor(options: Partial<EchoOptions> = {}, deps: { clock: Clock } = { clock: systemClock }) {
    this.#clock = deps.clock
    this.#options = {
      slots: 2,
      contextSize: 256,
      tokenDelay: ms(0),
      gate: async () => {},
      ...options,
    }
  }

  async start(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    if (this.#state === 'starting') this.#state = 'ready'
  }

  info(): BackendInfo {
    const { slots, contextSize } = this.#options
    return { kind: this.kind, model: 'echo', contextSize, slots, device: 'cpu' }
  }

  stats(): BackendStats {
    return { active: this.#running.size, queued: 0, state: this.#state, tokensPerSecond: 0 }
  }

  /** For tests of what others do while an engine starts again. */
  become(state: BackendStats['state']): void {
    this.#state = state
  }

  async chat(
    request: ChatRequest,
    options: { signal: AbortSignal; onText?: (text: string) => void },
  ): Promise<Completion> {
    options.signal.throwIfAborted()
    if (this.#state !== 'ready') throw stopped()
    if (this.#running.size >= this.#options.slots)
      throw new InferenceError('BUSY', 'no slot is free', { retryable: true })
    const controller = new AbortController()
    const abort = () => controller.abort(options.signal.reason)
    options.signal.addEventListener('abort', abort, { once: true })
    this.#running.add(controller)
    try {
      const answer = echo(request, this.#options.contextSize)
      await this.#options.gate(request, controller.signal)
      for (const piece of answer.pieces) {
        await this.#pause(controller.signal)
        options.onText?.(piece)
      }
      const { finishReason, usage } = answer
      return { text: answer.pieces.join(''), finishReason, usage, fingerprint: 'pk1-echo' }
    } finally {
      this.#running.delete(controller)
      options.signal.removeEventListener('abort', abort)
    }
  }

  async stop(): Promise<void> {
    this.#state = 'stopped'
    for (const controller of this.#running) controller.abort(stopped())
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const { tokenDelay } = this.#options
    if (tokenDelay > 0) await this.#clock.sleep(tokenDelay, signal)
    else await new Promise((resolve) => setImmediate(resolve))
    signal.throwIfAborted()
  }
}

function stopped(): InferenceError {
  return new InferenceError('STOPPED', 'the echo has stopped', { retryable: true })
}
