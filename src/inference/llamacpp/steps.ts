/**
 * The step loop: every request of the engine moves on by one token (or one piece of its prompt) a step.
 *
 * All slots of a step are handed to node-llama-cpp in ascending order within one tick, so that they become
 * one batch and llama.cpp, which only joins sequences whose numbers follow one another, reads the
 * weights once for all of them. New requests take the lowest free slot for the same reason. Left to
 * itself the library splits such a batch, which halves the throughput of eight streams.
 *
 * Prompts go in pieces of a fixed size, so that a long one doesn't stall the others, and a piece is never
 * cut to fit: what is computed for a request does not depend on its neighbours. What a slot still holds
 * of the last conversation is not computed again. Tested by test/inference/llamacpp/steps.ts.
 */
import type {
  ControlledEvaluateIndexOutput,
  ControlledEvaluateInputItem,
  Token,
} from 'node-llama-cpp'
import type { Clock } from '../../base/clock.ts'
import { assert } from '../../base/errors.ts'
import { InferenceError } from '../errors.ts'
import { type Sampling, seedAt } from './sampling.ts'

/** What is used of a LlamaContextSequence. */
export interface Sequence {
  readonly nextTokenIndex: number
  compareContextTokens(tokens: Token[]): { firstDifferentIndex: number }
  adaptStateToTokens(tokens: Token[], allowShift: boolean): Promise<void>
  controlledEvaluate(
    input: ControlledEvaluateInputItem[],
  ): Promise<(ControlledEvaluateIndexOutput | undefined)[]>
}

export interface Job {
  /** At least one token. */
  readonly prompt: readonly Token[]
  /** At least 1; with the prompt not more than the context holds. */
  readonly tokensMax: number
  readonly sampling: Sampling
  /** Called for every generated token; false ends the answer. */
  onToken(token: Token): boolean
}

export interface Outcome {
  readonly end: 'stop' | 'length'
  /** Tokens of the prompt that the slot still held. */
  readonly cachedTokens: number
  readonly completionTokens: number
}

export interface StepOptions {
  /** Tokens of one prompt in one step. */
  readonly chunkTokens: number
  /** Tokens of all prompts and answers in one step; at least a chunk and a token a slot. */
  readonly batchTokens: number
  /** A slot that isn't the lowest is taken for its contents only if they save this many tokens. */
  readonly reuseTokensMin: number
}

export const STEP_DEFAULTS = {
  chunkTokens: 128,
  batchTokens: 512,
  reuseTokensMin: 32,
} satisfies StepOptions

interface Running {
  readonly job: Job
  readonly signal: AbortSignal
  /** Tokens that the next steps evaluate: the rest of the prompt, or the last token of the answer. */
  todo: readonly Token[]
  readonly cachedTokens: number
  completionTokens: number
  readonly resolve: (outcome: Outcome) => void
  readonly reject: (error: unknown) => void
}

type Waiting = Pick<Running, 'job' | 'signal' | 'resolve' | 'reject'>

interface Slot {
  readonly sequence: Sequence
  running: Running | undefined
  /** Counts admissions: prompts are read in the order they came. */
  turn: number
}

interface Part {
  readonly slot: Slot
  readonly running: Running
  readonly tokens: readonly Token[]
}

/** How much of the last steps' speed the newest one replaces. */
const RATE_WEIGHT = 0.05

export class StepLoop {
  readonly #clock: Clock
  readonly #options: StepOptions
  readonly #slots: readonly Slot[]
  readonly #waiting: Waiting[] = []
  #looping = false
  #turns = 0
  #steps = 0
  #rate = 0

  /** @param deps.sequences of one context, in ascending order of their numbers */
  constructor(
    deps: { sequences: readonly Sequence[]; clock: Clock },
    options: StepOptions = STEP_DEFAULTS,
  ) {
    assert(
      options.batchTokens >= options.chunkTokens + deps.sequences.length,
      'a step has room for a chunk and a token for every slot',
    )
    this.#clock = deps.clock
    this.#options = options
    this.#slots = deps.sequences.map((sequence) => ({ sequence, running: undefined, turn: 0 }))
  }

  /** Steps taken: stands still while something runs only if the engine does. */
  get steps(): number {
    return this.#steps
  }

  get active(): number {
    return this.#slots.filter((slot) => slot.running !== undefined).length + this.#waiting.length
  }

  /** Tokens generated a second in the last steps, all slots together. */
  get tokensPerSecond(): number {
    return this.#rate
  }

  /**
   * Runs a job to its end, waiting for a slot if none is free.
   * @throws signal.reason within one step of an abort; the engine's error for every job in the loop,
   *   after which the context is not to be trusted and the loop must not be used again
   */
  run(job: Job, signal: AbortSignal): Promise<Outcome> {
    assert(job.prompt.length > 0 && job.tokensMax > 0, 'a job has a prompt and something to do')
    return new Promise((resolve, reject) => {
      this.#waiting.push({ job, signal, resolve, reject })
      if (!this.#looping) void this.#loop()
    })
  }

  async #loop(): Promise<void> {
    this.#looping = true
    try {
      for (;;) {
        this.#dropAborted()
        await this.#admit()
        const parts = this.#plan()
        if (parts.length > 0) await this.#step(parts)
        // Somebody may have come while the last ones were let in.
        else if (this.#waiting.length === 0) break
      }
    } catch (error) {
      for (const { reject } of this.#waiting.splice(0)) reject(error)
      for (const slot of this.#slots) {
        slot.running?.reject(error)
        slot.running = undefined
      }
    } finally {
      this.#looping = false
    }
  }

  #dropAborted(): void {
    for (const slot of this.#slots) {
      if (slot.running?.signal.aborted !== true) continue
      slot.running.reject(slot.running.signal.reason)
      slot.running = undefined
    }
  }

  async #admit(): Promise<void> {
    while (this.#waiting.length > 0) {
      const free = this.#slots.filter((slot) => slot.running === undefined)
      if (free.length === 0) return
      const waiting = this.#waiting.shift()
      if (waiting === undefined) return
      if (waiting.signal.aborted) {
        waiting.reject(waiting.signal.reason)
        continue
      }
      // The last token is always evaluated: without it there is nothing to sample from.
      const known = waiting.job.prompt.slice(0, -1)
      const slot = this.#choose(free, known)
      const running = { ...waiting, todo: waiting.job.prompt, cachedTokens: 0, completionTokens: 0 }
      slot.running = running
      slot.turn = this.#turns++
      await slot.sequence.adaptStateToTokens(known, false)
      running.cachedTokens = slot.sequence.nextTokenIndex
      running.todo = waiting.job.prompt.slice(running.cachedTokens)
    }
  }

  /** The lowest free slot, unless another one holds much more of the prompt. */
  #choose(free: readonly Slot[], known: Token[]): Slot {
    const held = (slot: Slot) => slot.sequence.compareContextTokens(known).firstDifferentIndex
    let [best, ...others] = free
    assert(best !== undefined, 'there is a free slot')
    let most = held(best)
    for (const slot of others) {
      const here = held(slot)
      if (here >= most + this.#options.reuseTokensMin) [best, most] = [slot, here]
    }
    return best
  }

  /** Who does what in this step: every answer its token, then prompts by age as far as there is room. */
  #plan(): Part[] {
    const { chunkTokens, batchTokens } = this.#options
    const parts = new Map<Slot, Part>()
    let room = batchTokens
    const active = this.#slots.filter((slot) => slot.running !== undefined)
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

  async #step(parts: readonly Part[]): Promise<void> {
    const started = this.#clock.monotonic()
    // All of them are called before any is awaited: that is what makes them one batch.
    const results = await Promise.all(
      parts.map(({ slot, running, tokens }) =>
        slot.sequence.controlledEvaluate(inputOf(running, tokens)),
      ),
    )
    let generated = 0
    for (const [at, part] of parts.entries()) {
      part.running.todo = part.running.todo.slice(part.tokens.length)
      if (part.running.todo.length > 0) continue
      generated++
      this.#take(part, results[at]?.at(-1)?.next.token ?? undefined)
    }
    this.#steps++
    const seconds = (this.#clock.monotonic() - started) / 1000
    if (generated > 0 && seconds > 0) {
      const weight = this.#rate === 0 ? 1 : RATE_WEIGHT
      this.#rate += weight * (generated / seconds - this.#rate)
    }
  }

  /** Takes the token that a slot was given, and frees the slot when it was the last. */
  #take({ slot, running }: Part, token: Token | undefined): void {
    if (token === undefined)
      throw new InferenceError('ENGINE_FAILED', 'the engine gave no token', { retryable: true })
    running.completionTokens++
    running.todo = [token]
    // An abort that came during the step: nobody wants the token.
    if (running.signal.aborted) return
    const goesOn = running.job.onToken(token)
    const { completionTokens, cachedTokens } = running
    if (goesOn && completionTokens < running.job.tokensMax) return
    slot.running = undefined
    running.resolve({ end: goesOn ? 'length' : 'stop', cachedTokens, completionTokens })
  }
}

/** The same call for prompts and answers: another would take other turns and break the batch. */
function inputOf(running: Running, tokens: readonly Token[]): ControlledEvaluateInputItem[] {
  const input: ControlledEvaluateInputItem[] = [...tokens]
  const last = tokens.at(-1)
  if (tokens.length < running.todo.length || last === undefined) return input
  const { seed, ...sampling } = running.job.sampling
  input[input.length - 1] = [
    last,
    {
      generateNext: {
        token: true,
        options: { ...sampling, seed: seedAt(seed, running.completionTokens) },
      },
    },
  ]
  return input
}
