/**
 * The same for people: at most 100 columns, like `status`. Long words (ids, names of cards) may stick out; nothing
 * else does. Tests: test/cli/gpu.ts.
 */
import { ms } from '../base/units.ts'
import { spoken } from '../gpu/reasons.ts'
import type { Reason } from '../gpu/verdict.ts'
import { entry } from '../ops/text.ts'
import type { CardPicture, Picture, ProgramPicture } from './gpu-picture.ts'

const PROGRAMS_MAX = 6
const DAY = 24 * 3_600_000

/** Wall-clock times of this machine, or of the zone that the hours are written in. */
export class WallClock {
  readonly #time: Intl.DateTimeFormat
  readonly #date: Intl.DateTimeFormat

  constructor(timeZone?: string) {
    const zone = timeZone === undefined ? {} : { timeZone }
    const time = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const
    this.#time = new Intl.DateTimeFormat('en-GB', { weekday: 'short', ...time, ...zone })
    this.#date = new Intl.DateTimeFormat('en-GB', {
      ...{ weekday: 'short', day: 'numeric', month: 'short' },
      ...time,
      ...zone,
    })
  }

  /** `Mon 18:00`; further away than a week's days tell apart, with the date. */
  at(time: number, now: number): string {
    const format = Math.abs(time - now) < 6 * DAY ? this.#time : this.#date
    const part = Object.fromEntries(
      format.formatToParts(time).map(({ type, value }) => [type, value]),
    )
    const date = part['day'] === undefined ? '' : ` ${part['day']} ${part['month']}`
    return `${part['weekday']}${date} ${part['hour']}:${part['minute']}`
  }
}

export function gpuText(picture: Picture, wall: WallClock): string {
  const { cards, problems, engine } = picture
  const lines = entry('machine', verdictText(picture, wall))
  if (picture.settings === 'defaults')
    lines.push(...entry('', 'judged by the defaults: there is no supplier.yaml here'))
  for (const card of cards) lines.push(...cardLines(card, picture.mayServe))
  if (cards.length === 0) lines.push(...entry('cards', 'none seen; models run on the processor'))
  lines.push(...factLines(picture, wall))
  const used = engine.inUse === undefined ? 'none is installed' : engine.inUse
  lines.push(...entry('engine', engine.best === engine.inUse ? `${used}, the best here` : used))
  if (engine.advice !== undefined) lines.push(...entry('', engine.advice))
  lines.push(...daemonLines(picture))
  for (const problem of problems) lines.push(...entry('PROBLEM', problem))
  return lines.join('\n')
}

/** One line for a change: `Mon 18:03  may be used`. */
export function changeText(picture: Picture, wall: WallClock): string {
  const cards = picture.cards
    .filter(({ reasons }) => reasons.length > 0)
    .map(({ number, reasons }) => `gpu ${number} is left to you: ${reasonText(reasons)}`)
  return [wall.at(picture.at, picture.at), [verdictText(picture, wall), ...cards].join('; ')].join(
    '  ',
  )
}

function verdictText(picture: Picture, wall: WallClock): string {
  const { reasons, until, at, cards, serve } = picture
  if (reasons.length > 0) {
    const again = until === undefined ? '' : `; looked at again ${wall.at(until, at)}`
    return `left to you: ${reasonText(reasons)}${again}`
  }
  const held = cards.filter((card) => card.reasons.length > 0).length
  const some = held === cards.length ? 'none of its cards' : 'not every card'
  return `may be used (serve: ${serve})${held === 0 ? '' : `, but ${some}`}`
}

function reasonText(reasons: readonly Pick<Reason, 'text'>[]): string {
  return reasons.map(({ text }) => text).join('; ')
}

function cardLines(card: CardPicture, mayServe: boolean): string[] {
  const { number, id, name, driver, reasons, partOf } = card
  const about = [`id ${id}`, driver === undefined ? '' : `driver ${driver}`, sliceText(partOf)]
  const verdict = reasons.length > 0 ? `left to you: ${reasonText(reasons)}` : 'may be used'
  return [
    ...entry(`gpu ${number}`, [name, ...figures(card)].join(', ')),
    ...entry('', about.filter((one) => one !== '').join(', ')),
    ...entry('', programsText(card)),
    // Nothing against a card does not make up for what is against the machine.
    ...(mayServe || reasons.length > 0 ? entry('', verdict) : []),
  ]
}

function sliceText(partOf: string | undefined): string {
  return partOf === undefined ? '' : `part of ${partOf}`
}

function figures(card: CardPicture): string[] {
  if (card.isAsleep) return ['asleep: nobody uses it, and looking closer would wake it']
  const { memoryUsed, memoryTotal, load, temperature, power, powerLimit } = card
  const used = memoryUsed === undefined ? 'unknown' : gib(memoryUsed)
  const of = powerLimit === undefined ? '' : ` of ${Math.round(powerLimit)}`
  return [
    memoryTotal === undefined ? `${used} GiB used` : `${used} of ${gib(memoryTotal)} GiB used`,
    load === undefined ? 'load unknown' : `load ${percent(load)}`,
    temperature === undefined ? '' : `${Math.round(temperature)} °C`,
    power === undefined ? '' : `${Math.round(power)}${of} W`,
    card.hasDisplay === true ? 'with a screen' : '',
    card.isShared ? "in the machine's memory" : '',
  ].filter((one) => one !== '')
}

function programsText({ programs, hidesProcesses, isAsleep }: CardPicture): string {
  if (isAsleep) return 'used by nobody'
  const hidden = hidesProcesses === true ? '; programs of other users are not shown' : ''
  if (programs === undefined) return 'its driver does not say who uses it'
  if (programs.length === 0) return `used by nobody${hidden}`
  const sorted = [...programs].sort((a, b) => (b.memory ?? 0) - (a.memory ?? 0))
  const shown = sorted.slice(0, PROGRAMS_MAX).map(programText)
  const more = sorted.length - shown.length
  return `used by ${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}${hidden}`
}

function programText({ name, pid, kind, memory, load, isOurs }: ProgramPicture): string {
  const facts = [
    isOurs ? 'ours' : '',
    kind === 'graphics' ? '' : 'computes',
    memory === undefined ? '' : `${Math.ceil(memory / 1024 ** 2)} MiB`,
    load === undefined || load === 0 ? '' : percent(load),
  ].filter((one) => one !== '')
  return `${name ?? `process ${pid}`}${facts.length === 0 ? '' : ` (${facts.join(', ')})`}`
}

function factLines(picture: Picture, wall: WallClock): string[] {
  const { presence, battery, hours, pause, at } = picture
  const lines: string[] = []
  if (presence !== undefined) lines.push(...entry('input', presenceText(presence)))
  if (battery !== undefined) lines.push(...entry('power', `on ${battery}`))
  if (hours !== undefined) {
    const next = hours.next === undefined ? '' : ` until ${wall.at(hours.next, at)}`
    lines.push(...entry('hours', `${hours.text}: ${hours.isOpen ? 'open' : 'closed'}${next}`))
  }
  if (pause !== undefined) {
    const end =
      pause.until === undefined ? 'until you resume it' : `until ${wall.at(pause.until, at)}`
    const note = pause.note === undefined ? '' : `: ${pause.note}`
    lines.push(...entry('pause', `${end}, since ${wall.at(pause.since, at)}${note}`))
  }
  return lines
}

function presenceText(presence: NonNullable<Picture['presence']>): string {
  const { session, isLocked, idleFor, source } = presence
  const by = ` (told by ${source})`
  if (session === 'none') return `nobody is logged in at a screen${by}`
  if (isLocked) return `the screen is locked${by}`
  if (idleFor !== undefined) return `last key or movement ${spoken(ms(idleFor))} ago${by}`
  return `it cannot be told when somebody last typed${by}`
}

/** It has watched for longer than we have, and may rest where we would not. */
function daemonLines({ daemon, cards }: Picture): string[] {
  if (daemon === undefined) return entry('daemon', 'not running')
  const lines = entry('daemon', `process ${daemon.pid}, version ${daemon.version}`)
  const { engines = [], reasons = [], cards: held = [], yields } = daemon.owner ?? {}
  for (const { services, state } of engines)
    lines.push(...entry('', `${services.join(', ')}: ${state}`))
  if (reasons.length > 0) lines.push(...entry('', `leaves it to you: ${reasonText(reasons)}`))
  for (const { id, reasons } of held) {
    const number = cards.find((card) => card.id === id)?.number
    const card = number === undefined ? `card ${id}` : `gpu ${number}`
    lines.push(...entry('', `leaves ${card} to you: ${reasonText(reasons)}`))
  }
  if (yields !== undefined)
    lines.push(
      ...entry('', `gave it back ${yields.count} times, half within ${seconds(yields.p50)}`),
    )
  return lines
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1_000).toFixed(1)} s`
}

function gib(bytes: number): string {
  return (bytes / 1024 ** 3).toFixed(1)
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}
