/**
 * What a backend of upstream servers is told. Tested by test/inference/upstream/backend.ts.
 */
import { type Ms, ms } from '../../base/units.ts'
import type { Features } from '../request.ts'
import type { BreakerOptions } from './breaker.ts'
import type { SpendLimits } from './spend.ts'

/** One server, or one door to many. All of a backend serve the same model. */
export interface UpstreamEndpoint {
  /** `http://127.0.0.1:8080/v1`; without a path `/v1` is meant. */
  readonly url: string
  /** Requests sent to it at a time. */
  readonly slots: number
  /** What it calls the model; absent: as `UpstreamOptions.model` says. */
  readonly model?: string
  /** Sent with every request: `{ authorization: 'Bearer …' }`. Those of a single hop are dropped. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Fields outside the OpenAI API, each known to some servers only. */
export const EXTENSIONS = [
  'top_k',
  'min_p',
  'repetition_penalty',
  'repeat_penalty',
  'chat_template_kwargs',
  'reasoning_effort',
  'thinking_budget',
] as const

export type Extension = (typeof EXTENSIONS)[number]

export interface UpstreamOptions {
  /** At least one. */
  readonly endpoints: readonly UpstreamEndpoint[]
  /** What the servers call the model. */
  readonly model: string
  /** Tokens that one request may use; a server that says less is believed. */
  readonly contextSize: number
  /** What the operator knows to be there or not; it wins over what was found. */
  readonly features?: Partial<Features>
  /** Fields that may be sent; absent: those that this kind of server is known to take. */
  readonly extensions?: readonly Extension[]
}

export interface UpstreamLimits {
  /** Ask for streams, also for answers that nobody streams: a server that hangs is then noticed. */
  readonly stream: boolean
  /** The name of the limit of tokens. */
  readonly maxTokensField: 'max_tokens' | 'max_completion_tokens'
  /** Find features out at the start, by about a dozen requests of a few tokens each. */
  readonly probe: boolean
  /** For one of these requests. */
  readonly probeTimeout: Ms
  /** Between two events of a stream. Before the first one the request's own deadline is the limit. */
  readonly idleTimeout: Ms
  readonly connectTimeout: Ms
  /** Below the URL's path: `/models`; or from the root: `//health`. */
  readonly healthPath: string
  readonly healthEvery: Ms
  readonly healthTimeout: Ms
  readonly breaker: BreakerOptions
  /** Prompt and completion together; what is in flight may go beyond. Counted since the start. */
  readonly tokensMax: SpendLimits
  readonly responseBytesMax: number
  readonly eventBytesMax: number
}

export const UPSTREAM_DEFAULTS: UpstreamLimits = {
  stream: true,
  maxTokensField: 'max_tokens',
  probe: true,
  probeTimeout: ms(60_000),
  idleTimeout: ms(30_000),
  connectTimeout: ms(5_000),
  healthPath: '/models',
  healthEvery: ms(15_000),
  healthTimeout: ms(5_000),
  breaker: {
    failuresMax: 3,
    rateMax: 0.5,
    rateWindow: 20,
    restFirst: ms(5_000),
    restMax: ms(300_000),
  },
  tokensMax: {},
  responseBytesMax: 32 * 1024 * 1024,
  eventBytesMax: 4 * 1024 * 1024,
}
