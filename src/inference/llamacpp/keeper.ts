/**
 * Keeps one engine process alive: starts it, replaces it when it dies, gives up hope in time.
 *
 * A new engine is started after a growing delay. Whoever waits goes to it; after `outageMax` nobody is left
 * waiting until it is there. Tested by test/inference/llamacpp/host.ts.
 */
import { stat } from 'node:fs/promises'
import type { Clock } from '../../base/clock.ts'
import { assert, errorText } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import { ms } from '../../base/units.ts'
import type { BackendStats } from '../backend.ts'
import { InferenceError } from '../errors.ts'
import { EngineChild } from './child.ts'
import { fingerprint, type LlamaCppOptions, loadMessage } from './options.ts'
import { endLeftover, forgetEngine, recordEngine } from './orphan.ts'
import type { AboutTask, ReadyMessage, ToEngine } from './wire.ts'

/** Whom the keeper tells. */
export interface Kept {
  take(message: AboutTask): void
  /** An engine is there for so many requests at once. */
  open(slots: number): void
  /** It died. */
  lost(error: InferenceError): void
  /** Nobody is to wait any longer. */
  failWaiting(error: unknown): void
}

export class Keeper {
  readonly #deps: { readonly clock: Clock; readonly log: Log; readonly kept: Kept }
  readonly #options: LlamaCppOptions
  readonly #closed = new AbortController()
  #state: BackendStats['state'] = 'starting'
  #child: EngineChild | undefined
  #ready: ReadyMessage | undefined
  #fingerprint = ''
  /** A graphics card was used by an earlier engine of ours. */
  #hadGpu = false
  #hopeless = false
  #starting: Promise<void> | undefined
  #supervision: Promise<void> | undefined

  constructor(deps: { clock: Clock; log: Log; kept: Kept }, options: LlamaCppOptions) {
    this.#deps = deps
    this.#options = options
  }

  get state(): BackendStats['state'] {
    return this.#state
  }

  get child(): EngineChild | undefined {
    return this.#child
  }

  /** What the last engine said of itself. */
  get ready(): ReadyMessage | undefined {
    return this.#ready
  }

  get fingerprint(): string {
    return this.#fingerprint
  }

  /** Computes by the CPU though a graphics card was asked for or was used before. */
  get isDegraded(): boolean {
    const { gpu, gpuLayers } = this.#options
    const ready = this.#ready
    if (ready?.onCpu !== true || gpu === false || gpuLayers === 0) return false
    return gpu !== 'auto' || ready.hasGpu || this.#hadGpu
  }

  send(message: ToEngine): void {
    this.#child?.send(message)
  }

  /** @throws InferenceError STOPPED, ENGINE_FAILED: nobody may be asked to wait */
  check(): void {
    this.#closed.signal.throwIfAborted()
    if (this.#hopeless) throw failed('is gone and has not come back')
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

  /** @param reason what ends those that wait */
  async stop(reason: InferenceError): Promise<void> {
    this.#close(reason)
    await this.#child?.kill()
    await this.#starting?.catch(() => {})
    await this.#supervision
    await forgetEngine(this.#options.recordFile)
  }

  #close(reason: unknown): void {
    this.#state = 'stopped'
    this.#closed.abort(reason)
    this.#deps.kept.failWaiting(reason)
  }

  /** Starts a child and makes it ready; leaves none behind when it throws. */
  async #open(signal: AbortSignal): Promise<void> {
    const { clock, log, kept } = this.#deps
    const { recordFile, modelPath, modelSha256 } = this.#options
    await endLeftover({ clock, log }, recordFile)
    signal.throwIfAborted()
    const onMessage = (message: AboutTask) => kept.take(message)
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
    const { device, engine, threads, contextSize, slots } = this.#ready
    log.info({ pid: child.pid, device, engine, threads, contextSize, slots }, 'engine ready')
    if (this.isDegraded) log.warn({ device }, 'the graphics card is not used')
    this.#hadGpu ||= !this.#ready.onCpu
    this.#state = 'ready'
    this.#hopeless = false
    kept.open(slots)
  }

  /** Replaces every child that dies, until `stop`. */
  async #supervise(): Promise<void> {
    const { clock, log, kept } = this.#deps
    const { signal } = this.#closed
    let failures = 0
    while (this.#child !== undefined) {
      const born = clock.monotonic()
      const reason = await this.#child.exited
      if (signal.aborted) return
      log.warn({ reason }, 'engine died')
      this.#state = 'restarting'
      kept.lost(failed(reason))
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
    this.#deps.kept.failWaiting(failed(`has been gone for ${outageMax} ms`))
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

/** What happened to the engine, as the caller is told. */
export function failed(how: string): InferenceError {
  return new InferenceError('ENGINE_FAILED', `the engine ${how}`, { retryable: true })
}
