/**
 * Requests that may have killed the engine: what was out twice when it died is not tried a third time.
 *
 * Known by the hash of what they ask, in memory only. An answer clears a request; one that was only a
 * neighbour of the culprit is cleared by its next answer or by time. Tested by test/inference/llamacpp/suspects.ts.
 */
import { hex, sha256, utf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { LruMap } from '../../base/queue.ts'
import { type Ms, ms } from '../../base/units.ts'
import { badRequest } from '../errors.ts'
import type { Task } from './wire.ts'

export interface SuspectsOptions {
  /** So many deaths of the engine are enough. */
  readonly deathsMax: number
  readonly suspectsMax: number
  readonly forgetAfter: Ms
}

export const SUSPECTS_DEFAULTS = {
  deathsMax: 2,
  suspectsMax: 1_000,
  forgetAfter: ms(3_600_000),
} satisfies SuspectsOptions

export class Suspects {
  readonly #clock: Clock
  readonly #options: SuspectsOptions
  readonly #deaths: LruMap<string, { count: number; at: number }>

  constructor(deps: { clock: Clock }, options: SuspectsOptions = SUSPECTS_DEFAULTS) {
    this.#clock = deps.clock
    this.#options = options
    this.#deaths = new LruMap(options.suspectsMax)
  }

  /** @throws InferenceError BAD_REQUEST, reason `unprocessable` */
  check(task: Task): void {
    if (this.#deaths.size === 0) return
    const key = keyOf(task)
    const known = this.#deaths.get(key)
    if (known === undefined) return
    if (this.#clock.monotonic() - known.at > this.#options.forgetAfter) this.#deaths.delete(key)
    else if (known.count >= this.#options.deathsMax)
      throw badRequest(
        undefined,
        'The engine broke down twice while it worked on this request, so it is not tried again.',
        'unprocessable',
      )
  }

  /** The engine died while these were out. */
  died(tasks: readonly Task[]): void {
    const at = this.#clock.monotonic()
    for (const task of tasks) {
      const key = keyOf(task)
      this.#deaths.set(key, { count: (this.#deaths.get(key)?.count ?? 0) + 1, at })
    }
  }

  /** The engine answered it and lives. */
  answered(task: Task): void {
    if (this.#deaths.size > 0) this.#deaths.delete(keyOf(task))
  }
}

/** The same for the same question, whatever its number and its chance. */
function keyOf({ id: _, ...task }: Task): string {
  const text = JSON.stringify(task, (name, value: unknown) => {
    if (name === 'seed') return undefined
    return value instanceof Map ? [...value] : value
  })
  return hex(sha256(utf8(text)))
}
