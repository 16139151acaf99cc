/**
 * Joules that the cards draw while something is done, by looking at them now and then. Without a card that tells
 * its power nothing is looked at again. Tests: test/cli/try-watts.ts.
 */
import { following } from '../base/abort.ts'
import type { Clock } from '../base/clock.ts'
import { OVER } from '../base/retry.ts'
import { type Ms, ms } from '../base/units.ts'
import { EnergyMeter } from '../gpu/energy.ts'
import type { LookAtCards } from '../node/hardware.ts'

export interface Drawn {
  readonly joules: number
  readonly seconds: number
}

export interface WattsDeps {
  readonly clock: Clock
  readonly cards: LookAtCards
  readonly every?: Ms
}

const EVERY = ms(500)

export class Watts {
  readonly #deps: WattsDeps
  /** Of cards that told their power; undefined: nobody looked yet. */
  #ids: ReadonlySet<string> | undefined

  constructor(deps: WattsDeps) {
    this.#deps = deps
  }

  /** @returns `drawn` is absent where no card tells its power, or too little time went by */
  async during<T>(
    work: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<{ value: T; drawn?: Drawn }> {
    const { clock, every = EVERY } = this.#deps
    const meter = new EnergyMeter()
    await this.#look(meter, signal)
    if (this.#ids?.size === 0) return { value: await work() }
    using ended = following(signal)
    const looking = (async () => {
      for (;;) {
        await clock.sleep(every, ended.signal)
        await this.#look(meter, ended.signal)
      }
      // It ends with the signal, and by nothing else.
    })().catch(() => {})
    let value: T
    try {
      value = await work()
    } finally {
      ended.abort(OVER)
      await looking
    }
    await this.#look(meter, signal)
    const drawn = sumOf(meter, this.#ids ?? new Set())
    return drawn === undefined ? { value } : { value, drawn }
  }

  async #look(meter: EnergyMeter, signal: AbortSignal): Promise<void> {
    const { gpus } = await this.#deps.cards(signal)
    meter.add(this.#deps.clock.monotonic(), gpus)
    this.#ids ??= new Set(gpus.flatMap(({ id, power }) => (power === undefined ? [] : [id])))
  }
}

function sumOf(meter: EnergyMeter, ids: ReadonlySet<string>): Drawn | undefined {
  let joules = 0
  let seconds = 0
  for (const id of ids) {
    const energy = meter.of(id)
    if (energy === undefined) continue
    joules += energy.joules
    seconds = Math.max(seconds, energy.seconds)
  }
  return seconds > 0 ? { joules, seconds } : undefined
}
