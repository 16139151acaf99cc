/** What each service did since the start. Tested by test/inference/inference.ts. */
import type { Usage } from './request.ts'

export interface ServiceStats {
  readonly answered: number
  readonly refused: number
  readonly failed: number
  readonly promptTokens: number
  readonly completionTokens: number
}

const NOTHING: ServiceStats = Object.freeze({
  answered: 0,
  refused: 0,
  failed: 0,
  promptTokens: 0,
  completionTokens: 0,
})

export class ServiceCounts {
  readonly #stats: Map<string, ServiceStats>

  constructor(serviceIds: readonly string[]) {
    this.#stats = new Map(serviceIds.map((id) => [id, NOTHING]))
  }

  all(): Readonly<Record<string, ServiceStats>> {
    return Object.fromEntries(this.#stats)
  }

  note(
    serviceId: string,
    answer: { readonly refused?: boolean; readonly failed?: string; readonly usage?: Usage },
  ): void {
    const before = this.#stats.get(serviceId)
    // Nobody invents a service of ours.
    if (before === undefined) return
    const { refused, failed, usage } = answer
    this.#stats.set(serviceId, {
      answered: before.answered + (refused === true || failed !== undefined ? 0 : 1),
      refused: before.refused + (refused === true ? 1 : 0),
      failed: before.failed + (failed === undefined ? 0 : 1),
      promptTokens: before.promptTokens + (usage?.promptTokens ?? 0),
      completionTokens: before.completionTokens + (usage?.completionTokens ?? 0),
    })
  }
}
