/**
 * Gives the machine to its owner when he comes, and takes it back when he has gone: verdicts of the idle
 * policy become pauses of services.
 *
 * A service that has to yield takes nothing new at once, lets running answers end within the grace or breaks
 * them off, and then ends its engine, which gives the memory back for certain. Sessions that it served are
 * claimed all the same. Each service is led by itself, so that one card yields while another serves; whatever
 * is wanted last is done last. Tested by test/node/steward.ts.
 */
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { OVER } from '../base/retry.ts'
import { type Ms, ms } from '../base/units.ts'
import { type Reason, reasonsAgainst, type Verdict } from '../gpu/verdict.ts'
import type { Inference } from '../inference/inference.ts'

export interface Tenant {
  /** Services of one engine. */
  readonly services: readonly string[]
  /** The cards it uses now, by id; none: only the machine. */
  cards(): readonly string[]
  /** Called when it has yielded: goes to other cards that may be used, if there are. @returns whether it went */
  move?(verdict: Verdict): boolean
}

export interface StewardDeps {
  readonly clock: Clock
  readonly log: Log
  readonly inference: Pick<Inference, 'pause' | 'unload' | 'resume'>
  readonly tenants: readonly Tenant[]
}

export interface StewardOptions {
  /** How long running answers may go on. */
  readonly grace: Ms
}

/** How it stands with one engine, for the owner. */
export interface TenantReport {
  readonly services: readonly string[]
  readonly state: 'serves' | 'yields' | 'has yielded'
  /** Why it does not serve; none: it does. */
  readonly reasons: readonly Reason[]
}

interface Held {
  readonly tenant: Tenant
  verdict: Verdict | undefined
  reasons: readonly Reason[]
  state: TenantReport['state']
  /** When it was first told to yield; absent: it is not to. */
  toldAt: Ms | undefined
  working: Promise<void> | undefined
}

/** An engine that answers an abort does so within this. */
const CUT_WAIT = ms(1_000)

/** Of so many yields the times are kept. */
const TIMES_MAX = 200

export class Steward {
  readonly #deps: StewardDeps
  readonly #options: StewardOptions
  readonly #held: readonly Held[]
  /** From the verdict until the memory was free, in order. */
  readonly #times: Ms[] = []

  constructor(deps: StewardDeps, options: StewardOptions) {
    this.#deps = deps
    this.#options = options
    this.#held = deps.tenants.map((tenant) => ({
      ...{ tenant, verdict: undefined, reasons: [], state: 'serves' as const },
      ...{ toldAt: undefined, working: undefined },
    }))
  }

  /** Milliseconds from a verdict until the engine was gone; undefined before the first yield. */
  get yieldTimes(): { readonly count: number; readonly p50: Ms; readonly p99: Ms } | undefined {
    const sorted = [...this.#times].sort((a, b) => a - b)
    const at = (part: number) => sorted[Math.ceil(part * sorted.length) - 1] ?? ms(0)
    if (sorted.length === 0) return undefined
    return { count: sorted.length, p50: at(0.5), p99: at(0.99) }
  }

  reports(): TenantReport[] {
    return this.#held.map(({ tenant, reasons, state }) => ({
      services: tenant.services,
      state,
      reasons,
    }))
  }

  /** Does what verdicts say, until there are no more. */
  async follow(verdicts: AsyncIterable<Verdict>): Promise<void> {
    for await (const verdict of verdicts) this.take(verdict)
  }

  /** Begins at once what the verdict asks for; the work goes on alone. */
  take(verdict: Verdict): void {
    for (const held of this.#held) {
      held.verdict = verdict
      this.#weigh(held)
      this.#work(held)
    }
  }

  /** Resolves when everything is as it was last wanted. */
  async settled(): Promise<void> {
    while (this.#held.some(({ working }) => working !== undefined))
      await Promise.all(this.#held.map(({ working }) => working))
  }

  #weigh(held: Held): void {
    const { verdict, tenant } = held
    held.reasons = verdict === undefined ? [] : reasonsAgainst(verdict, tenant.cards())
    if (held.reasons.length === 0) held.toldAt = undefined
    else held.toldAt ??= this.#deps.clock.monotonic()
  }

  #work(held: Held): void {
    held.working ??= this.#lead(held).then(
      () => {
        held.working = undefined
        // A verdict may have come between the last look at it and now.
        if ((held.toldAt !== undefined) !== (held.state === 'has yielded')) this.#work(held)
      },
      (err: unknown) => {
        held.working = undefined
        this.#deps.log.error({ err, services: held.tenant.services }, 'an engine is not led')
      },
    )
  }

  /** Until the engine is as it is wanted, which may change meanwhile. */
  async #lead(held: Held): Promise<void> {
    const { inference } = this.#deps
    const { services } = held.tenant
    for (;;) {
      const hasYielded = held.state === 'has yielded'
      const { verdict } = held
      if (hasYielded && held.toldAt !== undefined && verdict !== undefined)
        if (held.tenant.move?.(verdict) === true) this.#weigh(held)
      if ((held.toldAt !== undefined) === hasYielded) return
      if (held.toldAt !== undefined) await this.#yield(held)
      else {
        inference.resume(services)
        held.state = 'serves'
        this.#deps.log.info({ services }, 'serves again')
      }
    }
  }

  async #yield(held: Held): Promise<void> {
    const { clock, log, inference } = this.#deps
    const { services } = held.tenant
    const begun = held.toldAt ?? clock.monotonic()
    const names = held.reasons.map(({ name }) => name)
    held.state = 'yields'
    log.info({ services, reasons: names }, 'makes room for the owner')
    const over = new AbortController()
    const late = clock.sleep(this.#options.grace, over.signal).catch(() => {})
    await Promise.race([inference.pause({ cancel: false }, services), late])
    over.abort(OVER)
    const cut = new AbortController()
    const cutLate = clock.sleep(CUT_WAIT, cut.signal).catch(() => {})
    // An engine that does not notice an abort notices that it is ended.
    await Promise.race([inference.pause({ cancel: true }, services), cutLate])
    cut.abort(OVER)
    try {
      await inference.unload(services)
    } catch (error) {
      log.warn({ err: error, services }, 'an engine did not end as it should')
    }
    held.state = 'has yielded'
    const tookMs = ms(clock.monotonic() - begun)
    this.#times.push(tookMs)
    if (this.#times.length > TIMES_MAX) this.#times.shift()
    log.info({ services, tookMs: Math.round(tookMs) }, 'the owner has the machine')
  }
}
