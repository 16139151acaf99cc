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
import type { Delta, TokenScore } from '../request.ts'
import { loadLibrary } from './library.ts'
import { type LoadedModel, openModel } from './model.ts'
import { type FromEngine, type LoadMessage, parseToEngine, type Task, WIRE_LIMITS } from './wire.ts'

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
    else if (message.type === 'abort') this.#running.get(message.id)?.abort()
    else if (message.type === 'ping') await this.#pong(message.id, message.probe)
    else await this.#work(message)
  }

  async #load({ type: _, library: url, niceness, ...options }: LoadMessage): Promise<void> {
    assert(this.#model === undefined, 'one model for each engine')
    beNice(niceness)
    try {
      const library = await loadLibrary(url)
      const model = await openModel({ library, clock: systemClock, random: Math.random }, options)
      this.#model = model
      const device = model.facts.device.slice(0, WIRE_LIMITS.wordsMax)
      this.#send({ type: 'ready', ...model.facts, device })
    } catch (error) {
      const code = error instanceof InferenceError ? error.code : 'ENGINE_FAILED'
      this.#send({
        type: 'unready',
        code: code === 'ENGINE_MISSING' || code === 'MODEL_LOAD' ? code : 'ENGINE_FAILED',
        message: words(error),
      })
    }
  }

  async #work(task: Task): Promise<void> {
    const model = this.#model
    assert(model !== undefined, 'a model is loaded before it is asked')
    const { id } = task
    const controller = new AbortController()
    this.#running.set(id, controller)
    try {
      this.#send(await this.#perform(model, task, controller.signal))
    } catch (error) {
      this.#send(this.#refusal(id, error, controller.signal))
    } finally {
      this.#running.delete(id)
    }
  }

  async #perform(model: LoadedModel, task: Task, signal: AbortSignal): Promise<FromEngine> {
    const { id } = task
    const { prompts } = model
    switch (task.type) {
      case 'generate': {
        const onDelta = (delta: Delta) => this.#delta(id, delta)
        return { type: 'done', id, ...(await model.generate(task, { signal, onDelta })) }
      }
      case 'embed':
        return { type: 'vectors', id, ...(await model.embedder.embed(task.inputs, signal)) }
      case 'tokenize': {
        const { of, addSpecial } = task
        const tokens =
          typeof of === 'string' ? prompts.tokensOf(of, addSpecial) : prompts.conversation(of)
        return { type: 'tokens', id, tokens: [...tokens] }
      }
      case 'detokenize':
        return {
          type: 'words',
          id,
          text: prompts.display.textOf(prompts.known(task.tokens, 'tokens')),
        }
    }
  }

  /** In as many messages as their size allows. */
  #delta(id: number, delta: Delta): void {
    const { scores = [], ...rest } = delta
    const first = scores.slice(0, WIRE_LIMITS.scoresMax)
    this.#send({
      type: 'delta',
      id,
      ...rest,
      ...(first.length === 0 ? {} : { scores: wireScores(first) }),
    })
    const others = scores.slice(first.length)
    if (others.length > 0) this.#delta(id, { scores: others })
  }

  /** @throws error again when it is none of those that a request may have */
  #refusal(id: number, error: unknown, signal: AbortSignal): FromEngine {
    if (signal.aborted && error === signal.reason)
      return { type: 'refused', id, code: 'STOPPED', message: 'aborted', data: {} }
    if (!(error instanceof InferenceError)) throw error
    const { code } = error
    // A fault of one answer; what llama.cpp throws is another matter and ends the process.
    const isOne = code === 'CONTEXT_LENGTH' || code === 'BAD_REQUEST' || code === 'ENGINE_FAILED'
    if (!isOne) throw error
    const data: Record<string, string | number> = {}
    for (const [name, value] of Object.entries(error.data)) {
      if (typeof value === 'string' || typeof value === 'number') data[name] = value
    }
    return { type: 'refused', id, code, message: words(error), data }
  }

  async #pong(id: number, probe: boolean): Promise<void> {
    const { loop, prompts } = this.#model ?? {}
    if (probe && prompts !== undefined) await loop?.probe(prompts.anyToken)
    this.#send({
      type: 'pong',
      id,
      steps: loop?.steps ?? 0,
      active: loop?.active ?? 0,
      tokensPerSecond: loop?.tokensPerSecond ?? 0,
    })
  }
}

type WireScores = NonNullable<Extract<FromEngine, { type: 'delta' }>['scores']>

/** Rounding may lift a certain token's logarithm above nothing. */
function wireScores(scores: readonly TokenScore[]): WireScores {
  const capped = (logprob: number) => Math.min(0, logprob)
  return scores.map(({ text, bytes, logprob, top }) => ({
    text,
    bytes: new Uint8Array(bytes),
    logprob: logprob === null ? null : capped(logprob),
    top: top.map((other) => ({
      text: other.text,
      bytes: new Uint8Array(other.bytes),
      logprob: capped(other.logprob),
    })),
  }))
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
