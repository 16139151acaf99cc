/**
 * How far something long is: one line that is drawn again on a terminal, a line for each tenth elsewhere.
 * Tests: test/cli/models.ts.
 */
import { InvalidArgumentError } from 'commander'
import { bytesText } from '../models/disk.ts'

export interface ProgressOutput {
  readonly say: (text: string) => void
  /** Replaces the last line of the terminal; undefined where there is none. */
  readonly redraw: ((text: string) => void) | undefined
}

export interface Progress {
  readonly bytes: number
  readonly total: number
  readonly bytesPerSecond?: number
}

const BAR = 24

export class ProgressLine {
  readonly #output: ProgressOutput
  readonly #label: string
  #tenth = -1

  constructor(output: ProgressOutput, label: string) {
    this.#output = output
    this.#label = label
  }

  show(progress: Progress): void {
    const { redraw, say } = this.#output
    if (redraw !== undefined) {
      redraw(`${this.#label} ${bar(progress)} ${words(progress)}`)
      return
    }
    const tenth = Math.floor((10 * progress.bytes) / Math.max(1, progress.total))
    if (tenth <= this.#tenth) return
    this.#tenth = tenth
    say(`${this.#label} ${words(progress)}`)
  }

  /** Something else is about to be said. */
  clear(): void {
    this.#output.redraw?.('')
  }
}

function bar({ bytes, total }: Progress): string {
  const full = Math.min(BAR, Math.round((BAR * bytes) / Math.max(1, total)))
  return `[${'#'.repeat(full)}${'-'.repeat(BAR - full)}]`
}

function words({ bytes, total, bytesPerSecond = 0 }: Progress): string {
  const percent = `${Math.floor((100 * bytes) / Math.max(1, total))} %`
  const done = `${percent.padStart(5)}  ${bytesText(bytes)} of ${bytesText(total)}`
  if (bytesPerSecond < 1 || bytes >= total) return done
  const left = durationText((total - bytes) / bytesPerSecond)
  return `${done}  ${bytesText(Math.round(bytesPerSecond))}/s  ${left} left`
}

/** `1:02:03`, `2:03`. */
export function durationText(seconds: number): string {
  const whole = Math.ceil(seconds)
  const [hours, minutes, rest] = [
    Math.floor(whole / 3_600),
    Math.floor(whole / 60) % 60,
    whole % 60,
  ]
  const tail = String(rest).padStart(2, '0')
  return hours === 0 ? `${minutes}:${tail}` : `${hours}:${String(minutes).padStart(2, '0')}:${tail}`
}

const RATE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 1024,
  MIB: 1024 ** 2,
  GIB: 1024 ** 3,
}
/** Below this the idle limits of a source would end what still comes. */
const RATE_MIN = 1_024

/** `10MB`, for commander: bytes per second. */
export function rate(text: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?) ?([kmg]?i?b)(?:\/s)?$/i.exec(text) ?? []
  const factor = RATE_UNITS[unit.toUpperCase()]
  const value = Number(number) * (factor ?? Number.NaN)
  if (value >= RATE_MIN) return value
  throw new InvalidArgumentError('write bytes per second with their unit, such as 500KB or 10MB')
}
