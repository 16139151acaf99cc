/**
 * One Intel card, read from what the drivers `i915` and `xe` show in sysfs.
 *
 * They tell no load and no used memory of the card as a whole: both are added up from the programs (fdinfo.ts).
 * Power is a counter of energy, so watts need two looks. Layout: the kernel's ABI files of i915-hwmon and xe-hwmon.
 * Tested by test/gpu/intel.ts.
 */
import { join } from 'node:path'
import type { Ms } from '../base/units.ts'
import { asleep, type CardDeps } from './amd.ts'
import { type DrmCard, hasDisplay, hwmonOf, list, readNumber } from './drm.ts'
import { known } from './numbers.ts'
import type { GpuSample } from './sample.ts'

export const INTEL_VENDOR = '8086'

/** Two looks that are nearer than this tell no watts. */
const APART_MIN = 100
const APART_MAX = 60_000
/** More than any card draws: the counter began anew. */
const WATTS_MAX = 2_000
const CARDS_MAX = 64

/** @param before what was seen of it last */
export async function readIntel(
  card: DrmCard,
  index: number,
  { sys, names, watts, now }: CardDeps & { watts: EnergyCounters; now: Ms },
  before?: GpuSample,
): Promise<GpuSample> {
  const { folder, pci } = card
  // Graphics in the processor hang on the first bus, which no slot for a card does.
  const isShared = pci.slice(5, 7) === '00'
  const what = isShared ? 'Intel graphics' : 'Intel card'
  const name = (await names.nameOf(card.vendorId, card.deviceId)) ?? `${what} ${card.deviceId}`
  if (card.isAsleep) return { ...asleep(card, 'intel', index, before, name), isShared }
  const hwmon = await hwmonOf(folder)
  const sensors = hwmon === undefined ? [] : await list(hwmon)
  const sensor = async (kind: string, unit: number) => {
    const first = sensors.filter((one) => new RegExp(`^${kind}$`).test(one)).sort()[0]
    return first === undefined || hwmon === undefined
      ? undefined
      : await readNumber(join(hwmon, first), unit)
  }
  const [joules, temperature, powerLimit, display, memoryTotal] = await Promise.all([
    sensor('energy\\d+_input', 1e6),
    sensor('temp\\d+_input', 1e3),
    sensor('power\\d+_max', 1e6),
    hasDisplay(sys, card),
    isShared ? undefined : memoryOf(card, sys),
  ])
  return {
    ...{ id: pci, vendor: 'intel', index, name, pci, isShared, isAsleep: false },
    ...known<Partial<GpuSample>>({
      driver: card.driver,
      memoryTotal: memoryTotal === 0 ? undefined : memoryTotal,
      temperature,
      power: joules === undefined ? undefined : watts.wattsOf(pci, joules, now),
      powerLimit: powerLimit === 0 ? undefined : powerLimit,
      hasDisplay: display,
    }),
  }
}

/** Each of `xe`'s tiles has its own; `i915` has one number. Not every kernel tells it. */
async function memoryOf(card: DrmCard, sys: string): Promise<number | undefined> {
  const tiles = (await list(card.folder)).filter((name) => /^tile\d+$/.test(name))
  const sizes = await Promise.all(
    tiles.map((tile) => readNumber(join(card.folder, tile, 'physical_vram_size_bytes'))),
  )
  const known = sizes.filter((size) => size !== undefined)
  if (known.length > 0) return known.reduce((sum, size) => sum + size, 0)
  return await readNumber(join(sys, 'class', 'drm', card.node, 'lmem_total_bytes'))
}

/** Watts out of counters that only grow. */
export class EnergyCounters {
  readonly #last = new Map<string, { joules: number; at: Ms }>()

  /** @returns undefined at the first look, after a long time, or when the counter began anew */
  wattsOf(id: string, joules: number, at: Ms): number | undefined {
    const last = this.#last.get(id)
    const apart = last === undefined ? 0 : at - last.at
    if (last !== undefined && apart >= 0 && apart < APART_MIN) return undefined
    if (last !== undefined || this.#last.size < CARDS_MAX) this.#last.set(id, { joules, at })
    if (last === undefined || apart > APART_MAX || apart <= 0) return undefined
    const watts = (joules - last.joules) / (apart / 1_000)
    return watts >= 0 && watts <= WATTS_MAX ? watts : undefined
  }
}
