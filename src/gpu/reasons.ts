/**
 * What speaks against using the machine, or one of its cards, at this moment: facts against settings,
 * without a memory. Who remembers is `rest.ts`. Tested by test/gpu/policy.ts.
 */
import { type Ms, ms } from '../base/units.ts'
import type { CardFacts, Facts, IdleSettings } from './facts.ts'
import type { Reason, ReasonName } from './verdict.ts'

/** @param until when it ends by itself, by `clock.now()`, where that is known */
export interface Finding extends Reason {
  readonly until?: Ms
}

/** `12 s`, `3 min`, `2 h 5 min`: rounded up, so that nobody is told "0 s". */
export function spoken(duration: number): string {
  const seconds = Math.max(1, Math.ceil(duration / 1_000))
  if (seconds < 100) return `${seconds} s`
  const minutes = Math.ceil(seconds / 60)
  if (minutes < 120) return `${minutes} min`
  const [hours, rest] = [Math.floor(minutes / 60), minutes % 60]
  if (hours < 48) return rest === 0 ? `${hours} h` : `${hours} h ${rest} min`
  return `${Math.ceil(hours / 24)} days`
}

/** Against the whole machine. @param now of the clock on the wall */
export function machineFindings(facts: Facts, settings: IdleSettings, now: Ms): Finding[] {
  const { serve } = settings
  return [
    pauseFinding(facts, now),
    serve === 'always' ? undefined : hoursFinding(settings, now),
    batteryFinding(facts, settings),
    serve === 'when-idle' ? inputFinding(facts, settings) : undefined,
    serve === 'when-idle' ? busyFinding(facts, settings) : undefined,
    serve === 'always' ? undefined : programFinding(facts, settings),
  ].filter((finding) => finding !== undefined)
}

function pauseFinding({ pause }: Facts, now: Ms): Finding | undefined {
  if (pause === undefined || (pause.until !== undefined && pause.until <= now)) return undefined
  const note = pause.note === undefined ? '' : ` (${pause.note})`
  if (pause.until === undefined)
    return { name: 'paused', text: `paused by hand until you resume it${note}` }
  const left = spoken(pause.until - now)
  return { name: 'paused', text: `paused by hand for another ${left}${note}`, until: pause.until }
}

function hoursFinding({ hours }: IdleSettings, now: Ms): Finding | undefined {
  if (hours === undefined || hours.isOpen(now)) return undefined
  const next = hours.nextChange(now)
  const outside = `outside of its hours (${hours.text})`
  if (next === undefined) return { name: 'schedule', text: outside }
  return {
    name: 'schedule',
    text: `${outside}; they begin in ${spoken(next - now)}`,
    until: next,
  }
}

function batteryFinding({ battery }: Facts, settings: IdleSettings): Finding | undefined {
  if (settings.onBattery) return undefined
  if (battery === undefined) return unknown('whether the machine runs on its battery')
  return battery === 'battery'
    ? { name: 'battery', text: 'the machine runs on its battery' }
    : undefined
}

function inputFinding({ presence }: Facts, settings: IdleSettings): Finding | undefined {
  if (presence === undefined) return unknown('whether somebody uses the machine')
  if (presence.session === 'none' || presence.isLocked) return undefined
  const { idleFor } = presence
  if (idleFor === undefined)
    return settings.unknownInput === 'yield' ? unknown('when you last typed') : undefined
  if (idleFor >= settings.inputIdle) return undefined
  const wait = `it takes ${spoken(settings.inputIdle)} without input`
  const when = idleFor < 1_000 ? 'you are using it now' : `you typed ${spoken(idleFor)} ago`
  return { name: 'input', text: `${when}; ${wait}` }
}

function busyFinding({ inhibitors, presence }: Facts, settings: IdleSettings): Finding | undefined {
  if (!settings.inhibitors) return undefined
  // Nobody watches a locked screen.
  if (presence?.isLocked || presence?.session === 'none') return undefined
  if (inhibitors === undefined) return unknown('whether a program keeps the screen awake')
  const ignored = new Set(settings.inhibitorsIgnored.map((name) => name.toLowerCase()))
  const [first] = inhibitors.filter(({ who }) => !ignored.has(who.toLowerCase()))
  if (first === undefined) return undefined
  const why = first.why === '' ? '' : ` (${first.why})`
  return { name: 'busy', text: `${first.who} keeps the screen awake${why}` }
}

function programFinding({ programs }: Facts, settings: IdleSettings): Finding | undefined {
  if (settings.programs.length === 0) return undefined
  if (programs === undefined) return unknown('which programs are running')
  if (programs.length === 0) return undefined
  const verb = programs.length === 1 ? 'is' : 'are'
  return { name: 'program', text: `${listed(programs)} ${verb} running` }
}

function unknown(what: string): Finding {
  return { name: 'unknown', text: `it cannot be told ${what}` }
}

/** What a card remembers from one look to the next. */
export interface CardMemory {
  /** The look that `loadedLooks` counts up to. */
  readonly at?: Ms
  readonly loadedLooks: number
  readonly isHot: boolean
}

export const NEW_CARD: CardMemory = { loadedLooks: 0, isHot: false }
/** One look above the limit is a window that moves; at the first look of all it counts. */
const LOADED_LOOKS = 2

export function remember(card: CardFacts, before: CardMemory, settings: IdleSettings): CardMemory {
  const { sample, foreign, at } = card
  if (before.at === at) return before
  const isLoaded = (foreign.load ?? 0) > settings.gpuLoadMax
  const looks = before.at === undefined ? LOADED_LOOKS : before.loadedLooks + 1
  const limit = settings.temperatureMax - (before.isHot ? settings.coolDown : 0)
  const { temperature } = sample
  // What a card that sleeps does not tell is not hot.
  const isHot =
    temperature !== undefined &&
    (before.isHot ? temperature > limit : temperature >= settings.temperatureMax)
  return { at, loadedLooks: isLoaded ? Math.min(looks, LOADED_LOOKS) : 0, isHot }
}

/** Against one card; nothing against one that is not known. */
export function cardFindings(
  card: CardFacts | undefined,
  memory: CardMemory,
  settings: IdleSettings,
): Finding[] {
  if (card === undefined) return []
  const findings: Finding[] = []
  const { sample, foreign } = card
  const by = foreign.programs.length === 0 ? '' : ` (${listed(foreign.programs)})`
  if (settings.serve !== 'always' && memory.loadedLooks >= LOADED_LOOKS) {
    const percent = Math.round((foreign.load ?? 0) * 100)
    findings.push({ name: 'gpu-load', text: `${percent} % of the card is used by others${by}` })
  }
  const limit = memoryLimit(card, settings)
  const used = foreign.memory
  if (settings.serve !== 'always' && used !== undefined && limit !== undefined && used > limit)
    findings.push({
      name: 'gpu-memory',
      text: `${gib(used)} of the card's memory is used by others${by}; up to ${gib(limit)} is left to them`,
    })
  if (memory.isHot) {
    const least = settings.temperatureMax - settings.coolDown
    const now = Math.round(sample.temperature ?? settings.temperatureMax)
    findings.push({ name: 'heat', text: `the card has ${now} °C; it cools down to ${least} °C` })
  }
  return findings
}

function memoryLimit({ sample }: CardFacts, { gpuMemoryMax }: IdleSettings): number | undefined {
  if ('bytes' in gpuMemoryMax) return gpuMemoryMax.bytes
  return sample.memoryTotal === undefined ? undefined : sample.memoryTotal * gpuMemoryMax.share
}

function gib(bytes: number): string {
  return `${(bytes / 1024 ** 3).toFixed(1)} GiB`
}

/** More names are not read by anybody. */
const NAMES_MAX = 3

function listed(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_MAX)
  const more = names.length - shown.length
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(', ')
}

/** What each reason was, once it is over. */
const WAS: Readonly<Record<ReasonName, string>> = {
  paused: 'it was paused',
  schedule: 'it was outside of its hours',
  battery: 'the machine ran on its battery',
  input: 'you used it',
  busy: 'a program kept the screen awake',
  program: 'a listed program was running',
  'gpu-load': 'others used the card',
  'gpu-memory': 'others used its memory',
  heat: 'the card was hot',
  unknown: 'it could not be told what the machine does',
}

/** A reason that holds no more and keeps the machine at rest. */
export function over(name: ReasonName, rest: Ms): Reason {
  const text = `${WAS[name]} until a moment ago; it is used again after ${spoken(rest)} of quiet`
  return { name, text, isOver: true }
}

/** The length of a rest that has gone on for `passed`; 0 when it is over. */
export function restLeft(rest: Ms, passed: number): Ms {
  return ms(Math.max(0, rest - passed))
}
