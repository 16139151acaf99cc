/**
 * A request inside a relay becomes an answer: the one class that the relay path sees of inference.
 *
 * Whatever goes wrong is an answer with a status, because it is signed and sent all the same; the
 * flags say whether it counts. `refused` and `failed` answers are not mined; 2xx and a 4xx that names
 * a fault of the request are. Only an abort is thrown. Prompts and answers never reach the log, and
 * neither do texts of errors that could quote one. Tested by test/inference/inference.ts and
 * test/inference/fuzz.ts.
 */
import { hex, sha256, utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Ms } from '../base/units.ts'
import type { HttpRequest } from '../protocol/http.ts'
import { type AnswerContext, type Answered, answerOf } from './answers.ts'
import { type ApiRules, type Asked, askedOf } from './api.ts'
import type { InferenceBackend } from './backend.ts'
import { Coalescer } from './coalesce.ts'
import type { Openings } from './commitment.ts'
import { InferenceError, inferenceError, traceOf } from './errors.ts'
import { type BackendReport, Pool, type PoolOptions } from './pool.ts'
import type { JsonObject, Usage } from './request.ts'
import type { Memory } from './residents.ts'
import { ServiceCounts, type ServiceStats } from './stats.ts'
import { errorBody, errorStatus } from './write/error.ts'

export interface InferenceAnswer {
  readonly status: number
  readonly contentType: string
  /** Of a stream: all of its events. */
  readonly body: Uint8Array
  readonly retryAfterSeconds?: number
  readonly usage?: Usage
  /** We said no (429, 413) and did no work: not mined. */
  readonly refused?: boolean
  /** The engine failed (502) or was too slow (504): not mined. */
  readonly failed?: 'engine' | 'timeout'
}

export interface InferenceService {
  readonly serviceId: string
  readonly backend: InferenceBackend
  /** The model's name in public; absent: as the backend calls it. */
  readonly model?: string
  readonly rules?: Partial<Omit<ApiRules, 'model' | 'canStream'>>
  /** Which requests in flight share one computation; by default those whose answer is a function of them. */
  readonly coalesce?: 'exact' | 'always' | 'off'
  /** Whether answers say what ran; by default they do. */
  readonly showManifest?: boolean
  /** Files of the tokenizer, by stem; undefined while they are not known. */
  readonly tokenizer?: () => JsonObject | undefined
  /** Commits answers to their log-probabilities; absent: they are not. */
  readonly openings?: Openings
}

/** 512 KiB: the chain publishes sampled requests, and larger ones would make a proof too large. */
export const RULES_DEFAULTS = {
  basePath: '',
  bodyBytesMax: 512 * 1024,
  strictModel: false,
  choicesMax: 32,
} satisfies Omit<ApiRules, 'model' | 'canStream'>

export interface InferenceDeps {
  readonly clock: Clock
  readonly log: Log
  readonly randomBytes: (length: number) => Uint8Array
  readonly services: readonly InferenceService[]
  /** Absent: everything fits. */
  readonly memory?: Memory
}

export interface InferenceStats {
  readonly services: Readonly<Record<string, ServiceStats>>
  readonly backends: readonly BackendReport[]
}

export interface AnswerOptions {
  readonly signal: AbortSignal
  /** A value of `clock.monotonic()`. */
  readonly deadline: Ms
  /** Who asks, such as an application's address; slots are shared fairly between these. */
  readonly party?: string
  /** Where equal requests are the same one: a session and its application; absent: nowhere. */
  readonly scope?: string
  /** Instead of the service's own limit, which is that of a relay; absent: that. */
  readonly bodyBytesMax?: number
  /** Gets a stream's events as they come; absent: `stream: true` is refused by name. */
  readonly onEvents?: (events: string) => void
}

export class Inference implements AsyncDisposable {
  readonly #clock: Clock
  readonly #log: Log
  readonly #randomBytes: (length: number) => Uint8Array
  readonly #services: ReadonlyMap<string, InferenceService>
  readonly #counts: ServiceCounts
  readonly #pool: Pool
  /** By service. */
  readonly #hashes: ReadonlyMap<string, Map<number, string>>
  readonly #flights = new Coalescer<Answered>()
  #startedAt = 0

  constructor(deps: InferenceDeps, options: Partial<PoolOptions> = {}) {
    this.#clock = deps.clock
    this.#log = deps.log.child({ component: 'inference' })
    this.#randomBytes = deps.randomBytes
    this.#services = new Map(deps.services.map((service) => [service.serviceId, service]))
    this.#hashes = new Map([...this.#services.keys()].map((id) => [id, new Map()]))
    this.#counts = new ServiceCounts([...this.#services.keys()])
    this.#pool = new Pool({ ...deps, log: this.#log }, options)
  }

  /** Resolves when every backend that has room is ready. @throws what the first that can't be threw */
  async start(signal?: AbortSignal): Promise<void> {
    this.#startedAt = this.#seconds()
    await this.#pool.start(signal)
  }

  /** Tries again what could not be started, and lets models take turns. @throws `signal.reason` */
  run(signal: AbortSignal): Promise<void> {
    return this.#pool.run(signal)
  }

  /**
   * Answers the request inside a relay of `serviceId`, which must be one of ours.
   * @throws only `signal.reason`, after an abort: nothing is left running
   */
  async answer(
    serviceId: string,
    request: HttpRequest,
    options: AnswerOptions,
  ): Promise<InferenceAnswer> {
    options.signal.throwIfAborted()
    const startedAt = this.#clock.monotonic()
    let answer: InferenceAnswer
    try {
      const { brokenBy, ...answered } = await this.#perform(serviceId, request, options)
      answer = { status: 200, ...answered, ...(brokenBy === undefined ? {} : faultOf(brokenBy)) }
    } catch (error) {
      if (options.signal.aborted) throw options.signal.reason
      answer = this.#failure(serviceId, error)
    }
    this.#counts.note(serviceId, answer)
    const { status, usage } = answer
    const durationMs = Math.round(this.#clock.monotonic() - startedAt)
    const { promptTokens: tokensIn, completionTokens: tokensOut } = usage ?? {}
    this.#log.debug({ service: serviceId, status, tokensIn, tokensOut, durationMs }, 'answered')
    return answer
  }

  /** Refuses everything until `resume()`; resolves when nothing runs (with `cancel`: broken off). */
  pause(options: { cancel: boolean }, serviceIds?: readonly string[]): Promise<void> {
    return this.#pool.pause(options, serviceIds)
  }

  /** After `pause`: gives the memory back, until `resume()`. */
  unload(serviceIds?: readonly string[]): Promise<void> {
    return this.#pool.unload(serviceIds)
  }

  resume(serviceIds?: readonly string[]): void {
    this.#pool.resume(serviceIds)
  }

  stats(): InferenceStats {
    return { services: this.#counts.all(), backends: this.#pool.reports() }
  }

  /** Idempotent. Requests that run are answered as refused. */
  stop(): Promise<void> {
    return this.#pool.stop()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #perform(
    serviceId: string,
    request: HttpRequest,
    options: AnswerOptions,
  ): Promise<Answered> {
    if (!this.#pool.isKnown(serviceId)) (await this.#pool.hold(serviceId, options))()
    const backend = this.#pool.backend(serviceId)
    const service = this.#services.get(serviceId)
    const model = service?.model ?? backend.info().model
    const canStream = options.onEvents !== undefined
    const { bodyBytesMax = service?.rules?.bodyBytesMax ?? RULES_DEFAULTS.bodyBytesMax } = options
    const rules = { ...RULES_DEFAULTS, ...service?.rules, bodyBytesMax, model, canStream }
    const asked = askedOf(request, rules)
    const { scope, deadline, party } = options
    const run = (member: Pick<AnswerOptions, 'signal' | 'onEvents'>) => {
      const serve = { deadline, ...(party === undefined ? {} : { party }) }
      const work = answerOf(asked, {
        model,
        ...(rules.answerTokensMax === undefined ? {} : { answerTokensMax: rules.answerTokensMax }),
        showManifest: service?.showManifest ?? true,
        ...tokenizerOf(service, this.#hashes),
        ...(service?.openings === undefined ? {} : { openings: service.openings }),
        backend,
        requestBody: request.body,
        now: this.#seconds(),
        startedAt: this.#startedAt,
        signal: member.signal,
        ...(member.onEvents === undefined ? {} : { onEvents: member.onEvents }),
        generate: (one, more) => this.#pool.generate(serviceId, one, { ...serve, ...more }),
        embed: (one) => this.#pool.embed(serviceId, one, { ...serve, signal: member.signal }),
        randomBytes: this.#randomBytes,
      })
      return work.catch((error: unknown) => {
        throw named(error, asked)
      })
    }
    if (asked.kind === 'tokenize' || asked.kind === 'detokenize') {
      const release = await this.#pool.hold(serviceId, options)
      return await run(options).finally(release)
    }
    if (scope === undefined || !canShare(asked, service?.coalesce ?? 'exact')) return run(options)
    const key = hex(sha256(utf8(`${serviceId}\n${scope}\n${request.method} ${request.url}\n`)))
    return await this.#flights.join(`${key}${hex(sha256(request.body))}`, options, run)
  }

  #failure(serviceId: string, error: unknown): InferenceAnswer {
    const known = inferenceError(error)
    const answer = {
      status: errorStatus(known),
      contentType: 'application/json',
      body: errorBody(known),
    }
    const fault = faultOf(known)
    if (fault.failed !== undefined)
      this.#log.warn({ service: serviceId, ...traceOf(error) }, 'inference failed')
    const { retryAfterSeconds } = known.data
    const isQuota = answer.status === 429
    return {
      ...answer,
      ...fault,
      ...(isQuota ? { retryAfterSeconds: Number(retryAfterSeconds ?? 1) } : {}),
    }
  }

  #seconds(): number {
    return Math.floor(this.#clock.now() / 1_000)
  }
}

/** With the hashes of it that were made before; of one that is not known yet none are kept. */
function tokenizerOf(
  service: InferenceService | undefined,
  hashes: ReadonlyMap<string, Map<number, string>>,
): Pick<AnswerContext, 'tokenizer' | 'hashes'> {
  const tokenizer = service?.tokenizer?.()
  if (service === undefined || tokenizer === undefined) return { hashes: new Map() }
  return { tokenizer, hashes: hashes.get(service.serviceId) ?? new Map() }
}

/** Of a prompt that is too long: engines know messages and prompts, callers the field that they filled. */
function named(error: unknown, { kind }: Asked): unknown {
  if (!(error instanceof InferenceError) || error.code !== 'CONTEXT_LENGTH') return error
  const param = FIELDS[kind] ?? error.data['param']
  const data = { ...error.data, ...(param === undefined ? {} : { param }) }
  return new InferenceError(error.code, error.message, { cause: error, data })
}

const FIELDS: Partial<Record<Asked['kind'], string>> = {
  chat: 'messages',
  completion: 'prompt',
  response: 'input',
  embedding: 'input',
}

/** Whether an answer counts, by what went wrong. */
function faultOf(error: unknown): Pick<InferenceAnswer, 'refused' | 'failed'> {
  const status = errorStatus(inferenceError(error))
  if (status === 429 || status === 413) return { refused: true }
  if (status === 504) return { failed: 'timeout' }
  return status >= 500 ? { failed: 'engine' } : {}
}

/** Whether equal requests have equal answers, or are taken to. */
function canShare(asked: Asked, coalesce: NonNullable<InferenceService['coalesce']>): boolean {
  if (coalesce === 'off') return false
  if (asked.kind === 'embedding') return true
  const requests =
    asked.kind === 'completion'
      ? asked.requests
      : asked.kind === 'chat' || asked.kind === 'response'
        ? [asked.request]
        : []
  if (requests.length === 0) return false
  const isFixed = requests.every(({ temperature, seed }) => temperature === 0 || seed !== undefined)
  return isFixed || coalesce === 'always'
}
