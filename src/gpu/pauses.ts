/**
 * A pause by hand, with or without an end: one small file in the data folder, written whole, so that it
 * holds over a restart and a command can set it while the supplier runs. A file that cannot be read counts
 * as no pause, and that is said. Tested by test/gpu/pauses.ts.
 */
import { open, rm } from 'node:fs/promises'
import { writeFileAtomic } from '../base/files.ts'
import { type Ms, ms } from '../base/units.ts'

export interface Pause {
  /** Values of `clock.now()`. */
  readonly since: Ms
  /** Absent: until `resume()`. */
  readonly until?: Ms
  readonly note?: string
}

export interface PauseState {
  readonly pause?: Pause
  /** Why the file was not believed, as a sentence for the owner. */
  readonly problem?: string
}

const BYTES_MAX = 4_096
const NOTE_MAX = 200

export class Pauses {
  readonly #file: string
  readonly #now: () => Ms

  /** @param file such as `DATA/pause.json` */
  constructor(deps: { now: () => Ms }, file: string) {
    this.#now = deps.now
    this.#file = file
  }

  /** Takes the place of the one before. @param until a value of `clock.now()`; absent: for ever */
  async pause(until?: Ms, note?: string): Promise<Pause> {
    const pause: Pause = {
      since: this.#now(),
      ...(until === undefined ? {} : { until }),
      ...(note === undefined ? {} : { note: note.slice(0, NOTE_MAX) }),
    }
    await writeFileAtomic(this.#file, `${JSON.stringify({ v: 1, ...pause })}\n`)
    return pause
  }

  /** Does nothing where there is none. */
  async resume(): Promise<void> {
    await rm(this.#file, { force: true })
  }

  /** The one that holds at `now`. Never throws: a disk that fails is a problem that is told. */
  async current(now: Ms = this.#now()): Promise<PauseState> {
    let text: string
    try {
      text = await this.#read()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
      return { problem: `${this.#file} cannot be read; it counts as no pause.` }
    }
    const pause = parsePause(text)
    if (pause === undefined)
      return { problem: `${this.#file} holds no pause; it is not believed. Pause or resume again.` }
    return pause.until !== undefined && pause.until <= now ? {} : { pause }
  }

  async #read(): Promise<string> {
    await using file = await open(this.#file, 'r')
    const { buffer, bytesRead } = await file.read(Buffer.alloc(BYTES_MAX), 0, BYTES_MAX, 0)
    return buffer.toString('utf8', 0, bytesRead)
  }
}

/** undefined: not one of ours. */
export function parsePause(text: string): Pause | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { v, since, until, note } = value as Record<string, unknown>
  if (v !== 1 || !isTime(since) || (until !== undefined && !isTime(until))) return undefined
  return {
    since: ms(since),
    ...(until === undefined ? {} : { until: ms(until) }),
    ...(typeof note === 'string' ? { note: note.slice(0, NOTE_MAX) } : {}),
  }
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}
