/**
 * Where the facts of the idle policy come from on this machine, and how often each is asked: what starts
 * a program is asked more seldom than what reads a file. Tested by test/gpu/idle.ts.
 */
import type { Clock } from '../base/clock.ts'
import { type Ms, ms } from '../base/units.ts'
import { type PowerSource, readBattery } from './battery.ts'
import { Fact, type FactOptions } from './fact.ts'
import { type CardFacts, type FactName, factsNeeded, type IdleSettings } from './facts.ts'
import { type Inhibitor, readInhibitors } from './inhibitors.ts'
import { type Presence, type PresenceReader, presenceReader } from './presence.ts'
import { readPrograms } from './programs.ts'
import type { Run } from './run.ts'
import type { ForeignUse, GpuSample, GpuSamples } from './sample.ts'

/** One reading each; undefined, or a throw: it cannot be told now. */
export interface IdleSources {
  readonly presence: PresenceReader
  readonly inhibitors: (
    session: Presence['session'],
    signal: AbortSignal,
  ) => Promise<readonly Inhibitor[] | undefined>
  readonly battery: (signal: AbortSignal) => Promise<PowerSource | undefined>
  /** Of the owner's list. */
  readonly programs: (signal: AbortSignal) => Promise<readonly string[] | undefined>
  readonly gpus: (signal: AbortSignal) => Promise<GpuSamples | undefined>
}

export function machineSources(
  deps: {
    clock: Clock
    run: Run
    platform: string
    root?: string
    gpus: IdleSources['gpus']
  },
  settings: IdleSettings,
): IdleSources {
  const { run, platform } = deps
  return {
    presence: presenceReader(deps),
    inhibitors: (session, signal) => readInhibitors(run, platform, session, signal),
    battery: (signal) => readBattery(deps, signal),
    programs: (signal) => readPrograms(deps, settings.programs, signal),
    gpus: deps.gpus,
  }
}

export interface Pace {
  readonly every: Readonly<Record<FactName, Ms>>
  readonly deadline: Ms
  /** So long a fact is believed when it cannot be read again. */
  readonly keep: Ms
}

/** @param platform PowerShell takes a second of a processor each time */
export function paceOn(platform: string): Pace {
  const isWindows = platform === 'win32'
  const [usual, slow] = [ms(5_000), ms(isWindows ? 12_000 : 5_000)]
  const every = {
    presence: slow,
    battery: slow,
    inhibitors: usual,
    programs: usual,
    gpus: usual,
  }
  return { every, deadline: ms(isWindows ? 10_000 : 4_000), keep: ms(30_000) }
}

export interface IdleFacts {
  readonly presence: Fact<Presence>
  readonly inhibitors: Fact<readonly Inhibitor[]>
  readonly battery: Fact<PowerSource>
  readonly programs: Fact<readonly string[]>
  readonly gpus: Fact<CardsLook>
}

export interface CardsLook {
  readonly cards: readonly CardFacts[]
  readonly problems: readonly string[]
}

const CARDS_MAX = 64

export interface FactsDeps {
  readonly clock: Clock
  readonly sources: IdleSources
  /** Others' part of a card. @param own processes of our engines */
  readonly foreign: (sample: GpuSample, own: ReadonlySet<number>) => ForeignUse
  readonly own: () => ReadonlySet<number>
}

export function idleFacts({ clock, sources, foreign, own }: FactsDeps, pace: Pace): IdleFacts {
  const fact = <T>(name: FactName, read: (signal: AbortSignal) => Promise<T | undefined>) => {
    const { deadline, keep } = pace
    const options: FactOptions = { every: pace.every[name], deadline, keep }
    return new Fact<T>(name, { clock, read }, options)
  }
  const presence = fact('presence', sources.presence)
  const session = () => presence.known?.value.session ?? 'unknown'
  const seen = new Map<string, CardFacts>()
  const look = async (signal: AbortSignal): Promise<CardsLook | undefined> => {
    const at = clock.monotonic()
    const samples = await sources.gpus(signal)
    if (samples === undefined) return undefined
    const ours = own()
    const told = samples.gpus.map((sample) => ({ sample, foreign: foreign(sample, ours), at }))
    // A driver that does not answer has not taken its cards along.
    const ids = new Set(samples.gpus.map(({ id }) => id))
    const silent =
      samples.problems.length === 0
        ? []
        : [...seen.values()].filter(({ sample }) => !ids.has(sample.id))
    seen.clear()
    const cards = [...told, ...silent].slice(0, CARDS_MAX)
    for (const card of cards) seen.set(card.sample.id, card)
    const shown = cards.map((card) =>
      at - card.at > pace.keep ? { ...card, isSilent: true } : card,
    )
    return { cards: shown, problems: samples.problems }
  }
  return {
    presence,
    inhibitors: fact('inhibitors', (signal) => sources.inhibitors(session(), signal)),
    battery: fact('battery', sources.battery),
    programs: fact('programs', sources.programs),
    gpus: fact('gpus', look),
  }
}

/** Those that a decision needs; others are never read. */
export function neededFacts(facts: IdleFacts, settings: IdleSettings): Fact<unknown>[] {
  const needed = factsNeeded(settings)
  return Object.values(facts).filter((fact: Fact<unknown>) => needed.has(fact.name as FactName))
}
