/**
 * The step loop: every request of the engine moves on by one token (or one piece of its prompt) a step.
 *
 * All slots of a step are handed to node-llama-cpp in ascending order within one tick, so that they become
 * one batch and llama.cpp, which only joins sequences whose numbers follow one another, reads the
 * weights once for all of them. New requests take the lowest free slot for the same reason. Left to
 * itself the library splits such a batch, which halves the throughput of eight streams. Pieces of several lengths
 * are several batches (plan.ts).
 *
 * Prompts go in pieces of a fixed size, so that a long one doesn't stall the others, and a piece is never
 * cut to fit: what is computed for a request does not depend on its neighbours. What a slot still holds
 * of the last conversation is not computed again. Tested by test/inference/llamacpp/steps.ts.
 */
import type { Token } from 'node-llama-cpp'
import type { Clock } from '../../base/clock.ts'
import { assert } from '../../base/errors.ts'
import { InferenceError } from '../errors.ts'
import { inputOf, type Job, type Outcome, promptScores, type Result, type Sequence } from './job.ts'
import type { Picker } from './picker.ts'
import {
  chooseSlot,
  evenly,
  heldBy,
  type Part,
  planStep,
  type Running,
  type Slot,
  type StepOptions,
} from './plan.ts'

type Waiting = Pick<Running, 'job' | 'signal' | 'resolve' | 'reject'> & {
  /** The only one that will do. */
  readonly slot?: Slot
}

export const STEP_DEFAULTS = {
  chunkTokens: 128,
  batchTokens: 512,
  reuseTokensMin: 32,
} satisfies StepOptions

/** Any token will do. */
const PROBE: Picker = {
  ask: () => ({ token: true, options: { temperature: 0 } }),
  pick: (_position, { token }) => ({ token: token ?? (0 as Token) }),
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
    this.#slots = deps.sequences.map((sequence) => ({
      sequence,
      running: undefined,
      whole: 0,
      turn: 0,
    }))
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
    return this.#enqueue({ job, signal })
  }

  /**
   * If there is nothing to do: evaluates the last token of the slot that holds the least once more (`spare`,
   * where it holds none), so that nothing is lost by it. Ends when the engine has done it.
   */
  async probe(spare: Token): Promise<void> {
    const holds = (slot: Slot) => slot.sequence.nextTokenIndex
    const [slot] = this.#slots.toSorted((a, b) => holds(a) - holds(b))
    if (this.active > 0 || slot === undefined) return
    const held = slot.sequence.contextTokens
    const job: Job = {
      prompt: held.length === 0 ? [spare] : held,
      tokensMax: 1,
      picker: PROBE,
      isExact: false,
      isAlone: false,
      onToken: () => 'end',
    }
    await this.#enqueue({ job, slot, signal: new AbortController().signal })
  }

  #enqueue(what: Pick<Waiting, 'job' | 'signal' | 'slot'>): Promise<Outcome> {
    assert(what.job.prompt.length > 0, 'a job has a prompt')
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...what, resolve, reject })
      if (!this.#looping) void this.#loop()
    })
  }

  async #loop(): Promise<void> {
    this.#looping = true
    try {
      for (;;) {
        this.#dropAborted()
        await this.#admit()
        const parts = planStep(this.#slots, this.#options)
        for (const some of evenly(parts)) await this.#step(some)
        if (parts.length > 0) continue
        // Somebody may have come while the last ones were let in.
        if (this.#waiting.length === 0) break
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
      const { job } = waiting
      // The last token is always evaluated: without it there is nothing to pick from.
      const known = job.scorePrompt === undefined ? job.prompt.slice(0, -1) : []
      const exact = job.isExact ? this.#options.chunkTokens : undefined
      const slot = waiting.slot ?? chooseSlot(free, known, { exact, ...this.#options })
      const running = { ...waiting, todo: job.prompt, cachedTokens: 0, completionTokens: 0 }
      slot.running = running
      slot.turn = this.#turns++
      await slot.sequence.adaptStateToTokens(known.slice(0, heldBy(slot, known, exact)), false)
      running.cachedTokens = slot.sequence.nextTokenIndex
      running.todo = job.prompt.slice(running.cachedTokens)
      slot.whole = Math.min(slot.whole, running.cachedTokens)
    }
  }

  async #step(parts: readonly Part[]): Promise<void> {
    const started = this.#clock.monotonic()
    const calls = parts.flatMap((part) => {
      const input = ofOne(part, () => inputOf(part.running, part.tokens))
      return input === undefined ? [] : [{ part, input }]
    })
    // All of them are called before any is awaited: that is what makes them one batch.
    const results = await Promise.all(
      calls.map(({ part, input }) => part.slot.sequence.controlledEvaluate(input)),
    )
    let generated = 0
    for (const [at, { part }] of calls.entries()) {
      if (ofOne(part, () => this.#take(part, results[at] ?? [])) === true) generated++
    }
    this.#steps++
    const seconds = (this.#clock.monotonic() - started) / 1000
    if (generated > 0 && seconds > 0) {
      const weight = this.#rate === 0 ? 1 : RATE_WEIGHT
      this.#rate += weight * (generated / seconds - this.#rate)
    }
  }

  /** What a step gave to one slot. @returns whether that was a token of an answer */
  #take({ slot, running, tokens }: Part, results: readonly Result[]): boolean {
    const { job } = running
    const isPrompt = running.completionTokens === 0
    const read = job.prompt.length - running.todo.length
    if (isPrompt && job.scorePrompt !== undefined)
      job.onPrompt?.(promptScores(job, read, tokens, results))
    running.todo = running.todo.slice(tokens.length)
    const { chunkTokens } = this.#options
    if (isPrompt && slot.whole === read && tokens.length === chunkTokens) slot.whole += chunkTokens
    if (running.todo.length > 0) return false
    if (job.tokensMax === 0) {
      this.#end(slot, running, 'length')
      return false
    }
    const next = results.at(-1)?.next
    if (next === undefined)
      throw new InferenceError('ENGINE_FAILED', 'the engine gave no token', { retryable: true })
    const picked = job.picker.pick(running.completionTokens, next)
    running.completionTokens++
    running.todo = [picked.token]
    // An abort that came during the step: nobody wants the token.
    if (running.signal.aborted) return true
    const verdict = job.onToken(picked)
    if (verdict === 'end') this.#end(slot, running, 'stop')
    else {
      if (verdict !== 'go on') {
        running.todo = [picked.token, ...verdict]
        const { completionTokens } = running
        running.completionTokens = Math.min(completionTokens + verdict.length, job.tokensMax)
      }
      if (running.completionTokens >= job.tokensMax) this.#end(slot, running, 'length')
    }
    return true
  }

  #end(slot: Slot, running: Running, end: Outcome['end']): void {
    slot.running = undefined
    const { cachedTokens, completionTokens } = running
    running.resolve({ end, cachedTokens, completionTokens })
  }
}

/** A fault of this answer ends it; the others go on. */
function ofOne<T>({ slot, running }: Part, work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    slot.running = undefined
    running.reject(error)
    return undefined
  }
}
