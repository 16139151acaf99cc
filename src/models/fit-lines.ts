/** The arithmetic of a plan, written for the owner of the machine: one sum a line. Tested by test/models/fit.ts. */
import { type ContextSize, type Demand, kvBytesPerToken, paddedContext } from './fit-demand.ts'
import {
  CARD_OVERHEAD,
  ENGINE_BYTES,
  type Machine,
  type Placement,
  usable,
  usableMemory,
} from './fit-place.ts'
import type { KvType } from './gguf-types.ts'
import type { ModelShape } from './shape.ts'

export interface Account {
  readonly shape: ModelShape
  readonly machine: Machine
  readonly size: ContextSize
  readonly placement: Placement
  readonly demand: Demand
  readonly reserve: number | undefined
  readonly kvType: KvType
}

const KIB = 1024
const MIB = 1024 ** 2
const GIB = 1024 ** 3

export function planLines(account: Account): string[] {
  const { machine, placement, reserve } = account
  const cards = machine.gpus.filter(({ id }) => placement.needs.gpus.has(id))
  const onCards = cards.map((card) => {
    const bytes = placement.needs.gpus.get(card.id) ?? 0
    const layers = placement.layersByGpu.get(card.id) ?? 0
    const own = card.isShared ? '' : `, with ${text(CARD_OVERHEAD)} of its driver`
    return `${card.name}: ${text(bytes)} for ${layers} layers${own}, of ${text(usable(card, reserve))} that may be used (${text(card.free)} free)`
  })
  const { memory } = placement.needs
  const layers = placement.cpuLayers > 0 ? ` for ${placement.cpuLayers} layers` : ''
  return [
    ...sums(account),
    ...onCards,
    `memory: ${text(memory)}${layers}, with ${text(ENGINE_BYTES)} of the engine itself, of ${text(usableMemory(machine))} that may be used (${text(machine.memoryFree)} free)`,
    ...trainedLine(account),
  ]
}

export function failureLines(account: Account): string[] {
  const { machine, placement, reserve, demand } = account
  const cards = machine.gpus.reduce(
    (all, card) => all + (card.isShared ? 0 : usable(card, reserve)),
    0,
  )
  const memory = usableMemory(machine)
  const context = placement.needs.memory - demand.weights
  // A card has scratch memory of its own, and its driver takes some.
  const room = memory - context + Math.max(0, cards - demand.compute - CARD_OVERHEAD)
  const help = [
    room > 0 ? `a variant whose weights take at most ${text(room)}` : 'a much smaller model',
    'programs closed that use memory',
    ...(account.kvType === 'f16' && demand.kv > 0.2 * demand.total
      ? ['keys and values as q8_0']
      : []),
    ...(account.size.contextSize * account.size.slots > 512 ? ['a smaller context'] : []),
  ]
  return [
    ...sums(account),
    `it does not fit: ${text(placement.needs.memory)} are needed without a card, ${text(memory)} of memory and ${text(cards)} of cards may be used`,
    `what helps: ${help.join('; ')}`,
  ]
}

function sums(account: Account): string[] {
  const { shape, demand, size, kvType } = account
  const { contextSize, slots } = size
  const each = kvBytesPerToken(shape, kvType)
  const cells = paddedContext(contextSize)
  const windows = shape.layers.filter(({ isWindowed }) => isWindowed).length
  const rest = demand.kv - each * cells * slots
  const seen =
    windows > 0
      ? ` + ${text(rest)} of ${windows} layers that see ${shape.slidingWindow} tokens`
      : rest > 0
        ? ` + ${text(rest)} of padding`
        : ''
  return [
    `weights: ${text(demand.weights)} (${shape.quantisation}, ${shape.layers.length} layers)`,
    `keys and values: ${text(demand.kv)} = ${slots} slots x ${cells} tokens x ${text(each)} (${kvType})${seen}`,
    ...(demand.recurrent > 0
      ? [`states: ${text(demand.recurrent)} = ${slots} slots x ${text(demand.recurrent / slots)}`]
      : []),
    `scratch memory of a step: ${text(demand.compute)}, and ${text(demand.output)} for what it answers`,
    `together: ${text(demand.total)}`,
  ]
}

function trainedLine({ shape, size }: Account): string[] {
  if (size.contextSize <= shape.contextTrained) return []
  return [
    `note: it was trained for ${shape.contextTrained} tokens, beyond them its answers get worse`,
  ]
}

/** Such as `4.21 GiB`, `312 MiB` or `128 KiB`. */
export function text(bytes: number): string {
  if (bytes >= GIB) return `${(bytes / GIB).toFixed(2)} GiB`
  if (bytes >= MIB) return `${(bytes / MIB).toFixed(0)} MiB`
  return `${(bytes / KIB).toFixed(0)} KiB`
}
