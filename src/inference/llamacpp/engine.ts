/**
 * The engine's process: llama.cpp behind the messages of wire.ts. The host forks this file.
 *
 * It holds no key and no store. It ends when its channel to the supplier does, whatever ended that, and
 * it ends by SIGKILL: leaving in order would wait for a decode that may take a minute, and there is
 * nothing to save. Signals to the whole group (Ctrl+C, a service manager's stop) are not for it: the
 * supplier drains first and then ends it. What llama.cpp throws is not repaired here; the process
 * dies, and the host starts a new one. Tested by test/inference/llamacpp/host.ts and engine.ts.
 */
import { writeSync } from 'node:fs'
import { setPriority } from 'node:os'
import { systemClock } from '../../base/clock.ts'
import { assert } from '../../base/errors.ts'
import { InferenceError } from '../errors.ts'
import { loadLibrary } from './library.ts'
import { type LoadedModel, openModel } from './model.ts'
import {
  type ChatMessageToEngine,
  type FromEngine,
  type LoadMessage,
  parseToEngine,
  WIRE_LIMITS,
} from './wire.ts'

class Engine {
  readonly #send: (message: FromEngine) => void
  readonly #running = new Map<number, AbortController>()
  #model: LoadedModel | undefined

  constructor(deps: { send: (message: FromEngine) => void }) {
    this.#send = deps.send
  }

  async take(value: unknown): Promise<void> {
    const message = parseToEngine(value)
    if (message.type === 'load') await this.#load(message)
    else if (message.type === 'chat') await this.#chat(message)
    else if (message.type === 'abort') this.#running.get(message.id)?.abort()
    else this.#pong(message.id)
  }

  async #load({ type: _, library: url, niceness, ...options }: LoadMessage): Promise<void> {
    assert(this.#model === undefined, 'one model for each engine')
    beNice(niceness)
    try {
      const library = await loadLibrary(url)
      const model = await openModel({ library, clock: systemClock }, options)
      this.#model = model
      this.#send({
        type: 'ready',
        device: model.device.slice(0, WIRE_LIMITS.wordsMax),
        contextSize: model.contextSize,
        threads: model.threads,
        engine: model.engine,
      })
    } catch (error) {
      const code = error instanceof InferenceError ? error.code : 'ENGINE_FAILED'
      this.#send({
        type: 'unready',
        code: code === 'ENGINE_MISSING' || code === 'MODEL_LOAD' ? code : 'ENGINE_FAILED',
        message: words(error),
      })
    }
  }

  async #chat({ type: _, id, ...request }: ChatMessageToEngine): Promise<void> {
    assert(this.#model !== undefined, 'a model is loaded before it is asked')
    const controller = new AbortController()
    this.#running.set(id, controller)
    try {
      const answer = await this.#model.chat(request, {
        signal: controller.signal,
        onText: (text) => this.#send({ type: 'text', id, text }),
      })
      this.#send({ type: 'done', id, ...answer })
    } catch (error) {
      this.#send(this.#refusal(id, error, controller.signal))
    } finally {
      this.#running.delete(id)
    }
  }

  /** @throws error again when it is none of those that a request may have */
  #refusal(id: number, error: unknown, signal: AbortSignal): FromEngine {
    if (signal.aborted && error === signal.reason)
      return { type: 'refused', id, code: 'STOPPED', message: 'aborted', data: {} }
    if (!(error instanceof InferenceError)) throw error
    const { code } = error
    if (code !== 'CONTEXT_LENGTH' && code !== 'BAD_REQUEST') throw error
    const data: Record<string, string | number> = {}
    for (const [name, value] of Object.entries(error.data)) {
      if (typeof value === 'string' || typeof value === 'number') data[name] = value
    }
    return { type: 'refused', id, code, message: words(error), data }
  }

  #pong(id: number): void {
    const loop = this.#model?.loop
    this.#send({
      type: 'pong',
      id,
      steps: loop?.steps ?? 0,
      active: loop?.active ?? 0,
      tokensPerSecond: loop?.tokensPerSecond ?? 0,
    })
  }
}

function words(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, WIRE_LIMITS.wordsMax)
}

/** The machine's owner, and the supplier's own signing, come first. */
function beNice(niceness: number): void {
  try {
    setPriority(niceness)
  } catch {
    // Some containers forbid it.
  }
}

/** Now, whatever native threads do. */
function leave(): void {
  process.kill(process.pid, 'SIGKILL')
}

function fail(error: unknown): void {
  try {
    writeSync(2, `${error instanceof Error ? error.stack : String(error)}\n`)
  } finally {
    leave()
  }
}

function main(): void {
  assert(process.send !== undefined, 'the engine is started by the supplier, not by hand')
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
  process.on('disconnect', leave)
  process.on('uncaughtException', fail)
  process.on('unhandledRejection', fail)
  const engine = new Engine({
    // A failed send means that the channel is gone; `disconnect` deals with that.
    send: (message) => process.send?.(message, undefined, {}, () => {}),
  })
  process.on('message', (value) => {
    engine.take(value).catch(fail)
  })
}

main()
