/**
 * An answer that may be one of several things, such as JSON of a schema or a call: all that it can still
 * be are followed, and the first token that only one of them takes decides.
 *
 * Tested by test/inference/llamacpp/held.ts.
 */
import type { Constraint } from './picker.ts'

export class EitherState implements Constraint {
  #alive: readonly Constraint[]

  constructor(choices: readonly Constraint[]) {
    this.#alive = choices
  }

  get canEnd(): boolean {
    return this.#alive.some(({ canEnd }) => canEnd)
  }

  get least(): number {
    return Math.min(...this.#alive.map(({ least }) => least))
  }

  allows(bytes: Uint8Array, room?: number): boolean {
    return this.#alive.some((choice) => choice.allows(bytes, room))
  }

  advance(bytes: Uint8Array): void {
    this.#alive = this.#alive.filter((choice) => choice.allows(bytes))
    for (const choice of this.#alive) choice.advance(bytes)
  }
}
