/**
 * What the idle policy knows and what its owner wants: the two things that `policy.ts` decides from.
 *
 * A fact that is absent is not known: it was never read, or too long ago. Tested by test/gpu/policy.ts.
 */
import { type Ms, ms } from '../base/units.ts'
import type { PowerSource } from './battery.ts'
import type { Inhibitor } from './inhibitors.ts'
import type { Pause } from './pauses.ts'
import type { Presence } from './presence.ts'
import type { ForeignUse, GpuSample } from './sample.ts'
import type { Schedule } from './schedule.ts'

export interface Facts {
  readonly pause?: Pause
  readonly presence?: Presence
  readonly inhibitors?: readonly Inhibitor[]
  readonly battery?: PowerSource
  /** Of the owner's list, those that run now. */
  readonly programs?: readonly string[]
  readonly gpus?: readonly CardFacts[]
}

export interface CardFacts {
  readonly sample: GpuSample
  readonly foreign: ForeignUse
  /** Its driver does not answer: this is what it said last, and not what holds. */
  readonly isSilent?: boolean
  /** When it was looked at, by `clock.monotonic()`: each look counts once. */
  readonly at: Ms
}

export interface IdleSettings {
  /**
   * always: only a pause, the battery and heat speak against it. schedule: its hours too, listed programs
   * and others' use of a card. when-idle: input and what keeps the screen awake too.
   */
  readonly serve: 'always' | 'when-idle' | 'schedule'
  /** Looked at unless it is served always; absent: at all hours. */
  readonly hours?: Schedule
  /** Without a key or a movement for so long, nobody is there. */
  readonly inputIdle: Ms
  /** When somebody is logged in and nothing tells when he typed. */
  readonly unknownInput: 'serve' | 'yield'
  readonly onBattery: boolean
  readonly programs: readonly string[]
  /** Whether a film or a meeting counts as use. */
  readonly inhibitors: boolean
  /** Names of programs that keep the screen awake always. */
  readonly inhibitorsIgnored: readonly string[]
  /** 0 to 1: others' load above it, at two looks in a row. */
  readonly gpuLoadMax: number
  /** Others' memory of a card, in bytes or as its part of the whole, 0 to 1. */
  readonly gpuMemoryMax: { readonly bytes: number } | { readonly share: number }
  /** °C. A card that was as hot rests until it is `coolDown` below it. */
  readonly temperatureMax: number
  readonly coolDown: number
  /** It is used again only after so long without a reason. */
  readonly resumeAfter: Ms
}

export const IDLE_DEFAULTS: IdleSettings = {
  serve: 'when-idle',
  inputIdle: ms(180_000),
  unknownInput: 'serve',
  onBattery: false,
  programs: [],
  inhibitors: true,
  inhibitorsIgnored: [],
  gpuLoadMax: 0.2,
  gpuMemoryMax: { share: 0.5 },
  temperatureMax: 87,
  coolDown: 8,
  resumeAfter: ms(60_000),
}

export type FactName = 'presence' | 'inhibitors' | 'battery' | 'programs' | 'gpus'

/** The facts that a decision needs: only these are read. */
export function factsNeeded(settings: IdleSettings): ReadonlySet<FactName> {
  const { serve, onBattery, programs, inhibitors } = settings
  const needed = new Set<FactName>(['gpus'])
  if (!onBattery) needed.add('battery')
  if (serve !== 'always' && programs.length > 0) needed.add('programs')
  if (serve === 'when-idle') {
    needed.add('presence')
    if (inhibitors) needed.add('inhibitors')
  }
  return needed
}
