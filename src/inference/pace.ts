/**
 * How fast an engine has been lately: moving averages over the requests it answered.
 *
 * Two things are decided by it: whether a request would end in time, and how many tokens fit into the time
 * that it has, so that an answer is cut with `length` and paid rather than late and unpaid. Reading a
 * prompt and writing an answer have rates of their own, since one is ten to a hundred times as fast.
 * Pure; durations are handed in. Tested by test/inference/pace.ts.
 */
import { type Ms, ms } from '../base/units.ts'

export interface Sample {
  /** From the slot taken to the answer. */
  readonly serviceTime: Ms
  /** From the slot taken to the first text; absent where the text came in one piece. */
  readonly firstText?: Ms
  /** Tokens that had to be read, without what was cached. */
  readonly promptTokens: number
  /** 0 where the request was cut off by its deadline. */
  readonly completionTokens: number
}

/** What a request is likely to need, before it has been read. */
export interface Work {
  readonly promptTokens: number
  /** At most; absent where the answer ends by itself. */
  readonly completionTokens?: number
}

/** Share of the newest sample in an average. */
const WEIGHT = 0.2
/** Share of the time left that is planned with: the rate drops when neighbours come. */
const CAUTION = 0.8
/** Shorter answers say little about the rate, and what they say is too slow. */
const TOKENS_MIN = 16
const TOKENS_MIN_WHOLE = 64
/** The same for prompts. */
const PROMPT_MIN = 64

export class Pace {
  #serviceMs: number | undefined
  /** Time to the first text that does not come from the prompt's length. */
  #firstMs = 0
  #promptPerMs: number | undefined
  #tokensPerMs: number | undefined
  #completion: number | undefined

  /** Average time of a request in its slot; 0 before the first. */
  get serviceTime(): Ms {
    return ms(this.#serviceMs ?? 0)
  }

  /** Tokens written a second; undefined while unknown. */
  get tokensPerSecond(): number | undefined {
    return this.#tokensPerMs === undefined ? undefined : this.#tokensPerMs * 1_000
  }

  record(sample: Sample): void {
    this.#serviceMs = average(this.#serviceMs, sample.serviceTime)
    const { firstText, completionTokens, promptTokens } = sample
    if (completionTokens > 0) this.#completion = average(this.#completion, completionTokens)
    if (firstText !== undefined) {
      if (promptTokens >= PROMPT_MIN && firstText > 0)
        this.#promptPerMs = average(this.#promptPerMs, promptTokens / firstText)
      else this.#firstMs = average(this.#firstMs || undefined, firstText)
    }
    const duration = sample.serviceTime - (firstText ?? 0)
    const tokens = firstText === undefined ? completionTokens : completionTokens - 1
    if (duration <= 0 || tokens < (firstText === undefined ? TOKENS_MIN_WHOLE : TOKENS_MIN)) return
    this.#tokensPerMs = average(this.#tokensPerMs, tokens / duration)
  }

  /** How long a request takes in its slot: by the rates where they are known, else the average. */
  predict(work: Work): Ms {
    if (this.#tokensPerMs === undefined) return this.serviceTime
    const usual = this.#completion ?? 0
    const tokens = Math.min(work.completionTokens ?? Number.POSITIVE_INFINITY, usual)
    return ms(this.#reading(work.promptTokens) + tokens / this.#tokensPerMs)
  }

  /** Whether the first token surely comes within `time`. */
  canStart({ promptTokens }: Work, time: Ms): boolean {
    return this.#reading(promptTokens) <= time * CAUTION
  }

  /** Tokens that a request surely gets in `time`, at least 1; undefined while the rate is unknown. */
  tokensWithin(time: Ms, { promptTokens }: Work): number | undefined {
    if (this.#tokensPerMs === undefined) return undefined
    const left = Math.max(0, time * CAUTION - this.#reading(promptTokens))
    return Math.max(1, Math.floor(left * this.#tokensPerMs))
  }

  #reading(promptTokens: number): number {
    return this.#firstMs + (this.#promptPerMs === undefined ? 0 : promptTokens / this.#promptPerMs)
  }
}

/**
 * When the next one who comes would get a slot: the line played forward, each request taking the time
 * that it is predicted to.
 */
export function forecast(
  at: {
    readonly now: Ms
    readonly slots: number
    readonly running: Iterable<{ readonly startedAt: Ms; readonly work: Work }>
    readonly waiting: readonly { readonly work: Work }[]
  },
  pace: Pace,
): Ms {
  const ends = [...at.running].map(({ startedAt, work }) =>
    Math.max(at.now, startedAt + pace.predict(work)),
  )
  while (ends.length < at.slots) ends.push(at.now)
  for (const { work } of at.waiting) {
    ends.sort((a, b) => a - b)
    ends[0] = (ends[0] ?? at.now) + pace.predict(work)
  }
  return ms(Math.min(...ends))
}

function average(before: number | undefined, value: number): number {
  return before === undefined ? value : before + WEIGHT * (value - before)
}
