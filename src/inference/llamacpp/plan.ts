/**
 * Who gets which slot, and who does what in the next step. Pure: the loop (steps.ts) does it.
 *
 * Tested by test/inference/llamacpp/steps.ts.
 */
import type { Token } from 'node-llama-cpp'
import { assert } from '../../base/errors.ts'
import type { Job, Outcome, Sequence } from './job.ts'

export interface StepOptions {
  /** Tokens of one prompt in one step. */
  readonly chunkTokens: number
  /** Tokens of all prompts and answers in one step; at least a chunk and a token a slot. */
  readonly batchTokens: number
  /** A slot that isn't the lowest is taken for its contents only if they save this many tokens. */
  readonly reuseTokensMin: number
}

export interface Running {
  readonly job: Job
  readonly signal: AbortSignal
  /** Tokens that the next steps evaluate: the rest of the prompt, or the last token of the answer. */
  todo: readonly Token[]
  readonly cachedTokens: number
  completionTokens: number
  readonly resolve: (outcome: Outcome) => void
  readonly reject: (error: unknown) => void
}

export interface Slot {
  readonly sequence: Sequence
  running: Running | undefined
  /** So many of the first tokens were read in whole pieces, counted from the start. */
  whole: number
  /** Counts admissions: prompts are read in the order they came. */
  turn: number
}

export interface Part {
  readonly slot: Slot
  readonly running: Running
  readonly tokens: readonly Token[]
}

/**
 * How many tokens of `known` the slot holds and may be used.
 * @param exact only whole pieces of this size, which would be computed in the same way again
 */
export function heldBy(slot: Slot, known: Token[], exact: number | undefined): number {
  const same = slot.sequence.compareContextTokens(known).firstDifferentIndex
  return exact === undefined ? same : Math.floor(Math.min(same, slot.whole) / exact) * exact
}

/** The lowest free slot, unless another one holds much more of the prompt. */
export function chooseSlot(
  free: readonly Slot[],
  known: Token[],
  { exact, reuseTokensMin }: { exact: number | undefined; reuseTokensMin: number },
): Slot {
  let [best, ...others] = free
  assert(best !== undefined, 'there is a free slot')
  let most = heldBy(best, known, exact)
  for (const slot of others) {
    const here = heldBy(slot, known, exact)
    if (here >= most + reuseTokensMin) [best, most] = [slot, here]
  }
  return best
}

/** Who does what in this step: every answer its token, then prompts by age as far as there is room. */
export function planStep(
  slots: readonly Slot[],
  { chunkTokens, batchTokens }: StepOptions,
): Part[] {
  const parts = new Map<Slot, Part>()
  let room = batchTokens
  const active = activeOf(slots)
  const answering = (slot: Slot) => (slot.running?.completionTokens ?? 0) > 0
  const prompting = active.filter((slot) => !answering(slot)).sort((a, b) => a.turn - b.turn)
  for (const slot of [...active.filter(answering), ...prompting]) {
    const { running } = slot
    if (running === undefined) continue
    const tokens = running.todo.slice(0, chunkTokens)
    if (tokens.length > room) continue
    room -= tokens.length
    parts.set(slot, { slot, running, tokens })
  }
  return active.flatMap((slot) => parts.get(slot) ?? [])
}

/**
 * Pieces of one length go together: llama.cpp cuts a step of several lengths into other pieces, and a prompt that is
 * read in other pieces has other sums. It takes as many passes over the weights either way.
 */
export function evenly(parts: readonly Part[]): Part[][] {
  const groups = new Map<number, Part[]>()
  for (const part of parts) {
    const { length } = part.tokens
    groups.set(length, [...(groups.get(length) ?? []), part])
  }
  return [...groups.values()]
}

/** All that run; where one has to be alone, the eldest of these once the others have ended. */
function activeOf(slots: readonly Slot[]): Slot[] {
  const active = slots.filter((slot) => slot.running !== undefined)
  const isAlone = (slot: Slot) => slot.running?.job.isAlone === true
  const alone = active.filter(isAlone).sort((a, b) => a.turn - b.turn)
  const [eldest] = alone
  if (eldest === undefined) return active
  const begun = active.filter((slot) => !isAlone(slot) && slot.turn < eldest.turn)
  return begun.length > 0 ? begun : [eldest]
}
