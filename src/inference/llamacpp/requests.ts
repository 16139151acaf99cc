/**
 * Which requests are out in the engine, which wait, and what each has been told so far.
 *
 * No process and no clock in here, only bookkeeping: a request ends once, by the engine's word, by its
 * caller's abort or by the engine's death, and whatever is said about it later is not heard.
 * Tested by test/inference/llamacpp/requests.ts.
 */
import { BoundedQueue } from '../../base/queue.ts'
import type { Completion } from '../backend.ts'
import { InferenceError } from '../errors.ts'
import type { ChatMessageToEngine, FromEngine, ToEngine } from './wire.ts'

export type AboutRequest = Extract<FromEngine, { type: 'text' | 'done' | 'refused' }>

export type Answer = Omit<Completion, 'fingerprint'>

export interface RequestsOptions {
  /** So many are sent at once. */
  readonly slots: number
  /** So many more wait. */
  readonly queueMax: number
}

interface Entry {
  readonly message: ChatMessageToEngine
  readonly onText: ((text: string) => void) | undefined
  text: string
  settled: boolean
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
}

export class Requests {
  readonly #send: (message: ToEngine) => void
  readonly #slots: number
  readonly #queue: BoundedQueue<Entry>
  /** An aborted request stays until the engine has confirmed it: it still holds its slot. */
  readonly #out = new Map<number, Entry>()
  #open = false

  /** @param deps.send to the engine of the moment; only called between `open` and `lost` */
  constructor(deps: { send: (message: ToEngine) => void }, options: RequestsOptions) {
    this.#send = deps.send
    this.#slots = options.slots
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
    message: ChatMessageToEngine,
    { signal, onText }: { signal: AbortSignal; onText?: (text: string) => void },
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        const first = !entry.settled
        entry.settled = true
        signal.removeEventListener('abort', onAbort)
        return first
      }
      const entry: Entry = {
        message,
        onText,
        text: '',
        settled: false,
        resolve: (answer) => settle() && resolve(answer),
        reject: (error) => settle() && reject(error),
      }
      const onAbort = () => this.#abort(entry, signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      if (this.#hasRoom()) this.#start(entry)
      else if (!this.#queue.push(entry)) entry.reject(busy(this.#queue.size))
    })
  }

  /** An engine is there: whoever waits may go. */
  open(): void {
    this.#open = true
    this.#pump()
  }

  /** The engine is gone: what was out fails, what waits goes on waiting. */
  lost(error: unknown): void {
    this.#open = false
    const out = [...this.#out.values()]
    this.#out.clear()
    for (const entry of out) entry.reject(error)
  }

  failWaiting(error: unknown): void {
    for (const entry of this.#queue.remove(() => true)) entry.reject(error)
  }

  take(message: AboutRequest): void {
    const entry = this.#out.get(message.id)
    if (entry === undefined) return
    if (message.type === 'text') {
      this.#text(entry, message.text)
      return
    }
    this.#out.delete(message.id)
    if (message.type === 'refused')
      entry.reject(new InferenceError(message.code, message.message, { data: message.data }))
    else {
      const { finishReason, promptTokens, completionTokens } = message
      entry.resolve({ text: entry.text, finishReason, usage: { promptTokens, completionTokens } })
    }
    this.#pump()
  }

  #text(entry: Entry, text: string): void {
    if (entry.settled) return
    entry.text += text
    try {
      entry.onText?.(text)
    } catch (error) {
      this.#abort(entry, error)
    }
  }

  #hasRoom(): boolean {
    return this.#open && this.#out.size < this.#slots
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

function busy(waiting: number): InferenceError {
  return new InferenceError('BUSY', `all slots are taken and ${waiting} requests wait`, {
    retryable: true,
  })
}
