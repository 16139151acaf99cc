/**
 * The memory of one thing that yields, the machine or a card: it yields at once, and comes back only after
 * a rest without any reason. Each yield costs a loaded model, so after several within some minutes the
 * rest doubles, again and again, until it has served for a while.
 *
 * A pause by hand and the hours end without a rest: they do not come back a moment later. Tested by
 * test/gpu/rest.ts.
 */
import { type Ms, ms } from '../base/units.ts'
import { over, restLeft } from './reasons.ts'
import type { Reason, ReasonName } from './verdict.ts'

/** So many yields within so long are a flap. */
export const FLAP_YIELDS = 3
export const FLAP_WINDOW = ms(600_000)
export const REST_MAX = ms(900_000)
const LEVEL_MAX = 10
const WITHOUT_REST: ReadonlySet<ReasonName> = new Set(['paused', 'schedule'])

/** Times are values of `clock.monotonic()`. */
export interface Rest {
  /** A reason that asks for a rest holds, or did until less than a rest ago. */
  readonly isHeld: boolean
  readonly quietSince?: Ms
  readonly last: readonly ReasonName[]
  /** Nothing speaks against it: absent while something does. */
  readonly freeSince?: Ms
  readonly yields: readonly Ms[]
  /** The rest is `resumeAfter`, doubled so often. */
  readonly level: number
}

export const RESTED: Rest = { isHeld: false, last: [], yields: [], level: 0 }

export function restOf({ level }: Rest, resumeAfter: Ms): Ms {
  return ms(Math.min(resumeAfter * 2 ** level, Math.max(REST_MAX, resumeAfter)))
}

/**
 * @param wasUsable it could be used until now, so that to hold it is a yield
 * @returns what is to be told: the reasons, and those that are over during the rest; `left` of that
 */
export function step(
  before: Rest,
  reasons: readonly Reason[],
  at: Ms,
  options: { resumeAfter: Ms; wasUsable: boolean },
): { rest: Rest; reasons: readonly Reason[]; left?: Ms } {
  const asking = reasons.filter(({ name }) => !WITHOUT_REST.has(name)).map(({ name }) => name)
  const told = (rest: Rest, shown: readonly Reason[], left?: Ms) => ({
    rest: freed(rest, shown.length === 0, at),
    reasons: shown,
    ...(left === undefined ? {} : { left }),
  })
  if (asking.length > 0) {
    const { quietSince: _, ...held } = before
    const yielded = options.wasUsable && before.freeSince !== undefined
    return told(
      { ...held, ...(yielded ? flap(before, at) : {}), isHeld: true, last: asking },
      reasons,
    )
  }
  if (!before.isHeld) return told(before, reasons)
  const quietSince = before.quietSince ?? at
  const length = restOf(before, options.resumeAfter)
  const left = restLeft(length, at - quietSince)
  if (left === 0) {
    const { quietSince: _, ...rest } = before
    return told({ ...rest, isHeld: false, last: [] }, reasons)
  }
  const shown = [...reasons, ...before.last.map((name) => over(name, length))]
  return told({ ...before, quietSince }, shown, left)
}

function freed(rest: Rest, isFree: boolean, at: Ms): Rest {
  const { freeSince, ...others } = rest
  return isFree ? { ...others, freeSince: freeSince ?? at } : others
}

/** A yield more. A long time of service makes good for those before. */
function flap(before: Rest, at: Ms): Pick<Rest, 'yields' | 'level'> {
  const served = at - (before.freeSince ?? at)
  if (served >= FLAP_WINDOW) return { yields: [at], level: 0 }
  const yields = [...before.yields.filter((time) => at - time < FLAP_WINDOW), at]
  const isFlap = yields.length >= FLAP_YIELDS || before.level > 0
  const level = isFlap ? Math.min(before.level + 1, LEVEL_MAX) : 0
  return { yields: yields.slice(-FLAP_YIELDS), level }
}
