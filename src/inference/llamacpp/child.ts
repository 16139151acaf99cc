/**
 * One engine process from fork to death, and the watch over it.
 *
 * An engine is taken for wedged, and killed, when it doesn't answer a ping in time (its loop is blocked, it
 * was stopped, or it doesn't read its channel: the ping lies behind what was sent) or when it has
 * work and takes no step (a driver hangs). So that a driver that hangs is found without work, every few pings
 * ask an idle engine for a tiny piece of it. Each is found within 30 seconds. Tested by test/inference/llamacpp/child.ts.
 */
import { type ChildProcess, fork } from 'node:child_process'
import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/log.ts'
import { withDeadline } from '../../base/retry.ts'
import { type Ms, ms } from '../../base/units.ts'
import { InferenceError } from '../errors.ts'
import {
  type AboutTask,
  type FromEngine,
  parseFromEngine,
  type ReadyMessage,
  type ToEngine,
} from './wire.ts'

export interface ChildDeps {
  readonly clock: Clock
  readonly log: Log
  /** Messages about tasks; not pongs, and nothing after the end. */
  onMessage(message: AboutTask): void
}

export interface ChildOptions {
  /** The file that is forked. */
  readonly entry: URL
  /** Node's flags for it; absent: those of this process. */
  readonly execArgv?: readonly string[]
  /** All that the engine sees of the environment. */
  readonly environment: Readonly<Record<string, string>>
  /** Weights may lie on a slow disk. */
  readonly loadLimit: Ms
  readonly heartbeatEvery: Ms
  /** An idle engine is asked for real work this often. */
  readonly probeEvery: Ms
  /** Also of that work: one token of the slowest model, on a machine that has swapped it out. */
  readonly answerLimit: Ms
  /** The longest a step may take: one piece of a prompt on the slowest machine. */
  readonly stallLimit: Ms
}

export const CHILD_DEFAULTS = {
  // Spelled `.js` because a URL is not rewritten by the build; test runners resolve it to `.ts`.
  entry: new URL('./engine.js', import.meta.url),
  loadLimit: ms(600_000),
  heartbeatEvery: ms(2_000),
  probeEvery: ms(12_000),
  answerLimit: ms(15_000),
  stallLimit: ms(26_000),
} satisfies Omit<ChildOptions, 'environment'>

/** Names that an engine may see; everything else, above all what is secret, it doesn't get. */
const ENVIRONMENT_NAMES: ReadonlySet<string> = new Set([
  ...['PATH', 'HOME', 'TMPDIR', 'TEMP', 'TMP', 'LANG', 'LC_ALL', 'TZ', 'XDG_RUNTIME_DIR'],
  'XDG_CACHE_HOME',
  ...['LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH', 'CUDA_PATH', 'CUDA_VISIBLE_DEVICES'],
  ...['CUDA_DEVICE_ORDER', 'NVIDIA_VISIBLE_DEVICES', 'NVIDIA_DRIVER_CAPABILITIES'],
  ...['GGML_VK_VISIBLE_DEVICES', 'VK_DRIVER_FILES', 'VK_ICD_FILENAMES', 'VK_LOADER_DRIVERS_SELECT'],
  ...['SystemRoot', 'SystemDrive', 'windir', 'USERPROFILE', 'LOCALAPPDATA', 'PROGRAMFILES'],
])

/** What of `all` an engine is given. */
export function engineEnvironment(
  all: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const out: Record<string, string> = {}
  for (const [name, value] of Object.entries(all)) {
    if (value !== undefined && ENVIRONMENT_NAMES.has(name)) out[name] = value
  }
  return out
}

const STDERR_MAX = 4_096

export class EngineChild {
  readonly #deps: ChildDeps
  readonly #options: ChildOptions
  readonly #process: ChildProcess
  readonly #gone = new AbortController()
  /** Resolves with the reason, in words, once the process is gone. Never rejects. */
  readonly exited: Promise<string>
  #why: string | undefined
  #stderr = ''
  #start: ((message: FromEngine) => void) | undefined
  #pong: { id: number; resolve: (pong: Extract<FromEngine, { type: 'pong' }>) => void } | undefined
  #tokensPerSecond = 0

  /** Forks at once; `load` is the next call. */
  constructor(deps: ChildDeps, options: ChildOptions) {
    this.#deps = deps
    this.#options = options
    this.#process = fork(options.entry, [], {
      env: engineEnvironment(options.environment),
      execArgv: [...(options.execArgv ?? process.execArgv)],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#process.stderr?.on('data', (data: Buffer) => {
      this.#stderr = (this.#stderr + data.toString('utf8')).slice(-STDERR_MAX)
    })
    this.#process.on('message', (value) => this.#take(value))
    this.exited = new Promise((resolve) => {
      const end = (how: string) => {
        const reason = this.#why ?? how
        this.#gone.abort(new InferenceError('ENGINE_FAILED', `the engine ${reason}`, retryable))
        if (this.#stderr !== '')
          deps.log.debug({ stderr: this.#stderr }, 'last words of the engine')
        resolve(reason)
      }
      this.#process.once('exit', (code, signal) => end(`ended (${signal ?? `status ${code}`})`))
      this.#process.on('error', (error) => {
        if (this.#process.pid === undefined) end(`could not be started: ${error.message}`)
      })
    })
  }

  get pid(): number | undefined {
    return this.#process.pid
  }

  /** As of the last heartbeat. */
  get tokensPerSecond(): number {
    return this.#tokensPerSecond
  }

  /**
   * Loads the model and begins the watch.
   * @throws InferenceError ENGINE_MISSING, MODEL_LOAD, ENGINE_FAILED, or signal.reason; the process may
   *   still be there after each of them, so `kill` it
   */
  async load(
    message: Extract<ToEngine, { type: 'load' }>,
    signal: AbortSignal,
  ): Promise<ReadyMessage> {
    const both = AbortSignal.any([signal, this.#gone.signal])
    const first = await withDeadline(this.#deps.clock, this.#options.loadLimit, both, (limit) =>
      until<FromEngine>(limit, (resolve) => {
        this.#start = resolve
        this.send(message)
      }),
    )
    if (first.type === 'unready')
      throw new InferenceError(
        first.code,
        first.message,
        first.code === 'ENGINE_FAILED' ? retryable : {},
      )
    if (first.type !== 'ready')
      throw new InferenceError(
        'ENGINE_FAILED',
        'the engine did not say that it is ready',
        retryable,
      )
    void this.#watch()
    return first
  }

  /** Never waits; what is sent to an engine that is gone is lost with it. */
  send(message: ToEngine): void {
    if (this.#process.connected) this.#process.send(message, () => {})
  }

  /** SIGKILL: nothing to save, graphics memory back at once. Resolves when the process is gone. */
  async kill(why = 'was ended'): Promise<void> {
    this.#why ??= why
    this.#process.kill('SIGKILL')
    await this.exited
  }

  #take(value: unknown): void {
    if (this.#gone.signal.aborted) return
    try {
      const message = parseFromEngine(value)
      if (message.type === 'pong') {
        this.#tokensPerSecond = message.tokensPerSecond
        if (message.id === this.#pong?.id) this.#pong.resolve(message)
      } else if (message.type === 'ready' || message.type === 'unready') this.#start?.(message)
      else this.#deps.onMessage(message)
    } catch (error) {
      void this.kill(`was ended: ${error instanceof Error ? error.message : error}`)
    }
  }

  async #watch(): Promise<void> {
    const { clock } = this.#deps
    const { heartbeatEvery, probeEvery, answerLimit, stallLimit } = this.#options
    let seen = { steps: -1, at: clock.monotonic() }
    let probed = clock.monotonic()
    try {
      for (let id = 0; ; id++) {
        await clock.sleep(heartbeatEvery, this.#gone.signal)
        const probe = clock.monotonic() - probed >= probeEvery
        if (probe) probed = clock.monotonic()
        const pong = await withDeadline(clock, answerLimit, this.#gone.signal, (limit) =>
          this.#ping(id, probe, limit),
        )
        const now = clock.monotonic()
        if (pong.active === 0 || pong.steps !== seen.steps) seen = { steps: pong.steps, at: now }
        else if (now - seen.at > stallLimit)
          return await this.kill(`was ended: it took no step for ${stallLimit} ms`)
      }
    } catch {
      // Either it is gone already, or the deadline passed.
      await this.kill(`was ended: it did not answer for ${answerLimit} ms`)
    }
  }

  #ping(
    id: number,
    probe: boolean,
    signal: AbortSignal,
  ): Promise<Extract<FromEngine, { type: 'pong' }>> {
    return until(signal, (resolve) => {
      this.#pong = { id, resolve }
      this.send({ type: 'ping', id, probe })
    })
  }
}

const retryable = { retryable: true } as const

/** A promise that a callback resolves, or an abort rejects. */
function until<T>(signal: AbortSignal, start: (resolve: (value: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    start((value) => {
      signal.removeEventListener('abort', onAbort)
      resolve(value)
    })
  })
}
