/**
 * May the owner's machine be used now, card by card, and if not, why: a pure function of facts, settings
 * and what it decided before.
 *
 * What concerns one card speaks against that card only; everything else against the whole machine. A
 * reason counts at once, its end only after a rest (rest.ts); at the very first decision there is no rest
 * to wait for. Tested by test/gpu/policy.ts.
 */
import { type Ms, ms } from '../base/units.ts'
import type { CardFacts, Facts, IdleSettings } from './facts.ts'
import {
  type CardMemory,
  cardFindings,
  type Finding,
  machineFindings,
  NEW_CARD,
  remember,
} from './reasons.ts'
import { RESTED, type Rest, step } from './rest.ts'
import type { Reason, Verdict } from './verdict.ts'

export interface PolicyState {
  readonly machine: Rest
  readonly cards: ReadonlyMap<string, { readonly rest: Rest; readonly memory: CardMemory }>
  /** Names of all reasons: the verdict is another one when this is. */
  readonly key: string
  readonly since: Ms
}

export interface PolicyInput {
  /** By the clock on the wall: for hours, pauses and what is told. */
  readonly now: Ms
  /** By `clock.monotonic()`: for rests. */
  readonly monotonic: Ms
  readonly facts: Facts
  readonly settings: IdleSettings
  /** Of the decision before; absent at the first. */
  readonly state?: PolicyState
}

export function decide(input: PolicyInput): { verdict: Verdict; state: PolicyState } {
  const { now, monotonic, facts, settings, state } = input
  const { resumeAfter } = settings
  const findings = machineFindings(facts, settings, now)
  const blind = settings.serve !== 'always' && facts.gpus === undefined
  // Cards that were never seen cannot be named.
  if (blind && (state?.cards.size ?? 0) === 0) findings.push(CARDS_UNKNOWN)
  const wasUsable = state?.machine.freeSince !== undefined
  const machine = step(state?.machine ?? RESTED, findings, monotonic, { resumeAfter, wasUsable })
  const cards = new Map<string, { rest: Rest; memory: CardMemory }>()
  const gpus = new Map<string, readonly Reason[]>()
  const ends: Ms[] = []
  for (const [id, card] of cardsOf(facts, state)) {
    const before = state?.cards.get(id)
    const memory =
      card === undefined
        ? (before?.memory ?? NEW_CARD)
        : remember(card, before?.memory ?? NEW_CARD, settings)
    const isSilent = settings.serve !== 'always' && facts.gpus !== undefined
    // One that was hot is not known to have cooled down.
    const isDark = card === undefined && (blind || isSilent || memory.isHot)
    const against = isDark ? [CARDS_UNKNOWN] : cardFindings(card, memory, settings)
    const stepped = step(before?.rest ?? RESTED, against, monotonic, { resumeAfter, wasUsable })
    cards.set(id, { rest: stepped.rest, memory })
    if (stepped.reasons.length > 0) gpus.set(id, stepped.reasons.map(bare))
    if (stepped.left !== undefined) ends.push(ms(now + stepped.left))
  }
  const key = keyOf(machine.reasons, gpus)
  const since = state?.key === key ? state.since : now
  const end = machine.reasons.length > 0 ? endOf(findings, machine, now) : least(ends)
  const verdict: Verdict = {
    machine: machine.reasons.map(bare),
    gpus,
    since,
    ...(end === undefined ? {} : { until: end }),
  }
  return { verdict, state: { machine: machine.rest, cards, key, since } }
}

const CARDS_UNKNOWN: Finding = {
  name: 'unknown',
  text: 'it cannot be told what the graphics cards do',
}

/** Those that are there; while that is not known, those that were. */
function cardsOf(
  { gpus }: Facts,
  state: PolicyState | undefined,
): (readonly [string, CardFacts | undefined])[] {
  if (gpus !== undefined)
    return gpus.map((card) => [card.sample.id, card.isSilent ? undefined : card] as const)
  return [...(state?.cards.keys() ?? [])].map((id) => [id, undefined] as const)
}

/** When the last of the machine's reasons ends by itself, if that is known of each. */
function endOf(findings: readonly Finding[], { left }: { left?: Ms }, now: Ms): Ms | undefined {
  const ends = findings.map(({ until }) => until)
  if (left !== undefined) ends.push(ms(now + left))
  const known = ends.filter((end) => end !== undefined)
  return known.length === ends.length && known.length > 0 ? ms(Math.max(...known)) : undefined
}

function least(ends: readonly Ms[]): Ms | undefined {
  return ends.length === 0 ? undefined : ms(Math.min(...ends))
}

function bare({ name, text, isOver }: Reason): Reason {
  return isOver ? { name, text, isOver } : { name, text }
}

function keyOf(machine: readonly Reason[], gpus: ReadonlyMap<string, readonly Reason[]>): string {
  const names = (reasons: readonly Reason[]) => reasons.map(({ name }) => name).join(',')
  return JSON.stringify([names(machine), ...[...gpus].map(([id, all]) => [id, names(all)])])
}
