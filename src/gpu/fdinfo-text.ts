/**
 * The text of one `/proc/PID/fdinfo/FD` that belongs to a card. Pure.
 *
 * `drm-engine-NAME: 123 ns`, or, of xe, `drm-cycles-NAME` out of `drm-total-cycles-NAME`; several engines of one
 * name have a capacity. Memory stands by region, newer drivers say `resident` and older ones `memory` of the same.
 * Rules: the kernel's drm-usage-stats. Tested by test/gpu/fdinfo.ts.
 */
import { pciIn, wholeIn } from './numbers.ts'

export interface Engine {
  /** Nanoseconds, or cycles where there is a total. */
  readonly busy: number
  readonly total?: number
  readonly capacity: number
}

export interface FdClient {
  readonly id: string
  readonly pci: string
  readonly engines: ReadonlyMap<string, Engine>
  /** Bytes of the card's own memory; absent: the driver tells none. */
  readonly local?: number
  /** Bytes of the machine's memory. */
  readonly system?: number
}

const LINES_MAX = 512
const UNITS: Readonly<Record<string, number>> = { '': 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

/** @returns undefined: not a file of a card on PCI */
export function parseFdinfo(text: string): FdClient | undefined {
  const values = new Map<string, string>()
  for (const line of text.split('\n', LINES_MAX)) {
    const at = line.indexOf(':')
    if (line.startsWith('drm-') && at > 0) values.set(line.slice(4, at), line.slice(at + 1).trim())
  }
  const id = /^\d{1,20}$/.exec(values.get('client-id') ?? '')?.[0]
  const pci = pciIn(values.get('pdev'))
  if (id === undefined || pci === undefined) return undefined
  const local = memoryIn(values, /^(vram|local)/)
  const system = memoryIn(values, /^(gtt|system|stolen)/)
  return {
    ...{ id, pci, engines: enginesIn(values) },
    ...(local === undefined ? {} : { local }),
    ...(system === undefined ? {} : { system }),
  }
}

function enginesIn(values: ReadonlyMap<string, string>): Map<string, Engine> {
  const engines = new Map<string, Engine>()
  for (const [key, value] of values) {
    const [, how, name] = /^(engine|cycles)-(?!capacity-)(.+)$/.exec(key) ?? []
    const busy = wholeIn(value.replace(/ ns$/, ''))
    if (how === undefined || name === undefined || busy === undefined) continue
    const total = how === 'cycles' ? wholeIn(values.get(`total-cycles-${name}`)) : undefined
    if (how === 'cycles' && total === undefined) continue
    const capacity = Math.max(1, wholeIn(values.get(`engine-capacity-${name}`)) ?? 1)
    engines.set(name, { busy, capacity, ...(total === undefined ? {} : { total }) })
  }
  return engines
}

function memoryIn(values: ReadonlyMap<string, string>, regions: RegExp): number | undefined {
  const sizes = new Map<string, number>()
  for (const how of ['memory', 'total', 'resident']) {
    for (const [key, value] of values) {
      const region = key.startsWith(`${how}-`) ? key.slice(how.length + 1) : ''
      const bytes = regions.test(region) ? bytesIn(value) : undefined
      // What is resident comes last and says it best.
      if (bytes !== undefined) sizes.set(region, bytes)
    }
  }
  return sizes.size === 0 ? undefined : [...sizes.values()].reduce((sum, size) => sum + size, 0)
}

function bytesIn(text: string): number | undefined {
  const [, digits, unit] = /^(\d+) ?([KMG]iB)?$/.exec(text) ?? []
  const number = wholeIn(digits)
  return number === undefined ? undefined : number * (UNITS[unit ?? ''] ?? 1)
}

/**
 * The part of the time that an engine worked between two looks.
 * @param apart ms. @returns 0 to 1; undefined: it was not there before, or its counter began anew
 */
export function busyShare(
  before: Engine | undefined,
  now: Engine,
  apart: number,
): number | undefined {
  if (before === undefined) return undefined
  const busy = now.busy - before.busy
  const whole =
    now.total === undefined || before.total === undefined ? apart * 1e6 : now.total - before.total
  if (busy < 0 || whole < 0) return undefined
  return whole === 0 ? 0 : Math.min(1, busy / whole / now.capacity)
}
