/** What is done in a slot, and for whom. */
import type { Ms } from '../base/units.ts'
import type { Work } from './pace.ts'
import type { Usage } from './request.ts'

export interface ServeOptions {
  readonly signal: AbortSignal
  readonly deadline: Ms
  /** Who asks: an application; absent: the owner. */
  readonly party?: string
}

/** What is done in a slot. */
export interface Job<T> {
  /** As far as it can be told before the prompt is read. */
  readonly work: Work
  /** @param options.tokensMax what fits into the time that is left; absent: unknown */
  run(options: {
    readonly signal: AbortSignal
    readonly tokensMax?: number
    /** To be called for every piece of the answer, as it comes. */
    readonly onPiece: () => void
  }): Promise<T>
  usageOf(result: T): Usage
}
