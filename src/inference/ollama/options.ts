/**
 * What a backend of an Ollama server is told. Tested by test/inference/ollama/backend.ts.
 */
import { type Ms, ms } from '../../base/units.ts'
import type { Features } from '../request.ts'
import { UPSTREAM_DEFAULTS, type UpstreamLimits } from '../upstream/options.ts'

export interface OllamaOptions {
  /** `http://127.0.0.1:11434`; absent: `OLLAMA_HOST`, then this one. */
  readonly url?: string
  /** What Ollama calls the model: `llama3.2:1b`; without a tag `latest` is meant. */
  readonly model: string
  /** Tokens of prompt and answer of one request; Ollama takes memory for them when it loads the model. */
  readonly contextSize: number
  /** Requests sent at a time: what `OLLAMA_NUM_PARALLEL` allows there. */
  readonly slots: number
  /** What the operator knows to be there or not; it wins over what was found. */
  readonly features?: Partial<Features>
  /** How long the model stays loaded after a request, in seconds; -1 for ever; absent: as Ollama likes. */
  readonly keepAliveSeconds?: number
  /** The digest of the model as `ollama list` shows it, or its beginning; another one is refused. */
  readonly digest?: string
  /** Let Ollama download the model if it has not got it. Without it nothing is ever pulled. */
  readonly pull: boolean
  /** Unload the model when this backend stops. */
  readonly unload: boolean
}

export interface OllamaLimits
  extends Pick<
    UpstreamLimits,
    | 'idleTimeout'
    | 'connectTimeout'
    | 'healthEvery'
    | 'healthTimeout'
    | 'breaker'
    | 'responseBytesMax'
    | 'eventBytesMax'
  > {
  /** For the question whether anybody listens. */
  readonly detectTimeout: Ms
  /** For loading the model, which reads all of it. */
  readonly loadTimeout: Ms
}

export const OLLAMA_DEFAULTS = {
  pull: false,
  unload: false,
  idleTimeout: UPSTREAM_DEFAULTS.idleTimeout,
  connectTimeout: UPSTREAM_DEFAULTS.connectTimeout,
  healthEvery: UPSTREAM_DEFAULTS.healthEvery,
  healthTimeout: UPSTREAM_DEFAULTS.healthTimeout,
  breaker: UPSTREAM_DEFAULTS.breaker,
  responseBytesMax: UPSTREAM_DEFAULTS.responseBytesMax,
  eventBytesMax: UPSTREAM_DEFAULTS.eventBytesMax,
  detectTimeout: ms(500),
  loadTimeout: ms(300_000),
} satisfies OllamaLimits & Pick<OllamaOptions, 'pull' | 'unload'>
