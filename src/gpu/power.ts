/**
 * A limit for the power of a card, where its driver takes one, and the way back to the one before.
 *
 * NVIDIA's is set by `nvidia-smi -pl`, AMD's by a file of hwmon; both are for root as a rule. A limit stays when we
 * end, so what was found is remembered and put back. Tested by test/gpu/power.ts.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hwmonOf, readNumber } from './drm.ts'
import { GpuError } from './errors.ts'
import { numberIn } from './numbers.ts'
import type { Runner } from './run.ts'
import type { GpuSample } from './sample.ts'

export interface PowerRange {
  /** Watts. */
  readonly min: number
  readonly max: number
  /** In force now. */
  readonly now: number
}

export interface PowerDeps {
  readonly run: Runner
  /** `/sys` */
  readonly sys: string
  /** Writes down what `found` says, before a limit is set and after one was put back: a kill must not lose it. */
  readonly keep?: (found: ReadonlyMap<string, number>) => Promise<void>
}

const FIELDS = '--query-gpu=power.min_limit,power.max_limit,power.limit'
/** Drivers count in watts or in thousandths of them. */
const SAME_WATTS = 1

export class PowerCaps {
  readonly #deps: PowerDeps
  /** By the id of a card: the limit that was there before the first one of ours, in watts. */
  readonly #found = new Map<string, { readonly gpu: GpuSample; readonly watts: number }>()

  constructor(deps: PowerDeps) {
    this.#deps = deps
  }

  /** Cards that have a limit of ours, by id, and the one that they had before, in watts. */
  get found(): ReadonlyMap<string, number> {
    return new Map([...this.#found].map(([id, { watts }]) => [id, watts]))
  }

  /** What an earlier run of ours found there and did not put back. */
  adopt(gpu: GpuSample, watts: number): void {
    if (!this.#found.has(gpu.id)) this.#found.set(gpu.id, { gpu, watts })
  }

  /** @throws GpuError POWER_UNSUPPORTED (retryable while the card sleeps); `signal.reason` */
  async rangeOf(gpu: GpuSample, signal: AbortSignal): Promise<PowerRange> {
    if (gpu.isAsleep)
      throw new GpuError('POWER_UNSUPPORTED', `${gpu.name} sleeps`, { retryable: true })
    const range =
      gpu.vendor === 'nvidia' && gpu.partOf === undefined
        ? await this.#nvidiaRange(gpu, signal)
        : gpu.vendor === 'amd'
          ? await this.#amdRange(gpu)
          : undefined
    if (range === undefined)
      throw new GpuError('POWER_UNSUPPORTED', `${gpu.name} has no limit of power that can be set`)
    return range
  }

  /**
   * @param watts the most that the card may draw
   * @throws GpuError POWER_RANGE, POWER_DENIED, POWER_UNSUPPORTED; `signal.reason`
   */
  async capPower(gpu: GpuSample, watts: number, signal: AbortSignal): Promise<void> {
    const range = await this.rangeOf(gpu, signal)
    if (!(watts >= range.min && watts <= range.max))
      throw new GpuError(
        'POWER_RANGE',
        `${gpu.name} takes a limit of ${range.min} to ${range.max} W, not ${watts} W`,
        { data: { watts, minWatts: range.min, maxWatts: range.max } },
      )
    if (Math.abs(range.now - watts) < SAME_WATTS) return
    const isFirst = !this.#found.has(gpu.id)
    if (isFirst) this.#found.set(gpu.id, { gpu, watts: range.now })
    await this.#deps.keep?.(this.found)
    try {
      await this.#set(gpu, watts, signal)
    } catch (error) {
      if (isFirst) this.#found.delete(gpu.id)
      throw error
    }
    // Some drivers say that they do not, and end well.
    const { now } = await this.rangeOf(gpu, signal)
    if (Math.abs(now - watts) >= SAME_WATTS) throw unsupported(gpu)
  }

  /**
   * Puts back what was found: of one card, or of all. Those that fail are tried again by the next call.
   * @throws the first GpuError; `signal.reason`
   */
  async restore(signal: AbortSignal, id?: string): Promise<void> {
    let failure: unknown
    for (const [key, { gpu, watts }] of [...this.#found]) {
      if (id !== undefined && key !== id) continue
      try {
        await this.#set(gpu, watts, signal)
        this.#found.delete(key)
        await this.#deps.keep?.(this.found)
      } catch (error) {
        failure ??= error
      }
    }
    if (failure !== undefined) throw failure
  }

  async #nvidiaRange(gpu: GpuSample, signal: AbortSignal): Promise<PowerRange | undefined> {
    const args = [`--id=${gpu.id}`, FIELDS, '--format=csv,noheader,nounits']
    const result = await this.#deps.run('nvidia-smi', args, signal)
    const line = result.is === 'done' ? result.text.trim().split('\n', 1)[0] : undefined
    return rangeFrom(line?.split(/,\s+/).map(numberIn) ?? [])
  }

  async #amdRange(gpu: GpuSample): Promise<PowerRange | undefined> {
    const hwmon = await this.#hwmon(gpu)
    if (hwmon === undefined) return undefined
    const names = ['power1_cap_min', 'power1_cap_max', 'power1_cap']
    return rangeFrom(await Promise.all(names.map((name) => readNumber(join(hwmon, name), 1e6))))
  }

  async #hwmon({ pci }: GpuSample): Promise<string | undefined> {
    return pci === undefined
      ? undefined
      : await hwmonOf(join(this.#deps.sys, 'bus', 'pci', 'devices', pci))
  }

  async #set(gpu: GpuSample, watts: number, signal: AbortSignal): Promise<void> {
    if (gpu.vendor === 'amd') return await this.#setAmd(gpu, watts)
    const args = [`--id=${gpu.id}`, `--power-limit=${Number(watts.toFixed(2))}`]
    const result = await this.#deps.run('nvidia-smi', args, signal)
    if (result.is === 'done') return
    const words = result.is === 'failed' ? result.text : ''
    if (/permission/i.test(words)) throw denied(gpu)
    if (result.is === 'late')
      throw new GpuError('POWER_UNSUPPORTED', 'nvidia-smi does not answer', { retryable: true })
    throw unsupported(gpu)
  }

  async #setAmd(gpu: GpuSample, watts: number): Promise<void> {
    const hwmon = await this.#hwmon(gpu)
    if (hwmon === undefined) throw unsupported(gpu)
    try {
      await writeFile(join(hwmon, 'power1_cap'), String(Math.round(watts * 1e6)))
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      throw code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
        ? denied(gpu, error)
        : unsupported(gpu, error)
    }
  }
}

function rangeFrom(numbers: readonly (number | undefined)[]): PowerRange | undefined {
  const [min, max, now] = numbers
  if (min === undefined || max === undefined || now === undefined) return undefined
  // Cards whose limit is fixed tell zeros.
  return max > 0 && min <= max ? { min, max, now } : undefined
}

function denied(gpu: GpuSample, cause?: unknown): GpuError {
  return new GpuError(
    'POWER_DENIED',
    `the limit of power of ${gpu.name} may not be set by this user`,
    { cause },
  )
}

function unsupported(gpu: GpuSample, cause?: unknown): GpuError {
  return new GpuError('POWER_UNSUPPORTED', `${gpu.name} does not take a limit of power`, { cause })
}
