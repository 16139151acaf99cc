/**
 * NVIDIA's cards, by asking `nvidia-smi` as seldom as can be.
 *
 * A quiet card costs one process: who uses it is asked again only when it works or its memory has changed, or
 * after a minute. Fields that an older driver refuses are left out from then on. To ask wakes a card of a laptop
 * that sleeps, so Linux is asked first which of them do, and those are not touched. Tested by
 * test/gpu/nvidia-probe.ts.
 */
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { asleep } from './amd.ts'
import { list, read, sleeps } from './drm.ts'
import { pciIn } from './numbers.ts'
import {
  failureText,
  NVIDIA_FIELDS,
  type NvidiaCard,
  type NvidiaProcess,
  type NvidiaSlice,
  parseApps,
  parseCards,
  parsePmon,
  parseSlices,
  queryArgs,
  refusedField,
  withSlices,
} from './nvidia.ts'
import type { Runner, RunResult } from './run.ts'
import type { GpuProcess, GpuSample, GpuSamples } from './sample.ts'

const PROGRAM = 'nvidia-smi'
const APPS = [
  '--query-compute-apps=gpu_uuid,pid,used_memory,process_name',
  '--format=csv,noheader,nounits',
]
const PMON = ['pmon', '-c', '1', '-s', 'um']
/** A driver that does not work is asked again after this: each try may take seconds. */
const FAILED_MS = 15_000
const FAILED_MAX = 5 * 60_000
/** Who uses a card is asked again after this even if nothing seems to have changed. */
const PROCESSES_MS = 60_000
const SLICES_MS = 60_000
/** `pmon` does not work with every card and system, and does not learn. */
const PMON_AGAIN_MS = 5 * 60_000
/** Less than any program takes that begins to compute. */
const SAME_BYTES = 16 * 1024 * 1024

export interface NvidiaDeps {
  readonly run: Runner
  readonly clock: Clock
  readonly sys: string
  readonly proc: string
  /** Cards can be asleep, and the system tells. */
  readonly isLinux: boolean
}

type ByCard = ReadonlyMap<string, readonly GpuProcess[]>

export class NvidiaProbe {
  readonly #deps: NvidiaDeps
  #fields = NVIDIA_FIELDS
  #failed: { readonly until: number; readonly text: string } | undefined
  #lates = 0
  #pmonFrom = 0
  #appsTellMemory = true
  #slices: { readonly until: number; readonly list: readonly NvidiaSlice[] } | undefined
  #processes: { until: number; quiet: ReadonlyMap<string, number>; by: ByCard } | undefined
  /** What was seen last, by PCI address. */
  #seen = new Map<string, GpuSample>()

  constructor(deps: NvidiaDeps) {
    this.#deps = deps
  }

  /** @returns undefined: `nvidia-smi` is not installed. @throws `signal.reason` only */
  async sample(signal: AbortSignal): Promise<GpuSamples | undefined> {
    const now = this.#deps.clock.monotonic()
    if (this.#failed !== undefined && now < this.#failed.until)
      return { gpus: [], problems: [this.#failed.text] }
    this.#failed = undefined
    const bound = await this.#bound()
    const awake = bound.filter(({ isAsleep }) => !isAsleep).map(({ pci }) => pci)
    const sleeping = await Promise.all(
      bound.map(async ({ pci, isAsleep }, index) =>
        isAsleep ? await this.#asleep(pci, index) : undefined,
      ),
    ).then((samples) => samples.filter((sample) => sample !== undefined))
    if (sleeping.length > 0 && awake.length === 0) return { gpus: sleeping, problems: [] }
    const only = sleeping.length > 0 ? [`--id=${awake.join(',')}`] : []
    const result = await this.#query(only, signal)
    if (result.is === 'missing') return undefined
    const cards = result.is === 'done' ? parseCards(result.text, this.#fields) : []
    if (cards.length === 0) return { gpus: sleeping, problems: [this.#fail(result, now)] }
    this.#lates = 0
    const { gpus, problems } = await this.#whole(cards, signal)
    for (const gpu of gpus) if (gpu.pci !== undefined) this.#seen.set(gpu.pci, gpu)
    return { gpus: [...gpus, ...sleeping].sort((a, b) => a.index - b.index), problems }
  }

  /** The cards that NVIDIA's driver has, by PCI address; none where the system does not tell. */
  async #bound(): Promise<{ pci: string; isAsleep: boolean }[]> {
    if (!this.#deps.isLinux) return []
    const folder = join(this.#deps.sys, 'bus', 'pci', 'drivers', 'nvidia')
    const places = (await list(folder)).filter((name) => pciIn(name) === name).sort()
    return await Promise.all(
      places.map(async (pci) => ({ pci, isAsleep: await sleeps(join(folder, pci)) })),
    )
  }

  /** What the driver has written down of a card, which asks nothing of the card itself. */
  async #asleep(pci: string, index: number): Promise<GpuSample> {
    const seen = this.#seen.get(pci)
    const facts = join(this.#deps.proc, 'driver', 'nvidia', 'gpus', pci, 'information')
    const text = seen === undefined ? ((await read(facts)) ?? '') : ''
    const name = /^Model:\s*(.{1,200})$/m.exec(text)?.[1]?.trim()
    const id = /^GPU UUID:\s*(GPU-[0-9a-f-]{36})$/m.exec(text)?.[1]
    const sample = asleep({ pci, driver: 'nvidia' }, 'nvidia', index, seen, name ?? 'NVIDIA card')
    const { driver, ...rest } = sample
    return {
      ...rest,
      ...(seen?.driver === undefined ? {} : { driver: seen.driver }),
      id: id ?? sample.id,
    }
  }

  /** Without the fields that this version does not know. */
  async #query(only: readonly string[], signal: AbortSignal): Promise<RunResult> {
    for (;;) {
      const result = await this.#deps.run(PROGRAM, [...only, ...queryArgs(this.#fields)], signal)
      const refused = result.is === 'failed' ? refusedField(result.text) : undefined
      const fields = this.#fields.filter((field) => field !== refused)
      if (refused === undefined || fields.length === this.#fields.length) return result
      this.#fields = fields
    }
  }

  #fail(result: RunResult, now: number): string {
    const text =
      result.is === 'late'
        ? 'nvidia-smi does not answer: the NVIDIA driver hangs or is very busy. On a machine without screens switch persistence on: sudo nvidia-smi -pm 1'
        : failureText('text' in result ? result.text : '')
    this.#lates = result.is === 'late' ? this.#lates + 1 : 0
    // One that is late once may have had bad luck. A process in a driver that hangs cannot be ended: each
    // further one stays, so there are fewer and fewer.
    const wait = Math.min(FAILED_MAX, FAILED_MS * 2 ** Math.max(0, this.#lates - 2))
    if (this.#lates !== 1) this.#failed = { until: now + wait, text }
    return text
  }

  async #whole(cards: readonly NvidiaCard[], signal: AbortSignal): Promise<GpuSamples> {
    const slices = cards.some(({ isSplit }) => isSplit) ? await this.#slicesOf(signal) : []
    const unsplit = cards.filter(
      ({ id, isSplit }) => isSplit && !slices.some(({ card }) => card === id),
    )
    const gpus = withSlices(cards, slices)
    const by = await this.#processesOf(gpus, signal)
    return {
      gpus: gpus.map((gpu) => {
        const processes = by.get(gpu.id)
        return processes === undefined ? gpu : { ...gpu, processes }
      }),
      problems: unsplit.map(
        ({ index, name }) =>
          `MIG is on for card ${index} (${name}) but it has no slices: make one with nvidia-smi mig -cgi, or switch MIG off.`,
      ),
    }
  }

  async #slicesOf(signal: AbortSignal): Promise<readonly NvidiaSlice[]> {
    const now = this.#deps.clock.monotonic()
    if (this.#slices === undefined || now >= this.#slices.until) {
      const result = await this.#deps.run(PROGRAM, ['-L'], signal)
      if (result.is !== 'done') return this.#slices?.list ?? []
      this.#slices = { until: now + SLICES_MS, list: parseSlices(result.text) }
    }
    return this.#slices.list
  }

  /** By the id of a card or a slice; one that the driver tells nothing of is not in it. */
  async #processesOf(gpus: readonly GpuSample[], signal: AbortSignal): Promise<ByCard> {
    const now = this.#deps.clock.monotonic()
    const last = this.#processes
    if (last !== undefined && now < last.until && gpus.every((gpu) => isAsBefore(gpu, last.quiet)))
      return last.by
    const by = await this.#ask(gpus, signal)
    this.#processes = {
      until: now + PROCESSES_MS,
      quiet: new Map(gpus.map(({ id, memoryUsed }) => [id, memoryUsed ?? -1])),
      by: new Map([...by].map(([id, processes]) => [id, processes.map(idle)])),
    }
    return by
  }

  async #ask(gpus: readonly GpuSample[], signal: AbortSignal): Promise<ByCard> {
    const monitored = await this.#pmon(signal)
    const by = new Map<string, readonly GpuProcess[]>()
    for (const { id, index, partOf } of gpus) {
      // The numbers of cards do not tell slices apart.
      const processes = partOf === undefined ? monitored.get(index) : undefined
      if (processes !== undefined) by.set(id, processes)
    }
    const lack = [...by.values()].flat().some(({ memory }) => memory === undefined)
    if (by.size === gpus.length && !(lack && this.#appsTellMemory)) return by
    const result = await this.#deps.run(PROGRAM, APPS, signal)
    if (result.is !== 'done') return by
    const apps = parseApps(result.text)
    this.#appsTellMemory = apps.length === 0 || apps.some(({ memory }) => memory !== undefined)
    for (const gpu of gpus) {
      const of = appsOn(gpu, gpus, apps)
      const processes = of === undefined ? undefined : merged(by.get(gpu.id), of)
      if (processes !== undefined) by.set(gpu.id, processes)
    }
    return by
  }

  async #pmon(signal: AbortSignal): Promise<Map<number, GpuProcess[]>> {
    const now = this.#deps.clock.monotonic()
    if (now < this.#pmonFrom) return new Map()
    const result = await this.#deps.run(PROGRAM, PMON, signal)
    const monitored =
      result.is === 'done' ? parsePmon(result.text) : new Map<number, GpuProcess[]>()
    if (monitored.size === 0 && result.is !== 'late') this.#pmonFrom = now + PMON_AGAIN_MS
    return monitored
  }
}

function isAsBefore({ id, load, memoryUsed }: GpuSample, before: ReadonlyMap<string, number>) {
  const used = before.get(id)
  return (
    load === 0 &&
    memoryUsed !== undefined &&
    used !== undefined &&
    Math.abs(used - memoryUsed) < SAME_BYTES
  )
}

/** Of a card that does nothing. */
function idle(process: GpuProcess): GpuProcess {
  return process.load === undefined ? process : { ...process, load: 0 }
}

/** @returns undefined: it cannot be said which slice they use */
function appsOn(
  gpu: GpuSample,
  gpus: readonly GpuSample[],
  apps: readonly NvidiaProcess[],
): GpuProcess[] | undefined {
  const isOnly = gpus.filter(({ partOf }) => partOf === gpu.partOf).length === 1
  const onCard = gpu.partOf !== undefined && apps.some(({ uuid }) => uuid === gpu.partOf)
  if (onCard && !isOnly) return undefined
  return apps
    .filter(({ uuid }) => uuid === gpu.id || uuid === gpu.partOf)
    .map(({ uuid, ...process }) => process)
}

/** What `pmon` says of a process, with the memory that it does not say. */
function merged(
  monitored: readonly GpuProcess[] | undefined,
  apps: readonly GpuProcess[],
): readonly GpuProcess[] {
  if (monitored === undefined) return apps
  return monitored.map((process) => {
    const memory = process.memory ?? apps.find(({ pid }) => pid === process.pid)?.memory
    return memory === undefined ? process : { ...process, memory }
  })
}
