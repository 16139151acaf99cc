/**
 * Which cards the engines of llama.cpp are given, how much memory each model needs there, and how much there is.
 *
 * Decided anew whenever an engine is loaded: by then the owner may need another card. A machine with one card
 * leaves everything to the engine itself. The choice reaches an engine by its environment: CUDA counts cards in
 * the order of their addresses and takes ids, Vulkan takes numbers. Tested by test/node/places.ts.
 */
import type { LlamaCppConfig } from '../config/services.ts'
import type { CardFacts } from '../gpu/facts.ts'
import { type Card, type Placement, place, type Wish } from '../gpu/placement.ts'
import type { GpuSample, GpuVendor } from '../gpu/sample.ts'
import { reasonsAgainst, type Verdict } from '../gpu/verdict.ts'
import type { EngineKind } from '../inference/llamacpp/install.ts'
import type { Need } from '../inference/residency.ts'

/** An engine that wants a place. */
export interface Lodger {
  readonly key: string
  readonly backend: Pick<LlamaCppConfig, 'gpu' | 'gpus' | 'vramMax'>
  readonly priority: number
  /** With a usual context; 0: not known. */
  readonly bytes: number
}

export interface PlacesDeps {
  /** What is known of the cards now; undefined: nothing yet. */
  readonly cards: () => readonly CardFacts[] | undefined
  /** Kinds of the engine that runs here. */
  readonly kinds: readonly EngineKind[]
  /** What the owner set for all programs: `CUDA_VISIBLE_DEVICES`. */
  readonly visible: string | undefined
  /** Bytes of the machine's own memory that models may take. */
  readonly memory: number
}

/** Without a card: the machine's own memory. */
export const MACHINE = 'machine'
/** Of a card, or of a memory that the cards share with the machine. */
const SHARE = 0.9
const SHARED_SHARE = 0.6

const VENDORS: Readonly<Record<EngineKind, readonly GpuVendor[]>> = {
  cuda: ['nvidia'],
  vulkan: ['nvidia', 'amd', 'intel'],
  metal: ['apple'],
  cpu: [],
}

export class Places {
  readonly #deps: PlacesDeps
  readonly #lodgers: readonly Lodger[]
  readonly #memoryMax: number | undefined
  #placement: Placement = new Map()
  /** No card was seen when places were given: a driver may have been late. */
  #isBlind = false

  constructor(deps: PlacesDeps, lodgers: readonly Lodger[], memoryMax: number | undefined) {
    this.#deps = deps
    this.#lodgers = lodgers
    this.#memoryMax = memoryMax
  }

  /** Gives everybody a place. @param verdict of the owner; cards that he needs are passed over */
  settle(verdict: Verdict | undefined): void {
    const found = new Map<string, readonly string[]>()
    for (const vendors of new Set(this.#lodgers.map((one) => this.#vendorsOf(one).join())))
      for (const [key, ids] of this.#placed(vendors, verdict)) found.set(key, ids)
    this.#placement = found
    this.#isBlind = (this.#deps.cards()?.length ?? 0) === 0
  }

  /** Ids of the cards; none: it computes on the processor. */
  cardsOf(key: string): readonly string[] {
    if (this.#isBlind && (this.#deps.cards()?.length ?? 0) > 0) this.settle(undefined)
    return this.#placement.get(key) ?? []
  }

  /** Gives one lodger other cards, if there are some that may be used and have room. @returns whether */
  move(key: string, verdict: Verdict): boolean {
    const before = this.cardsOf(key)
    const lodger = this.#lodgers.find((one) => one.key === key)
    if (lodger === undefined || lodger.backend.gpus !== 'auto') return false
    const taken = (id: string) =>
      this.#lodgers
        .filter((one) => one.key !== key && this.cardsOf(one.key).includes(id))
        .reduce((sum, one) => sum + one.bytes, 0)
    const free = this.#cardsFor(lodger, verdict).filter(({ id, isTaken, room = 0 }) => {
      return !isTaken && !before.includes(id) && room - taken(id) >= lodger.bytes
    })
    const [next] = free
    if (next === undefined || reasonsAgainst(verdict, [next.id]).length > 0) return false
    this.#placement = new Map([...this.#placement, [key, [next.id]]])
    return true
  }

  needOf(key: string): Need {
    const { bytes = 0, priority = 0 } = this.#lodgers.find((one) => one.key === key) ?? {}
    const cards = this.cardsOf(key)
    const places = cards.length === 0 ? [MACHINE] : cards
    return {
      shares: places.map((id) => ({ place: id, bytes: bytes / places.length })),
      priority,
    }
  }

  budgetOf(id: string): number {
    if (id === MACHINE) return this.#memoryMax ?? this.#deps.memory
    const facts = this.#deps.cards()?.find(({ sample }) => sample.id === id)
    return (facts === undefined ? undefined : this.#roomOf(facts)) ?? Number.POSITIVE_INFINITY
  }

  /** What of the environment tells an engine which cards are its own; empty where it has no choice. */
  environmentOf(key: string): Record<string, string> {
    const samples = this.#samples()
    const ids = this.cardsOf(key)
    if (samples.length < 2 || ids.length === 0) return {}
    const ours = samples.filter(({ id }) => ids.includes(id))
    const nvidia = ours.filter(({ vendor }) => vendor === 'nvidia').map(({ id }) => id)
    // Vulkan's loader counts cards with a memory of their own first, by their addresses.
    const inVulkan = [...samples].sort(
      (a, b) => Number(a.isShared) - Number(b.isShared) || (a.pci ?? '').localeCompare(b.pci ?? ''),
    )
    const numbers = ours.map((sample) => inVulkan.indexOf(sample)).sort((a, b) => a - b)
    return {
      CUDA_DEVICE_ORDER: 'PCI_BUS_ID',
      CUDA_VISIBLE_DEVICES: nvidia.join(','),
      GGML_VK_VISIBLE_DEVICES: numbers.join(','),
    }
  }

  /** Bytes of graphics memory that it may take; undefined: what is free. */
  vramMaxOf(key: string): number | undefined {
    const lodger = this.#lodgers.find((one) => one.key === key)
    const cards = this.cardsOf(key)
    if (lodger?.backend.vramMax !== undefined || lodger === undefined)
      return lodger?.backend.vramMax
    // A context that fits itself must leave their room to the others of its card, where all have room.
    const others = this.#lodgers.filter(
      (one) => one.key !== key && this.cardsOf(one.key).some((id) => cards.includes(id)),
    )
    const room = cards.reduce((sum, id) => sum + this.budgetOf(id), 0)
    const left = room - others.reduce((sum, { bytes }) => sum + bytes, 0)
    const isShared = others.length > 0 && left >= lodger.bytes
    if (isShared && Number.isFinite(left)) return Math.floor(left)
    return cards.length > 0 && this.#memoryMax !== undefined ? Math.floor(room) : undefined
  }

  #placed(vendors: string, verdict: Verdict | undefined): Placement {
    const wanting = this.#lodgers.filter((one) => this.#vendorsOf(one).join() === vendors)
    const [first] = wanting
    if (first === undefined) return new Map()
    const wishes = wanting.map(({ key, bytes, priority, backend }): Wish => {
      const { gpus } = backend
      return { key, bytes, priority, ...(gpus === 'auto' ? {} : { cards: gpus }) }
    })
    return place(wishes, this.#cardsFor(first, verdict))
  }

  #cardsFor(lodger: Lodger, verdict: Verdict | undefined): Card[] {
    const vendors = this.#vendorsOf(lodger)
    return (this.#deps.cards() ?? [])
      .filter(({ sample }) => vendors.includes(sample.vendor) && this.#isVisible(sample))
      .map((facts): Card => {
        const { id, vendor } = facts.sample
        const room = this.#roomOf(facts)
        const isTaken = verdict?.gpus.has(id) === true
        return { id, vendor, isTaken, ...(room === undefined ? {} : { room }) }
      })
  }

  #vendorsOf({ backend: { gpu } }: Lodger): readonly GpuVendor[] {
    if (gpu === 'off') return []
    const kinds =
      gpu === 'auto' ? this.#deps.kinds : this.#deps.kinds.filter((kind) => kind === gpu)
    return [...new Set(kinds.flatMap((kind) => VENDORS[kind]))]
  }

  /** The owner may keep cards from all programs. */
  #isVisible({ id, vendor, index }: GpuSample): boolean {
    const { visible } = this.#deps
    if (vendor !== 'nvidia' || visible === undefined) return true
    const names = visible.split(',').map((name) => name.trim())
    return names.some((name) => name === String(index) || (name !== '' && id.startsWith(name)))
  }

  #roomOf({ sample, foreign }: CardFacts): number | undefined {
    if (this.#memoryMax !== undefined) return this.#memoryMax
    const { memoryTotal, isShared } = sample
    if (memoryTotal === undefined) return isShared ? this.#deps.memory : undefined
    if (isShared) return memoryTotal * SHARED_SHARE
    return Math.max(0, memoryTotal * SHARE - (foreign.memory ?? 0))
  }

  #samples(): readonly GpuSample[] {
    return (this.#deps.cards() ?? []).map(({ sample }) => sample)
  }
}
