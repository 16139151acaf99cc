/**
 * How fast an engine has been lately: moving averages over the requests it answered.
 *
 * Two things are decided by it: whether a request that has to wait would end in time (slots.ts), and
 * how many tokens fit in the time that a request has, so that an answer is cut with `length` and paid
 * rather than late and unpaid. Pure; durations are handed in. Tested by test/inference/pace.ts.
 */
import { type Ms, ms } from '../base/units.ts'

export interface Sample {
  /** From the slot taken to the answer. */
  readonly serviceTime: Ms
  /** From the slot taken to the first text; absent where the text came in one piece. */
  readonly firstText?: Ms
  /** 0 where the request was cut off by its deadline. */
  readonly completionTokens: number
}

/** Share of the newest sample in an average. */
const WEIGHT = 0.2
/** Share of the time left that is planned with: the rate drops when neighbours come. */
const CAUTION = 0.8
/** Shorter answers say little about the rate, and what they say is too slow. */
const TOKENS_MIN = 16
const TOKENS_MIN_WHOLE = 64

export class Pace {
  #serviceMs: number | undefined
  #firstMs = 0
  #tokensPerMs: number | undefined

  /** Average time of a request in its slot; 0 before the first. */
  get serviceTime(): Ms {
    return ms(this.#serviceMs ?? 0)
  }

  record(sample: Sample): void {
    this.#serviceMs = average(this.#serviceMs, sample.serviceTime)
    const { firstText, completionTokens } = sample
    if (firstText !== undefined) this.#firstMs = average(this.#firstMs || undefined, firstText)
    const duration = sample.serviceTime - (firstText ?? 0)
    const tokens = firstText === undefined ? completionTokens : completionTokens - 1
    if (duration <= 0 || tokens < (firstText === undefined ? TOKENS_MIN_WHOLE : TOKENS_MIN)) return
    this.#tokensPerMs = average(this.#tokensPerMs, tokens / duration)
  }

  /** Tokens that one request surely gets in `time`, at least 1; undefined while the rate is unknown. */
  tokensWithin(time: Ms): number | undefined {
    if (this.#tokensPerMs === undefined) return undefined
    const left = Math.max(0, time * CAUTION - this.#firstMs)
    return Math.max(1, Math.floor(left * this.#tokensPerMs))
  }
}

function average(before: number | undefined, value: number): number {
  return before === undefined ? value : before + WEIGHT * (value - before)
}
