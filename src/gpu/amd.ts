/**
 * One AMD card, read from what the driver `amdgpu` shows in sysfs.
 *
 * Layout: the kernel's documentation of amdgpu (driver-misc, thermal). Watts are in millionths and degrees in
 * thousandths, as hwmon has it. A processor's own graphics (APU) has a carve-out of the machine's memory and takes
 * more of it through the GTT: both together are its memory. Tested by test/gpu/amd.ts.
 */
import { join } from 'node:path'
import { type DrmCard, hasDisplay, hwmonOf, read, readNumber } from './drm.ts'
import { known, shareIn } from './numbers.ts'
import type { PciNames } from './pci-names.ts'
import type { GpuSample } from './sample.ts'

export const AMD_VENDOR = '1002'

const SMALL_CARVE_OUT = 4 * 1024 ** 3
const NAME_MAX = 200

export interface CardDeps {
  /** `/sys` */
  readonly sys: string
  readonly names: PciNames
}

/**
 * @param index of its vendor's cards
 * @param before what was seen of it last: all that is said of a card that sleeps
 */
export async function readAmd(
  card: DrmCard,
  index: number,
  { sys, names }: CardDeps,
  before?: GpuSample,
): Promise<GpuSample> {
  const { folder, pci } = card
  const listed = (await names.nameOf(card.vendorId, card.deviceId)) ?? `AMD card ${card.deviceId}`
  if (card.isAsleep) return asleep(card, 'amd', index, before, listed)
  const of = (name: string) => join(folder, name)
  const hwmon = await hwmonOf(folder)
  const sensor = (name: string) => (hwmon === undefined ? '' : join(hwmon, name))
  const [isShared, memory, product, load, display] = await Promise.all([
    sharesMemory(folder, hwmon),
    memoryOf(folder),
    read(of('product_name')),
    read(of('gpu_busy_percent')),
    hasDisplay(sys, card),
  ])
  const [temperature, average, now, powerLimit] = await Promise.all([
    readNumber(sensor('temp1_input'), 1e3),
    readNumber(sensor('power1_average'), 1e6),
    readNumber(sensor('power1_input'), 1e6),
    readNumber(sensor('power1_cap'), 1e6),
  ])
  const used = isShared ? sum(memory.vramUsed, memory.gttUsed) : memory.vramUsed
  const total = isShared ? sum(memory.vramTotal, memory.gttTotal) : memory.vramTotal
  return {
    ...{ id: pci, vendor: 'amd', index, pci, isShared, isAsleep: false },
    name: product === undefined || product === '' ? listed : product.slice(0, NAME_MAX),
    ...known<Partial<GpuSample>>({
      driver: card.driver,
      memoryTotal: total === 0 ? undefined : total,
      memoryUsed: used,
      load: shareIn(load),
      temperature,
      power: average ?? now,
      powerLimit: powerLimit === 0 ? undefined : powerLimit,
      hasDisplay: display,
    }),
  }
}

interface Memory {
  readonly vramTotal: number | undefined
  readonly vramUsed: number | undefined
  readonly gttTotal: number | undefined
  readonly gttUsed: number | undefined
}

async function memoryOf(folder: string): Promise<Memory> {
  const [vramTotal, vramUsed, gttTotal, gttUsed] = await Promise.all(
    ['vram_total', 'vram_used', 'gtt_total', 'gtt_used'].map((name) =>
      readNumber(join(folder, `mem_info_${name}`)),
    ),
  )
  return { vramTotal, vramUsed, gttTotal, gttUsed }
}

/**
 * Only an APU has a sensor for the voltage of its north bridge; one without sensors is told by a small carve-out
 * of memory that nobody has made.
 */
async function sharesMemory(folder: string, hwmon: string | undefined): Promise<boolean> {
  if (hwmon !== undefined && (await read(join(hwmon, 'in1_label'))) === 'vddnb') return true
  const { vramTotal, gttTotal } = await memoryOf(folder)
  if (vramTotal === undefined || gttTotal === undefined) return false
  const maker = await read(join(folder, 'mem_info_vram_vendor'))
  return (maker ?? 'unknown') === 'unknown' && vramTotal <= SMALL_CARVE_OUT && gttTotal > vramTotal
}

/** A card that sleeps: who it is, and nothing of the moment. */
export function asleep(
  card: Pick<DrmCard, 'pci' | 'driver'>,
  vendor: GpuSample['vendor'],
  index: number,
  before: GpuSample | undefined,
  name: string,
): GpuSample {
  return {
    ...{ id: before?.id ?? card.pci, vendor, index, pci: card.pci, name: before?.name ?? name },
    ...{ isShared: before?.isShared ?? false, isAsleep: true },
    ...known<Partial<GpuSample>>({
      driver: before?.driver ?? card.driver,
      memoryTotal: before?.memoryTotal,
      powerLimit: before?.powerLimit,
    }),
  }
}

function sum(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : a + b
}
