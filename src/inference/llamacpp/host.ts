/**
 * The built-in engine as the rest of the supplier sees it: llama.cpp in a child process, kept alive.
 *
 * At most `slots` requests are out in the child; the rest wait here, in a queue with a limit, so a dying
 * child takes little with it and its channel never fills. When it dies, what was out fails at once with
 * ENGINE_FAILED and what waits goes to its successor, which is started after a growing delay.
 * Tested by test/inference/llamacpp/host.ts.
 */
import { stat } from 'node:fs/promises'
import type { Clock } from '../../base/clock.ts'
import { assert, errorText } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import { ms } from '../../base/units.ts'
import type {
  BackendInfo,
  BackendStats,
  ChatRequest,
  Completion,
  InferenceBackend,
} from '../backend.ts'
import { InferenceError } from '../errors.ts'
import { EngineChild } from './child.ts'
import { fingerprint, type LlamaCppOptions, loadMessage } from './options.ts'
import { endLeftover, forgetEngine, recordEngine } from './orphan.ts'
import { type AboutRequest, Requests } from './requests.ts'
import { samplingOf } from './sampling.ts'
import { type ChatMessageToEngine, parseToEngine, type ReadyMessage } from './wire.ts'

export interface LlamaCppDeps {
  readonly clock: Clock
  readonly log: Log
  readonly random: () => number
}

export class LlamaCppBackend implements InferenceBackend {
  readonly kind = 'llamacpp'
  readonly #deps: LlamaCppDeps
  readonly #options: LlamaCppOptions
  readonly #requests: Requests
  readonly #closed = new AbortController()
  #state: BackendStats['state'] = 'starting'
  #child: EngineChild | undefined
  #ready: ReadyMessage | undefined
  #fingerprint = ''
  #nextId = 0
  /** The engine has been gone for too long to let anyone wait. */
  #hopeless = false
  #starting: Promise<void> | undefined
  #supervision: Promise<void> | undefined

  constructor(deps: LlamaCppDeps, options: LlamaCppOptions) {
    this.#deps = { ...deps, log: deps.log.child({ component: 'llamacpp', model: options.model }) }
    this.#options = options
    this.#requests = new Requests({ send: (message) => this.#child?.send(message) }, options)
  }

  /** @throws InferenceError ENGINE_MISSING, MODEL_LOAD, ENGINE_FAILED, STOPPED; or signal.reason */
  async start(signal?: AbortSignal): Promise<void> {
    assert(this.#starting === undefined, 'a backend is started once')
    const closed = this.#closed.signal
    closed.throwIfAborted()
    this.#starting = this.#open(signal === undefined ? closed : AbortSignal.any([signal, closed]))
    try {
      await this.#starting
    } catch (error) {
      this.#close(error)
      throw error
    }
    this.#supervision = this.#supervise()
  }

  info(): BackendInfo {
    return {
      kind: this.kind,
      model: this.#options.model,
      contextSize: this.#ready?.contextSize ?? this.#options.contextSize,
      slots: this.#options.slots,
      device: this.#ready?.device ?? '',
    }
  }

  stats(): BackendStats {
    return {
      active: this.#requests.active,
      queued: this.#requests.queued,
      state: this.#state,
      tokensPerSecond: this.#child?.tokensPerSecond ?? 0,
    }
  }

  /** The engine's process while there is one: graphics memory that it holds is ours. */
  get pid(): number | undefined {
    return this.#child?.pid
  }

  async chat(
    request: ChatRequest,
    options: { signal: AbortSignal; onText?: (text: string) => void },
  ): Promise<Completion> {
    options.signal.throwIfAborted()
    this.#closed.signal.throwIfAborted()
    if (this.#hopeless) throw failed('is gone and has not come back')
    const answer = await this.#requests.add(this.#message(request), options)
    return { ...answer, fingerprint: this.#fingerprint }
  }

  async stop(): Promise<void> {
    this.#close(new InferenceError('STOPPED', 'the engine was stopped', { retryable: true }))
    await this.#child?.kill()
    await this.#starting?.catch(() => {})
    await this.#supervision
    await forgetEngine(this.#options.recordFile)
  }

  #close(reason: unknown): void {
    this.#state = 'stopped'
    this.#closed.abort(reason)
    this.#requests.failWaiting(reason)
    this.#requests.lost(reason)
  }

  /** Starts a child and makes it ready; leaves none behind when it throws. */
  async #open(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps
    const { recordFile, modelPath, modelSha256 } = this.#options
    await endLeftover({ clock, log }, recordFile)
    signal.throwIfAborted()
    const onMessage = (message: AboutRequest) => this.#requests.take(message)
    const child = new EngineChild({ clock, log, onMessage }, this.#options)
    this.#child = child
    try {
      if (child.pid !== undefined) await recordEngine(recordFile, child.pid)
      this.#ready = await child.load(loadMessage(this.#options), signal)
      const weights = modelSha256 ?? String((await stat(modelPath)).size)
      this.#fingerprint = fingerprint(this.#ready, weights, this.#options)
      signal.throwIfAborted()
    } catch (error) {
      await child.kill()
      await forgetEngine(recordFile)
      throw startError(error, signal)
    }
    const { device, engine, threads } = this.#ready
    log.info({ pid: child.pid, device, engine, threads }, 'engine ready')
    this.#state = 'ready'
    this.#hopeless = false
    this.#requests.open()
  }

  /** Replaces every child that dies, until `stop`. */
  async #supervise(): Promise<void> {
    const { clock, log } = this.#deps
    const { signal } = this.#closed
    let failures = 0
    while (this.#child !== undefined) {
      const born = clock.monotonic()
      const reason = await this.#child.exited
      if (signal.aborted) return
      log.warn({ reason, active: this.#requests.active }, 'engine died')
      this.#state = 'restarting'
      this.#requests.lost(failed(reason))
      if (clock.monotonic() - born >= this.#options.steadyAfter) failures = 0
      const back = new AbortController()
      void this.#giveUp(back.signal)
      try {
        failures = await this.#restart(failures, signal)
      } catch (error) {
        if (signal.aborted) return
        throw error
      } finally {
        back.abort()
      }
    }
  }

  /** @returns how many children died in a row. @throws signal.reason */
  async #restart(failures: number, signal: AbortSignal): Promise<number> {
    const { restartDelayFirst, restartDelayMax } = this.#options
    for (let count = failures; ; count++) {
      const delay = Math.min(restartDelayMax, restartDelayFirst * 2 ** Math.min(count, 30))
      await this.#deps.clock.sleep(ms(delay), signal)
      try {
        await this.#open(signal)
        return count + 1
      } catch (error) {
        signal.throwIfAborted()
        this.#deps.log.warn({ err: error, attempt: count + 1 }, 'engine could not be restarted')
      }
    }
  }

  /** Lets nobody wait longer than `outageMax` for an engine that doesn't come back. */
  async #giveUp(back: AbortSignal): Promise<void> {
    const { outageMax } = this.#options
    try {
      await this.#deps.clock.sleep(outageMax, back)
    } catch {
      return
    }
    this.#hopeless = true
    this.#requests.failWaiting(failed(`has been gone for ${outageMax} ms`))
  }

  /** @throws InferenceError BAD_REQUEST: larger than anything that is served */
  #message(request: ChatRequest): ChatMessageToEngine {
    const message: ChatMessageToEngine = {
      type: 'chat',
      id: this.#nextId++,
      messages: request.messages.map(({ role, content }) => ({ role, content })),
      sampling: samplingOf(request, this.#options.defaults, this.#deps.random),
      stop: [...request.stop],
      ...(request.maxTokens === undefined ? {} : { tokensMax: request.maxTokens }),
    }
    parseToEngine(message)
    return message
  }
}

function startError(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason
  if (error instanceof InferenceError) return error
  return new InferenceError('ENGINE_FAILED', `the engine did not start: ${errorText(error)}`, {
    retryable: true,
    cause: error,
  })
}

function failed(how: string): InferenceError {
  return new InferenceError('ENGINE_FAILED', `the engine ${how}`, { retryable: true })
}
