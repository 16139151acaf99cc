/**
 * Books what the cards drew to the services that they worked for.
 *
 * Only of cards that are ours at the moment: what the owner's own games draw is no price of serving. A card's
 * joules of a minute are shared between the services on it as they read and wrote tokens in it; when none
 * answered they stand under nobody's name, so that they are not hidden. An answer counts when it ends: while
 * one still runs the joules wait for it, some minutes at most.
 * Nothing here touches a relay: it reads counts, and a minute that the disk does not take is lost. Tested by
 * test/node/energy.ts.
 */
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { type Ms, ms } from '../base/units.ts'
import { EnergyMeter } from '../gpu/energy.ts'
import type { GpuSample } from '../gpu/sample.ts'
import { type EnergyReport, energyReport } from '../ops/report.ts'
import {
  addEnergy,
  type EnergyFigures,
  type EnergyStore,
  NO_ENERGY,
  NOBODY,
} from '../store/energy.ts'

/** Since the start. */
export interface ServiceCount {
  readonly answered: number
  readonly promptTokens: number
  readonly completionTokens: number
}

export interface EnergyBookDeps {
  readonly clock: Clock
  readonly log: Log
  readonly store: Pick<EnergyStore, 'add' | 'totals'>
  readonly stats: () => Readonly<Record<string, ServiceCount>>
  /** By service: ids of the cards that it has now; a card that its owner has taken is not one of them. */
  readonly shares: () => ReadonlyMap<string, readonly string[]>
  /** Services with answers under way; absent: not known. */
  readonly busy?: () => ReadonlySet<string>
}

/** What a card drew since it was shared out. */
interface Drawn {
  joules: number
  seconds: number
  readonly services: Set<string>
  minutes: number
}

const EVERY = ms(60_000)
/** Longer than an answer takes. */
const WAIT_MINUTES = 10
/** Watts that were told longer ago are not those of now. */
const NOW_MAX = 30_000
const NOTHING: ServiceCount = { answered: 0, promptTokens: 0, completionTokens: 0 }

export class EnergyBook {
  readonly #deps: EnergyBookDeps
  readonly #log: Log
  readonly #meter = new EnergyMeter()
  /** By card, as the meter told it last; the meter has a limit. */
  readonly #seen = new Map<string, { readonly joules: number; readonly seconds: number }>()
  readonly #drawn = new Map<string, Drawn>()
  readonly #counts = new Map<string, ServiceCount>()
  #now: { readonly at: Ms; readonly watts: number } | undefined
  #isLosing = false

  constructor(deps: EnergyBookDeps) {
    this.#deps = deps
    this.#log = deps.log.child({ component: 'energy' })
  }

  /** What the cards that serve draw now; undefined: not known. */
  get watts(): number | undefined {
    if (this.#now === undefined) return undefined
    return this.#deps.clock.monotonic() - this.#now.at > NOW_MAX ? undefined : this.#now.watts
  }

  /** @param at of `clock.monotonic()` @param samples of one look at all cards */
  sample(at: Ms, samples: readonly GpuSample[]): void {
    this.#meter.add(at, samples)
    const servicesOn = byCard(this.#deps.shares())
    let watts: number | undefined
    for (const { id, power, isAsleep } of samples) {
      const energy = this.#meter.of(id)
      if (energy === undefined) continue
      const before = this.#seen.get(id) ?? { joules: 0, seconds: 0 }
      this.#seen.set(id, energy)
      const services = servicesOn.get(id)
      if (services === undefined) continue
      const told = power ?? (isAsleep ? 0 : undefined)
      if (told !== undefined) watts = (watts ?? 0) + told
      const drawn = this.#drawn.get(id) ?? {
        joules: 0,
        seconds: 0,
        services: new Set(),
        minutes: 0,
      }
      drawn.joules += energy.joules - before.joules
      drawn.seconds += energy.seconds - before.seconds
      for (const service of services) drawn.services.add(service)
      this.#drawn.set(id, drawn)
    }
    this.#now = watts === undefined ? undefined : { at, watts }
  }

  /** Books every minute until the signal, and what is left then. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const busy = () => this.#deps.busy?.() ?? new Set<string>()
    while (!signal.aborted) {
      await this.#deps.clock.sleep(EVERY, signal).catch(() => {})
      await this.#book(signal.aborted ? new Set() : busy())
    }
  }

  /** Books what is left; for the end, when the last relays have been answered. Never throws. */
  async close(): Promise<void> {
    await this.#book(new Set())
  }

  /** @param powerPrice of a kWh. @returns undefined: there is nothing to tell. @throws StoreError */
  async report(powerPrice?: number): Promise<EnergyReport | undefined> {
    return energyReport(await this.#deps.store.totals(), { watts: this.watts, powerPrice })
  }

  async #book(busy: ReadonlySet<string>): Promise<void> {
    try {
      const due = this.#due(busy)
      if (due.size > 0) await this.#deps.store.add(this.#deps.clock.now(), due)
      this.#isLosing = false
    } catch (err) {
      // Once: a disk that is full would say it every minute.
      if (!this.#isLosing) this.#log.warn({ err }, 'figures of energy were not booked')
      this.#isLosing = true
    }
  }

  #due(busy: ReadonlySet<string>): Map<string, EnergyFigures> {
    const due = new Map<string, EnergyFigures>()
    const note = (service: string, more: Partial<EnergyFigures>) =>
      due.set(service, addEnergy(due.get(service) ?? NO_ENERGY, { ...NO_ENERGY, ...more }))
    const news = this.#news()
    for (const [service, { answered, promptTokens, completionTokens }] of news)
      note(service, { relays: answered, promptTokens, completionTokens })
    for (const [id, drawn] of this.#drawn) {
      const parts = partsOf(drawn.services, news)
      const isWorking = [...drawn.services].some((service) => busy.has(service))
      if (parts.size === 0 && isWorking && ++drawn.minutes < WAIT_MINUTES) continue
      this.#drawn.delete(id)
      const { joules, seconds } = drawn
      if (seconds === 0) continue
      const above = this.#above(id, drawn)
      for (const [service, part] of parts.size > 0 ? parts : new Map([[NOBODY, 1]]))
        note(service, { joules: joules * part, joulesAbove: above * part, seconds: seconds * part })
    }
    return due
  }

  /** What is known of a card at rest grows: never less than nothing, never more than all. */
  #above(id: string, { joules, seconds }: Drawn): number {
    const { idleWatts } = this.#meter.of(id) ?? {}
    if (idleWatts === undefined) return 0
    return Math.min(joules, Math.max(0, joules - idleWatts * seconds))
  }

  /** Since the last time, of services that did something. */
  #news(): Map<string, ServiceCount> {
    const news = new Map<string, ServiceCount>()
    for (const [service, count] of Object.entries(this.#deps.stats())) {
      const before = this.#counts.get(service) ?? NOTHING
      this.#counts.set(service, count)
      const answered = Math.max(0, count.answered - before.answered)
      const promptTokens = Math.max(0, count.promptTokens - before.promptTokens)
      const completionTokens = Math.max(0, count.completionTokens - before.completionTokens)
      if (answered + promptTokens + completionTokens > 0)
        news.set(service, { answered, promptTokens, completionTokens })
    }
    return news
  }
}

/** The part of each service that answered, together 1; empty when none did. */
function partsOf(
  services: ReadonlySet<string>,
  news: ReadonlyMap<string, ServiceCount>,
): Map<string, number> {
  const counts = [...services].map((service) => [service, news.get(service) ?? NOTHING] as const)
  const tokens = counts.map(([service, count]) => [service, tokensOf(count)] as const)
  const answers = counts.map(([service, { answered }]) => [service, answered] as const)
  const sumOf = (weights: typeof answers) => weights.reduce((sum, [, weight]) => sum + weight, 0)
  // There are engines that count no tokens.
  const weights = sumOf(tokens) > 0 ? tokens : answers
  const sum = sumOf(weights)
  return new Map(
    weights.filter(([, weight]) => weight > 0).map(([id, weight]) => [id, weight / sum]),
  )
}

function tokensOf({ promptTokens, completionTokens }: ServiceCount): number {
  return promptTokens + completionTokens
}

function byCard(shares: ReadonlyMap<string, readonly string[]>): Map<string, string[]> {
  const services = new Map<string, string[]>()
  for (const [service, cards] of shares)
    for (const card of cards) services.set(card, [...(services.get(card) ?? []), service])
  return services
}
