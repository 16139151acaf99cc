/**
 * A request inside a relay becomes an answer: the one class that the relay path sees of inference.
 *
 * Whatever goes wrong is an answer with a status, because it is signed and sent all the same; the
 * flags say whether it counts. `refused` and `failed` answers are not mined; 2xx and a 4xx that names
 * a fault of the request are. Only an abort is thrown. Prompts and answers never reach the log, and
 * neither do texts of errors that could quote one. Tested by test/inference/inference.ts and
 * test/inference/fuzz.ts.
 */
import { hex } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Ms } from '../base/units.ts'
import type { HttpRequest } from '../protocol/http.ts'
import { type ApiRules, type Operation, operationOf } from './api.ts'
import type { ChatRequest, InferenceBackend, Usage } from './backend.ts'
import { InferenceError } from './errors.ts'
import { manifest } from './manifest.ts'
import { completionBody, errorReply, modelBody, modelListBody } from './openai.ts'
import { type BackendReport, Pool, type PoolOptions } from './pool.ts'

export interface InferenceAnswer {
  readonly status: number
  readonly contentType: string
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
  readonly rules?: Partial<Omit<ApiRules, 'model'>>
}

/** 512 KiB: the chain publishes sampled requests, and larger ones would make a proof too large. */
export const RULES_DEFAULTS = {
  basePath: '',
  bodyBytesMax: 512 * 1024,
  strictModel: false,
  streamAsWhole: false,
} satisfies Omit<ApiRules, 'model'>

export interface InferenceDeps {
  readonly clock: Clock
  readonly log: Log
  readonly randomBytes: (length: number) => Uint8Array
  readonly services: readonly InferenceService[]
}

/** What one service did since the start. */
export interface ServiceStats {
  readonly answered: number
  readonly refused: number
  readonly failed: number
  readonly promptTokens: number
  readonly completionTokens: number
}

export interface InferenceStats {
  readonly services: Readonly<Record<string, ServiceStats>>
  readonly backends: readonly BackendReport[]
}

export interface AnswerOptions {
  readonly signal: AbortSignal
  /** A value of `clock.monotonic()`. */
  readonly deadline: Ms
}

export class Inference implements AsyncDisposable {
  readonly #clock: Clock
  readonly #log: Log
  readonly #randomBytes: (length: number) => Uint8Array
  readonly #services: ReadonlyMap<string, InferenceService>
  readonly #stats = new Map<string, ServiceStats>()
  readonly #pool: Pool
  #startedAt = 0

  constructor(deps: InferenceDeps, options: Partial<PoolOptions> = {}) {
    this.#clock = deps.clock
    this.#log = deps.log.child({ component: 'inference' })
    this.#randomBytes = deps.randomBytes
    this.#services = new Map(deps.services.map((service) => [service.serviceId, service]))
    this.#pool = new Pool({ ...deps, log: this.#log }, options)
  }

  /** Resolves when every backend is ready. @throws InferenceError of the first that can't be */
  async start(signal?: AbortSignal): Promise<void> {
    this.#startedAt = this.#seconds()
    await this.#pool.start(signal)
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
      answer = await this.#perform(serviceId, request, options)
    } catch (error) {
      if (options.signal.aborted) throw options.signal.reason
      answer = this.#failure(serviceId, error)
    }
    this.#count(serviceId, answer)
    const { status, usage } = answer
    const durationMs = Math.round(this.#clock.monotonic() - startedAt)
    const { promptTokens: tokensIn, completionTokens: tokensOut } = usage ?? {}
    this.#log.debug({ service: serviceId, status, tokensIn, tokensOut, durationMs }, 'answered')
    return answer
  }

  /** Refuses everything until `resume()`; resolves when nothing runs (with `cancel`: broken off). */
  pause(options: { cancel: boolean }): Promise<void> {
    return this.#pool.pause(options)
  }

  resume(): void {
    this.#pool.resume()
  }

  stats(): InferenceStats {
    const services = [...this.#services.keys()].map((id) => [id, this.#stats.get(id) ?? NOTHING])
    return {
      services: Object.fromEntries(services) as Record<string, ServiceStats>,
      backends: this.#pool.reports(),
    }
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
  ): Promise<InferenceAnswer> {
    const { contextSize, model: engineModel } = this.#pool.backend(serviceId).info()
    const service = this.#services.get(serviceId)
    const model = service?.model ?? engineModel
    const operation = operationOf(request, { ...RULES_DEFAULTS, ...service?.rules, model })
    if (operation.kind === 'chat')
      return await this.#chat(serviceId, model, request, operation.request, options)
    return json(modelsBody(operation, { id: model, created: this.#startedAt, contextSize }))
  }

  async #chat(
    serviceId: string,
    model: string,
    request: HttpRequest,
    chat: ChatRequest,
    options: AnswerOptions,
  ): Promise<InferenceAnswer> {
    const completion = await this.#pool.run(serviceId, chat, options)
    const info = this.#pool.backend(serviceId).info()
    const body = completionBody(completion, {
      id: `chatcmpl-${hex(this.#randomBytes(12))}`,
      created: this.#seconds(),
      model,
      manifest: manifest({ model, info, request: chat, completion, requestBody: request.body }),
    })
    return { ...json(body), usage: completion.usage }
  }

  #failure(serviceId: string, error: unknown): InferenceAnswer {
    const known =
      error instanceof InferenceError
        ? error
        : new InferenceError('ENGINE_FAILED', 'the engine failed', { cause: error })
    const { status, body } = errorReply(known)
    const answer = { ...json(body), status }
    switch (known.code) {
      case 'BAD_REQUEST':
      case 'CONTEXT_LENGTH':
      case 'NOT_FOUND':
        return answer
      case 'TOO_LARGE':
        return { ...answer, refused: true }
      case 'BUSY':
      case 'YIELDING':
      case 'STOPPED': {
        const seconds = known.data['retryAfterSeconds']
        return {
          ...answer,
          refused: true,
          retryAfterSeconds: typeof seconds === 'number' ? seconds : 1,
        }
      }
      case 'ENGINE_TIMEOUT':
        this.#log.warn({ service: serviceId, code: known.code }, 'engine too slow')
        return { ...answer, failed: 'timeout' }
      case 'ENGINE_FAILED':
      case 'ENGINE_MISSING':
      case 'MODEL_LOAD':
        this.#log.warn({ service: serviceId, ...traceOf(error) }, 'engine failed')
        return { ...answer, failed: 'engine' }
    }
  }

  #count(serviceId: string, { usage, refused, failed }: InferenceAnswer): void {
    if (!this.#services.has(serviceId)) return
    const before = this.#stats.get(serviceId) ?? NOTHING
    const isAnswered = refused !== true && failed === undefined
    this.#stats.set(serviceId, {
      answered: before.answered + (isAnswered ? 1 : 0),
      refused: before.refused + (refused === true ? 1 : 0),
      failed: before.failed + (failed === undefined ? 0 : 1),
      promptTokens: before.promptTokens + (usage?.promptTokens ?? 0),
      completionTokens: before.completionTokens + (usage?.completionTokens ?? 0),
    })
  }

  #seconds(): number {
    return Math.floor(this.#clock.now() / 1_000)
  }
}

const NOTHING: ServiceStats = Object.freeze({
  answered: 0,
  refused: 0,
  failed: 0,
  promptTokens: 0,
  completionTokens: 0,
})

function json(body: Uint8Array): InferenceAnswer {
  return { status: 200, contentType: 'application/json', body }
}

function modelsBody(
  operation: Exclude<Operation, { kind: 'chat' }>,
  model: Parameters<typeof modelBody>[0],
): Uint8Array {
  if (operation.kind === 'models') return modelListBody([model])
  if (operation.id === model.id) return modelBody(model)
  throw new InferenceError('NOT_FOUND', `The model here is '${model.id}'.`, {
    data: { param: 'model', reason: 'model_not_found' },
  })
}

/** What may be logged of a failure: its kind and where it arose, without any message. */
function traceOf(error: unknown): Record<string, unknown> {
  if (error instanceof InferenceError) return { code: error.code, ...error.data }
  if (!(error instanceof Error)) return { code: 'ENGINE_FAILED' }
  const { stack = '', message } = error
  const told = stack.indexOf(message)
  const frames = told === -1 ? '' : stack.slice(told + message.length)
  const lines = frames.split('\n').filter((line) => /^\s+at /.test(line))
  return { code: 'ENGINE_FAILED', type: error.name, stack: lines.join('\n') }
}
