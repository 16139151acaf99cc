/**
 * Chunks of a streamed answer: the same head each time, usage and what ran in the last one.
 *
 * Tested by test/inference/write/chat.ts and test/inference/write/completion.ts.
 */
import type { JsonObject, Usage } from '../request.ts'
import { DONE, event, type Frame, usageObject } from './frame.ts'

export class Chunks {
  readonly #head: JsonObject
  readonly #includeUsage: boolean

  /** @param object the name of their kind; `includeUsage` as `stream_options` say */
  constructor(object: string, frame: Frame, includeUsage: boolean) {
    const { id, created, model, fingerprint } = frame
    this.#head = { id, object, created, model, system_fingerprint: fingerprint }
    this.#includeUsage = includeUsage
  }

  chunk(choice: JsonObject): string {
    const usage = this.#includeUsage ? { usage: null } : {}
    return event({ ...this.#head, choices: [choice], ...usage })
  }

  /** After every choice has ended. @param manifest what ran, known only now */
  finish(usage: Usage, manifest: JsonObject | undefined): string {
    const pocket = manifest === undefined ? {} : { pocket: manifest }
    const last = { ...this.#head, choices: [], usage: usageObject(usage), ...pocket }
    return `${this.#includeUsage ? event(last) : ''}${DONE}`
  }
}
