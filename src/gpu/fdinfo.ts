/**
 * Who uses a card under Linux, and how much: what drivers tell of each open file of a program.
 *
 * `/proc/PID/fdinfo/FD` names a client of the card, the time that each of its engines worked for it, and its
 * memory (the kernel's drm-usage-stats; amdgpu, i915, xe and others). The same client stands in several files and
 * may be shared by several programs: it is counted once. A user sees his own programs only; root sees all.
 * Tested by test/gpu/fdinfo.ts.
 */
import { readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { list, read } from './drm.ts'
import { busyShare, type Engine, type FdClient, parseFdinfo } from './fdinfo-text.ts'
import type { GpuProcess } from './sample.ts'

export interface DrmProcess extends GpuProcess {
  /** Bytes of the machine's memory that the card uses for it. */
  readonly system?: number
}

export interface DrmUse {
  readonly processes: readonly DrmProcess[]
  /** Of all programs that are seen, 0 to 1; absent at the first look. */
  readonly load?: number
}

export interface DrmScan {
  /** By PCI address; a card that nobody uses is not in it. */
  readonly cards: ReadonlyMap<string, DrmUse>
  /** There are programs that this user may not look at. */
  readonly isPartial: boolean
}

const PIDS_MAX = 16_384
const FILES_MAX = 4_096
const CLIENTS_MAX = 4_096
/** A program without a card is looked at again after this, then after twice as long: most never get one. */
const IDLE_FIRST = 1_000
const IDLE_MAX = 30_000
/** Two looks that are nearer than this tell no load. */
const APART_MIN = 100
const APART_MAX = 60_000

interface Seen {
  readonly pid: number
  readonly client: FdClient
}

/** Of a program without a card. */
interface Wait {
  readonly until: number
  readonly wait: number
}

interface Before {
  readonly at: number
  /** By client. */
  readonly engines: ReadonlyMap<string, ReadonlyMap<string, Engine>>
  readonly loads: ReadonlyMap<string, ReadonlyMap<string, number>>
}

export class DrmClients {
  readonly #proc: string
  readonly #clock: Clock
  #before: Before | undefined
  /** Programs without a card, until when that is believed, and how long it was. */
  #without = new Map<number, Wait>()

  /** @param deps.proc `/proc` */
  constructor(deps: { proc: string; clock: Clock }) {
    this.#proc = deps.proc
    this.#clock = deps.clock
  }

  /** @throws `signal.reason` only */
  async scan(signal: AbortSignal): Promise<DrmScan> {
    const at = this.#clock.monotonic()
    const clients = new Map<string, Seen>()
    const without = new Map<number, Wait>()
    let isPartial = false
    const pids = (await list(this.#proc)).filter((name) => /^[1-9]\d*$/.test(name))
    for (const pid of pids.slice(0, PIDS_MAX).map(Number)) {
      signal.throwIfAborted()
      const last = this.#without.get(pid)
      if (last !== undefined && last.until > at) {
        without.set(pid, last)
        continue
      }
      const found = await clientsOf(this.#proc, pid)
      if (found === undefined) isPartial = true
      else if (found.length === 0) {
        const wait = Math.min(IDLE_MAX, (last?.wait ?? IDLE_FIRST / 2) * 2)
        without.set(pid, { until: at + wait, wait })
      }
      for (const client of found ?? []) {
        const key = `${client.pci}/${client.id}`
        if (!clients.has(key) && clients.size < CLIENTS_MAX) clients.set(key, { pid, client })
      }
    }
    this.#without = without
    const loads = this.#loads(clients, at)
    const names = new Map<number, string | undefined>()
    for (const { pid } of clients.values())
      if (!names.has(pid)) names.set(pid, await read(join(this.#proc, String(pid), 'comm')))
    return { cards: byCard(clients, loads, names), isPartial }
  }

  /** By client, by engine: its part of the time since the last look. */
  #loads(clients: ReadonlyMap<string, Seen>, at: number) {
    const before = this.#before
    const apart = before === undefined ? 0 : at - before.at
    if (before !== undefined && apart < APART_MIN) return before.loads
    const loads = new Map<string, Map<string, number>>()
    const engines = new Map([...clients].map(([key, { client }]) => [key, client.engines]))
    for (const [key, now] of engines) {
      const last = before?.engines.get(key)
      if (last === undefined || apart > APART_MAX) continue
      const of = new Map<string, number>()
      for (const [name, engine] of now) {
        const share = busyShare(last.get(name), engine, apart)
        if (share !== undefined) of.set(name, share)
      }
      loads.set(key, of)
    }
    this.#before = { at, engines, loads }
    return loads
  }
}

/** @returns undefined: not for this user. A program that has ended has none. */
async function clientsOf(proc: string, pid: number): Promise<FdClient[] | undefined> {
  const folder = join(proc, String(pid))
  let files: string[]
  try {
    files = await readdir(join(folder, 'fd'))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'EACCES' || code === 'EPERM' ? undefined : []
  }
  const clients = new Map<string, FdClient>()
  for (const file of files.slice(0, FILES_MAX)) {
    // Only a file of a card is opened further: a browser has thousands of others.
    const target = await readlink(join(folder, 'fd', file)).catch(() => '')
    if (!target.startsWith('/dev/dri/')) continue
    const client = parseFdinfo((await read(join(folder, 'fdinfo', file))) ?? '')
    if (client !== undefined) clients.set(`${client.pci}/${client.id}`, client)
  }
  return [...clients.values()]
}

function byCard(
  clients: ReadonlyMap<string, Seen>,
  loads: ReadonlyMap<string, ReadonlyMap<string, number>>,
  names: ReadonlyMap<number, string | undefined>,
): Map<string, DrmUse> {
  const cards = new Map<string, Map<number, { keys: string[]; clients: FdClient[] }>>()
  for (const [key, { pid, client }] of clients) {
    const card = cards.get(client.pci) ?? new Map()
    const of = card.get(pid) ?? { keys: [], clients: [] }
    of.keys.push(key)
    of.clients.push(client)
    cards.set(client.pci, card.set(pid, of))
  }
  return new Map(
    [...cards].map(([pci, programs]) => {
      const load = busiest(
        [...programs.values()].flatMap(({ keys }) => keys),
        loads,
      )
      const processes = [...programs].map(([pid, { keys, clients }]): DrmProcess => {
        const own = busiest(keys, loads)
        const name = names.get(pid)
        return {
          pid,
          kind: kindOf(clients),
          ...(name === undefined || name === '' ? {} : { name }),
          ...(clients.some(({ local }) => local !== undefined)
            ? { memory: clients.reduce((sum, { local }) => sum + (local ?? 0), 0) }
            : {}),
          system: clients.reduce((sum, { system }) => sum + (system ?? 0), 0),
          ...(own === undefined ? {} : { load: own }),
        }
      })
      return [pci, { processes, ...(load === undefined ? {} : { load }) }]
    }),
  )
}

/** The engine that works most, with what it did for all of these clients; undefined: none was seen before. */
function busiest(
  keys: readonly string[],
  loads: ReadonlyMap<string, ReadonlyMap<string, number>>,
): number | undefined {
  const engines = new Map<string, number>()
  let isKnown = false
  for (const key of keys) {
    const of = loads.get(key)
    if (of === undefined) continue
    isKnown = true
    for (const [name, share] of of) engines.set(name, (engines.get(name) ?? 0) + share)
  }
  return isKnown ? Math.min(1, Math.max(0, ...engines.values())) : undefined
}

/** By the engines that ever worked for it; one that did nothing yet draws, as most do. */
function kindOf(clients: readonly FdClient[]): GpuProcess['kind'] {
  const worked = clients.flatMap(({ engines }) =>
    [...engines].filter(([, engine]) => engine.busy > 0).map(([name]) => name),
  )
  const computes = worked.some((name) => /^(compute|ccs)/.test(name))
  const draws = worked.some((name) => /^(gfx|render|rcs|3d)/.test(name))
  return computes ? (draws ? 'both' : 'compute') : 'graphics'
}
