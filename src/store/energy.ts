/**
 * What each service did and what the graphics cards drew for it, day by day: the figures behind joules per
 * token and the price of power.
 *
 * Statistics and no evidence: a damaged value is passed over and begun anew, a minute that was not booked is
 * lost, and days of more than a year ago are dropped. Whoever adds does so once a minute at most, since each
 * time is a synced write.
 * Key: day in UTC (`2026-11-29`) || service id, UTF-8. Tested by test/store/energy.ts.
 */
import { z } from 'zod'
import { concat, utf8 } from '../base/bytes.ts'
import { assert } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { Mutex } from '../base/queue.ts'
import type { Ms } from '../base/units.ts'
import type { Operation, Table, Write } from './disk.ts'
import { decodeValue, encodeValue, stored } from './encoding.ts'
import { StoreError } from './errors.ts'
import { type Range, successor } from './keys.ts'

export interface EnergyFigures {
  /** Answered. */
  readonly relays: number
  readonly promptTokens: number
  readonly completionTokens: number
  /** Drawn by its part of the cards. */
  readonly joules: number
  /** Of these: above what the cards draw while they do nothing, as far as that is known. */
  readonly joulesAbove: number
  /** Seconds of one card that were measured: two cards for a minute are 120. */
  readonly seconds: number
}

export interface EnergyEntry extends EnergyFigures {
  readonly day: string
  /** `NOBODY`: nothing was answered. */
  readonly serviceId: string
}

export interface EnergyTotals {
  /** The first day that is known; absent: none is. */
  readonly since?: string
  readonly services: ReadonlyMap<string, EnergyFigures>
}

/** Days such as `2026-11-29`, both included. */
export interface DayRange {
  readonly from?: string
  readonly to?: string
}

/** The service under which stands what cards drew while they waited for work. */
export const NOBODY = ''
export const NO_ENERGY: EnergyFigures = Object.freeze({
  ...{ relays: 0, promptTokens: 0, completionTokens: 0 },
  ...{ joules: 0, joulesAbove: 0, seconds: 0 },
})

const DAY = 86_400_000
/** Before today. */
const DAYS_KEPT = 400
const DAY_BYTES = 10
const DAY_TEXT = /^\d{4}-\d\d-\d\d$/

const amount = z.number().nonnegative()
const fields = z.object({
  relays: stored.count,
  promptTokens: stored.count,
  completionTokens: stored.count,
  joules: amount,
  joulesAbove: amount,
  seconds: amount,
})

export interface EnergyDeps {
  readonly energy: Table
  readonly write: Write
  readonly log: Log
}

export class EnergyStore {
  readonly #deps: EnergyDeps
  readonly #inOrder = new Mutex()

  constructor(deps: EnergyDeps) {
    this.#deps = deps
  }

  /**
   * Adds to the figures of the day of `at`, all of it in one batch, and drops old days.
   * @param at milliseconds since 1970
   * @throws StoreError DISK, STORE_CLOSED
   */
  async add(at: Ms, figures: ReadonlyMap<string, EnergyFigures>): Promise<void> {
    const { energy, write } = this.#deps
    const day = dayOf(at)
    await this.#inOrder.run(async () => {
      const operations: Operation[] = []
      for (const [serviceId, more] of figures) {
        const key = concat(utf8(day), utf8(serviceId))
        const value = await energy.get(key)
        const before = value === undefined ? undefined : this.#decode(key, value)
        const sum = before === undefined ? more : addEnergy(before, more)
        operations.push(energy.put(key, encodeValue(fields, key, sum)))
      }
      const oldest = dayOf(Math.max(0, at - DAYS_KEPT * DAY))
      // The first thousand: the next minute takes what is left.
      for await (const old of energy.keys({ lt: utf8(oldest) })) {
        operations.push(...old.map((key) => energy.del(key)))
        break
      }
      if (operations.length > 0) await write(operations)
    })
  }

  /** In order of days, then of services. @throws StoreError DISK, STORE_CLOSED */
  async *days(range: DayRange = {}): AsyncGenerator<EnergyEntry> {
    for await (const [key, value] of this.#deps.energy.entries(keysOf(range))) {
      const figures = this.#decode(key, value)
      if (figures === undefined) continue
      const [day, serviceId] = [key.subarray(0, DAY_BYTES), key.subarray(DAY_BYTES)].map(text)
      yield { day: day ?? '', serviceId: serviceId ?? '', ...figures }
    }
  }

  /** Adds up the days of the range; all of them by default. @throws StoreError DISK, STORE_CLOSED */
  async totals(range: DayRange = {}): Promise<EnergyTotals> {
    const services = new Map<string, EnergyFigures>()
    let since: string | undefined
    for await (const { day, serviceId, ...figures } of this.days(range)) {
      since ??= day
      services.set(serviceId, addEnergy(services.get(serviceId) ?? NO_ENERGY, figures))
    }
    return { services, ...(since === undefined ? {} : { since }) }
  }

  /** Undefined: damaged. The owner loses figures by it and no money, so nothing stops for that. */
  #decode(key: Uint8Array, value: Uint8Array): EnergyFigures | undefined {
    try {
      return decodeValue(fields, key, value)
    } catch (err) {
      if (!(err instanceof StoreError)) throw err
      this.#deps.log.warn({ err }, 'damaged figures of energy were passed over')
      return undefined
    }
  }
}

export function addEnergy(a: EnergyFigures, b: EnergyFigures): EnergyFigures {
  return {
    relays: a.relays + b.relays,
    promptTokens: a.promptTokens + b.promptTokens,
    completionTokens: a.completionTokens + b.completionTokens,
    joules: a.joules + b.joules,
    joulesAbove: a.joulesAbove + b.joulesAbove,
    seconds: a.seconds + b.seconds,
  }
}

function dayOf(at: number): string {
  const day = new Date(at).toISOString().slice(0, DAY_BYTES)
  assert(DAY_TEXT.test(day), 'the day is one of the years 0 to 9999')
  return day
}

function keysOf({ from, to }: DayRange): Range {
  for (const day of [from, to]) assert(day === undefined || DAY_TEXT.test(day), 'a day is a day')
  return {
    ...(from !== undefined && { gte: utf8(from) }),
    ...(to !== undefined && { lt: successor(utf8(to)) }),
  }
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}
