/**
 * Holds the cards that serve under the owner's limit of power, and gives each its own limit back when it does not
 * serve. A card that takes no limit serves all the same, and that is said. Tested by test/node/caps.ts.
 */

import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { errorText } from '../base/errors.ts'
import { writeFileAtomic } from '../base/files.ts'
import type { Log } from '../base/log.ts'
import type { PowerCaps } from '../gpu/power.ts'
import type { GpuSample } from '../gpu/sample.ts'

export interface CapsDeps {
  readonly caps: Pick<PowerCaps, 'adopt' | 'capPower' | 'restore'>
  readonly log: Log
  /** Limits that an earlier run found and did not put back, by card, in watts. */
  readonly left?: ReadonlyMap<string, number>
}

const Record = z.record(z.string().max(100), z.number().min(1).max(10_000))

/** Where limits are written down that are to be put back: a kill must not leave ours to the owner. */
export class CapsFile {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  /** Empty where there is none, or none that can be read. */
  async read(): Promise<ReadonlyMap<string, number>> {
    try {
      return new Map(Object.entries(Record.parse(JSON.parse(await readFile(this.#path, 'utf8')))))
    } catch {
      return new Map()
    }
  }

  async write(found: ReadonlyMap<string, number>): Promise<void> {
    await writeFileAtomic(this.#path, `${JSON.stringify(Object.fromEntries(found))}\n`)
  }
}

export class Caps {
  readonly #deps: CapsDeps
  readonly #watts: number
  readonly #left: Map<string, number>
  readonly #held = new Set<string>()
  /** By card: why it has no limit. It is not asked again while it serves. */
  readonly #refused = new Map<string, string>()
  #working: Promise<void> | undefined

  constructor(deps: CapsDeps, watts: number) {
    this.#deps = deps
    this.#watts = watts
    this.#left = new Map(deps.left)
  }

  /** Sentences for the owner. */
  problems(): string[] {
    return [...this.#refused.values()]
  }

  /** @param serving cards that compute for us now. Returns at once; a change under way is not joined by another */
  follow(serving: readonly GpuSample[], signal: AbortSignal): void {
    this.#working ??= this.#follow(serving, signal).finally(() => {
      this.#working = undefined
    })
  }

  /** Puts every limit back. @param signal ends what takes too long */
  async restore(signal: AbortSignal): Promise<void> {
    await this.#working
    await this.#follow([], signal)
  }

  async #follow(serving: readonly GpuSample[], signal: AbortSignal): Promise<void> {
    const { caps, log } = this.#deps
    const ids = new Set(serving.map(({ id }) => id))
    for (const id of this.#refused.keys()) if (!ids.has(id)) this.#refused.delete(id)
    for (const id of [...this.#held].filter((one) => !ids.has(one))) {
      try {
        await caps.restore(signal, id)
        this.#held.delete(id)
      } catch (error) {
        log.warn({ err: error, card: id }, 'a limit of power was not put back; tried again')
      }
    }
    for (const gpu of serving) {
      if (this.#held.has(gpu.id) || this.#refused.has(gpu.id) || signal.aborted) continue
      const before = this.#left.get(gpu.id)
      if (before !== undefined) caps.adopt(gpu, before)
      this.#left.delete(gpu.id)
      try {
        await caps.capPower(gpu, this.#watts, signal)
        this.#held.add(gpu.id)
        log.info({ card: gpu.id, watts: this.#watts }, 'a limit of power is set')
      } catch (error) {
        if (signal.aborted) return
        this.#refused.set(gpu.id, `machine.powerLimit: ${errorText(error)}`)
        log.warn({ err: error, card: gpu.id }, 'a limit of power cannot be set')
      }
    }
  }
}
