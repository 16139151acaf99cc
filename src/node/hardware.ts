/**
 * This machine as `fit` and `speed` take it: what the probe of the cards and the inventory say, less what an
 * engine cannot use.
 *
 * Graphics that are a part of the processor are slower than the processor beside them unless they are known to
 * be fast, so that unknown ones are left out. Tested by test/node/hardware.ts.
 */
import type { Clock } from '../base/clock.ts'
import { type Machine as Inventory, type MachineTools, readMachine } from '../gpu/machine.ts'
import { GpuProbe } from '../gpu/probe.ts'
import { systemRunner } from '../gpu/run.ts'
import type { GpuSample, GpuSamples } from '../gpu/sample.ts'
import type { Card, Machine } from '../models/fit-place.ts'
import type { MemoryFacts } from '../models/speed.ts'
import { cardFacts } from '../models/speed-cards.ts'

export interface Hardware {
  readonly machine: Machine
  readonly memory: MemoryFacts
  /** In words. */
  readonly cpu: string
  /** Bytes. */
  readonly memoryTotal: number
  /** What could not be asked, and cards that are left out, as sentences for the owner. */
  readonly problems: readonly string[]
}

export type LookAtCards = (signal: AbortSignal) => Promise<GpuSamples>

/** The cards of this machine. @param environment that the drivers' programs see */
export function systemCards(
  clock: Clock,
  environment: Readonly<Record<string, string>>,
): LookAtCards {
  const run = systemRunner({ clock, environment })
  const probe = new GpuProbe({ run, clock, platform: process.platform })
  return (signal) => probe.sample(signal)
}

export interface HardwareDeps {
  readonly clock: Clock
  readonly cards: LookAtCards
  readonly tools?: MachineTools
}

/** @throws `signal.reason` only */
export async function readHardware(
  { clock, cards, tools }: HardwareDeps,
  signal: AbortSignal,
): Promise<Hardware> {
  const machineDeps = { clock, ...(tools === undefined ? {} : { tools }) }
  const [inventory, samples] = await Promise.all([
    readMachine(machineDeps, '/', signal),
    cards(signal),
  ])
  return hardwareOf(inventory, samples)
}

/** Of memory that a Mac shares with its graphics: so much of it may be theirs, by Metal's own rule. */
const METAL_SHARE = { small: 2 / 3, large: 3 / 4, from: 36 * 1024 ** 3 }

export function hardwareOf(inventory: Inventory, { gpus, problems }: GpuSamples): Hardware {
  const { memoryFree, memoryTotal, cpu, physicalCores, threads } = inventory
  const split = new Set(gpus.map(({ partOf }) => partOf))
  const cards: Card[] = []
  const told = [...problems]
  for (const gpu of gpus) {
    // Its parts are used, and not the whole.
    if (split.has(gpu.id)) continue
    const card = gpu.isShared ? sharedCard(gpu, inventory) : ownCard(gpu)
    if (card !== undefined) cards.push(card)
    else
      told.push(
        gpu.isShared
          ? `${gpu.name} is a part of the processor and is left out: the processor itself is as fast.`
          : `${gpu.name} does not say how much memory it has and is left out.`,
      )
  }
  return {
    machine: { gpus: cards, memoryFree },
    // An engine leaves one core to the rest of the machine.
    memory: { cores: Math.max(1, Math.min(physicalCores, threads) - 1) },
    cpu,
    memoryTotal,
    problems: told,
  }
}

function ownCard({
  id,
  name,
  memoryTotal,
  memoryUsed = 0,
  hasDisplay,
}: GpuSample): Card | undefined {
  if (memoryTotal === undefined) return undefined
  return {
    id,
    name,
    total: memoryTotal,
    free: Math.max(0, memoryTotal - memoryUsed),
    isShared: false,
    ...(hasDisplay === undefined ? {} : { hasDisplay }),
  }
}

function sharedCard(gpu: GpuSample, { memoryFree, memoryTotal }: Inventory): Card | undefined {
  if (cardFacts(gpu.name) === undefined) return undefined
  const whole = gpu.memoryTotal ?? memoryTotal
  const share = whole > METAL_SHARE.from ? METAL_SHARE.large : METAL_SHARE.small
  const total = Math.floor(whole * share)
  return {
    id: gpu.id,
    name: gpu.name,
    total,
    free: Math.min(total, memoryFree),
    isShared: true,
    // What it draws is in the machine's own memory already.
    hasDisplay: false,
  }
}
