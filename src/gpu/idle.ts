/**
 * Watches over the machine for its owner: reads the facts, each at its own pace, and says whether the
 * machine may be used, at once and at each change.
 *
 * Before the first look has ended nothing may be used. A reading that fails leaves what was known for half
 * a minute; then it is not known, which speaks against using the machine. Tested by test/gpu/idle.ts.
 */
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { Mutex } from '../base/queue.ts'
import { type Ms, ms } from '../base/units.ts'
import type { Facts, IdleSettings } from './facts.ts'
import type { PauseState } from './pauses.ts'
import { decide, type PolicyState } from './policy.ts'
import { type FactsDeps, type IdleFacts, idleFacts, neededFacts, type Pace } from './sources.ts'
import type { Verdict } from './verdict.ts'

export interface IdleDeps extends FactsDeps {
  readonly clock: Clock
  readonly log: Log
  /** Never throws. */
  readonly pauses: { current(now: Ms): Promise<PauseState> }
}

export interface IdleOptions {
  readonly settings: IdleSettings
  readonly pace: Pace
}

/** The pause is looked for, and a rest ends, within so long. */
const TICK = ms(1_000)

export class IdleWatch {
  readonly #deps: IdleDeps
  readonly #settings: IdleSettings
  readonly #facts: IdleFacts
  readonly #needed: ReturnType<typeof neededFacts>
  readonly #waiting = new Set<() => void>()
  readonly #inOrder = new Mutex()
  #pause: PauseState = {}
  #state: PolicyState | undefined
  #verdict: Verdict
  #signal: AbortSignal | undefined

  constructor(deps: IdleDeps, options: IdleOptions) {
    this.#deps = deps
    this.#settings = options.settings
    this.#facts = idleFacts(deps, options.pace)
    this.#needed = neededFacts(this.#facts, options.settings)
    this.#verdict = {
      machine: [{ name: 'unknown', text: 'the machine has not been looked at yet' }],
      gpus: new Map(),
      since: deps.clock.now(),
    }
  }

  current(): Verdict {
    return this.#verdict
  }

  /** What is known now, whether or not it counts. */
  facts(): Facts {
    const { presence, inhibitors, battery, programs, gpus } = this.#facts
    const all = {
      pause: this.#pause.pause,
      presence: presence.known?.value,
      inhibitors: inhibitors.known?.value,
      battery: battery.known?.value,
      programs: programs.known?.value,
      gpus: gpus.known?.value.cards,
    }
    const known = Object.entries(all).filter(([, value]) => value !== undefined)
    return Object.fromEntries(known) as Facts
  }

  /** What could not be asked, and what to do about it, as sentences for the owner. */
  problems(): readonly string[] {
    const { presence, gpus } = this.#facts
    return [
      ...(this.#pause.problem === undefined ? [] : [this.#pause.problem]),
      ...(presence.known?.value.problems ?? []),
      ...(gpus.known?.value.problems ?? []),
    ]
  }

  /** The verdict as it is now, then at each change of its reasons; ends with the signal. */
  async *changes(signal: AbortSignal): AsyncGenerator<Verdict, void, undefined> {
    for (let seen: string | undefined; !signal.aborted; ) {
      const key = this.#state?.key ?? 'not looked at'
      if (key === seen) await this.#change(signal)
      else {
        seen = key
        yield this.#verdict
      }
    }
  }

  /** Works until the signal. @throws signal.reason */
  async run(signal: AbortSignal): Promise<never> {
    this.#signal = signal
    await this.look(signal)
    for (;;) {
      await this.#deps.clock.sleep(TICK, signal)
      for (const fact of this.#needed) if (fact.isDue) this.#begin(fact, signal)
      await this.poke()
    }
  }

  /** Reads everything once and decides. @throws signal.reason */
  async look(signal: AbortSignal): Promise<Verdict> {
    await Promise.all(this.#needed.map((fact) => fact.read(signal)))
    return await this.poke()
  }

  /** Looks at the pause at once, after a command has changed it, and decides with what else is known. */
  async poke(): Promise<Verdict> {
    // In order: an older answer must not take the place of a newer one.
    return await this.#inOrder.run(async () => {
      const { problem, ...read } = await this.#deps.pauses.current(this.#deps.clock.now())
      // A disk that fails for a moment does not end a pause.
      const { pause } = problem === undefined ? read : this.#pause
      this.#pause = {
        ...(pause === undefined ? {} : { pause }),
        ...(problem === undefined ? {} : { problem }),
      }
      return this.#decide()
    })
  }

  /** Without a wait: a slow reading holds up no other. */
  #begin(fact: { read(signal: AbortSignal): Promise<void> }, signal: AbortSignal): void {
    fact.read(signal).then(
      () => this.#decide(),
      () => {},
    )
  }

  #decide(): Verdict {
    if (this.#signal?.aborted || !this.#needed.every(({ isTried }) => isTried)) return this.#verdict
    const { clock } = this.#deps
    const before = this.#state?.key
    const { verdict, state } = decide({
      now: clock.now(),
      monotonic: clock.monotonic(),
      facts: this.facts(),
      settings: this.#settings,
      ...(this.#state === undefined ? {} : { state: this.#state }),
    })
    this.#verdict = verdict
    this.#state = state
    if (state.key !== before) this.#announce(verdict)
    return verdict
  }

  #announce(verdict: Verdict): void {
    // Only names: a text may hold the title of a film.
    const reason = verdict.machine.map(({ name }) => name).join(' ')
    const gpu = [...verdict.gpus]
      .map(([id, reasons]) => `${id}: ${reasons.map(({ name }) => name).join(' ')}`)
      .join(', ')
    const fields = { ...(reason === '' ? {} : { reason }), ...(gpu === '' ? {} : { gpu }) }
    const isFree = reason === '' && gpu === ''
    this.#deps.log.info(fields, isFree ? 'the machine may be used' : 'left to the owner')
    for (const wake of [...this.#waiting]) wake()
  }

  async #change(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake)
        signal.removeEventListener('abort', wake)
        resolve()
      }
      this.#waiting.add(wake)
      signal.addEventListener('abort', wake, { once: true })
      if (signal.aborted) wake()
    })
  }
}
