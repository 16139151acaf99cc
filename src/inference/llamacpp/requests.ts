/**
 * Which requests are out in the engine, which wait, and what each has been told so far.
 *
 * No process and no clock in here, only bookkeeping: a request ends once, by the engine's word, by its
 * caller's abort or by the engine's death, and whatever is said about it later is not heard.
 * Tested by test/inference/llamacpp/requests.ts.
 */
import { BoundedQueue } from '../../base/queue.ts'
import { InferenceError } from '../errors.ts'
import type { Delta, Generation, TokenScore, ToolCall } from '../request.ts'
import type { AboutTask, Task, ToEngine } from './wire.ts'

type End = Exclude<AboutTask, { type: 'delta' | 'refused' }>
export type Vectors = Extract<AboutTask, { type: 'vectors' }>

/** What a task ended with. */
export type Ended = End & Pick<Generation, 'text' | 'toolCalls' | 'reasoning' | 'scores'>

export interface RequestsOptions {
  /** So many more wait than are out. */
  readonly queueMax: number
}

interface Entry {
  readonly message: Task
  readonly onDelta: ((delta: Delta) => void) | undefined
  text: string
  reasoning: string
  readonly toolCalls: ToolCall[]
  readonly scores: TokenScore[]
  settled: boolean
  readonly resolve: (end: Ended) => void
  readonly reject: (error: unknown) => void
}

export class Requests {
  readonly #send: (message: ToEngine) => void
  readonly #queue: BoundedQueue<Entry>
  /** An aborted request stays until the engine has confirmed it: it still holds its slot. */
  readonly #out = new Map<number, Entry>()
  /** So many are sent at once; 0 while there is no engine. */
  #slots = 0

  /** @param deps.send to the engine of the moment; only called between `open` and `lost` */
  constructor(deps: { send: (message: ToEngine) => void }, options: RequestsOptions) {
    this.#send = deps.send
    this.#queue = new BoundedQueue(options.queueMax)
  }

  get active(): number {
    return this.#out.size
  }

  get queued(): number {
    return this.#queue.size
  }

  /** @throws InferenceError BUSY, what the engine refuses it with, what ends it; or signal.reason */
  add(
    message: Task,
    { signal, onDelta }: { signal: AbortSignal; onDelta?: (delta: Delta) => void },
  ): Promise<Ended> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        const first = !entry.settled
        entry.settled = true
        signal.removeEventListener('abort', onAbort)
        return first
      }
      const entry: Entry = {
        message,
        onDelta,
        text: '',
        reasoning: '',
        toolCalls: [],
        scores: [],
        settled: false,
        resolve: (end) => settle() && resolve(end),
        reject: (error) => settle() && reject(error),
      }
      const onAbort = () => this.#abort(entry, signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      if (this.#hasRoom()) this.#start(entry)
      else if (!this.#queue.push(entry)) entry.reject(busy(this.#queue.size))
    })
  }

  /** An engine is there: whoever waits may go. */
  open(slots: number): void {
    this.#slots = slots
    this.#pump()
  }

  /**
   * The engine is gone: what was out fails, what waits goes on waiting.
   * @returns what was out
   */
  lost(error: unknown): Task[] {
    this.#slots = 0
    const out = [...this.#out.values()]
    this.#out.clear()
    for (const entry of out) entry.reject(error)
    return out.map(({ message }) => message)
  }

  failWaiting(error: unknown): void {
    for (const entry of this.#queue.remove(() => true)) entry.reject(error)
  }

  take(message: AboutTask): void {
    const entry = this.#out.get(message.id)
    if (entry === undefined) return
    if (message.type === 'delta') {
      const { type: _, id: __, ...delta } = message
      this.#grow(entry, delta)
      return
    }
    this.#out.delete(message.id)
    if (message.type === 'refused') entry.reject(refusal(message))
    else {
      const { text, reasoning, toolCalls, scores } = entry
      const wantsScores =
        'settings' in entry.message && entry.message.settings.topLogprobs !== undefined
      entry.resolve({
        ...message,
        text: message.type === 'words' ? message.text : text,
        toolCalls,
        ...(reasoning === '' ? {} : { reasoning }),
        ...(wantsScores ? { scores } : {}),
      })
    }
    this.#pump()
  }

  #grow(entry: Entry, delta: Delta): void {
    if (entry.settled) return
    entry.text += delta.text ?? ''
    entry.reasoning += delta.reasoning ?? ''
    if (delta.toolCall !== undefined) entry.toolCalls.push(delta.toolCall)
    for (const score of delta.scores ?? []) entry.scores.push(score)
    try {
      entry.onDelta?.(delta)
    } catch (error) {
      this.#abort(entry, error)
    }
  }

  #hasRoom(): boolean {
    return this.#out.size < this.#slots
  }

  #pump(): void {
    while (this.#hasRoom()) {
      const entry = this.#queue.shift()
      if (entry === undefined) return
      this.#start(entry)
    }
  }

  #start(entry: Entry): void {
    this.#out.set(entry.message.id, entry)
    this.#send(entry.message)
  }

  #abort(entry: Entry, reason: unknown): void {
    this.#queue.remove((other) => other === entry)
    if (this.#out.has(entry.message.id)) this.#send({ type: 'abort', id: entry.message.id })
    entry.reject(reason)
  }
}

function refusal({ code, message, data }: Extract<AboutTask, { type: 'refused' }>): InferenceError {
  return new InferenceError(code, message, { data, retryable: code === 'ENGINE_FAILED' })
}

function busy(waiting: number): InferenceError {
  return new InferenceError('BUSY', `all slots are taken and ${waiting} requests wait`, {
    retryable: true,
  })
}
