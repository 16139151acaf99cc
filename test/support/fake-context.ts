/** A context of a fake engine, and a step loop over it. */
import type { ControlledEvaluateInputItem, Token } from 'node-llama-cpp'
import type { Job, Outcome, Sequence } from '../../src/inference/llamacpp/job.ts'
import type { Picker } from '../../src/inference/llamacpp/picker.ts'
import type { StepOptions } from '../../src/inference/llamacpp/plan.ts'
import { STEP_DEFAULTS, StepLoop } from '../../src/inference/llamacpp/steps.ts'
import { ManualClock } from './clock.ts'

/** Says at which position it asks, in the field for a seed, and takes what comes. */
const PICKER: Picker = {
  ask: (position) => ({ token: true, options: { seed: position } }),
  pick: (_position, { token }) => ({ token: token as Token }),
}

/** What one sequence got in one batch. */
export interface Row {
  readonly slot: number
  readonly tokens: readonly number[]
  /** The position, where a token was asked for. */
  readonly seed: number | undefined
}

/**
 * A context that decodes what is queued in one tick as one batch, as node-llama-cpp does. The next token is
 * 1 + the one before.
 */
export class FakeContext {
  readonly batches: Row[][] = []
  /** Called before a batch is answered. */
  onBatch: (batch: readonly Row[]) => void = () => {}
  #queued: { row: Row; answer: () => void; fail: (error: unknown) => void }[] = []

  sequence(slot: number): Sequence & { held: Token[] } {
    const context = this
    const sequence = {
      held: [] as Token[],
      get contextTokens() {
        return [...sequence.held]
      },
      get nextTokenIndex() {
        return sequence.held.length
      },
      compareContextTokens(tokens: Token[]) {
        const at = sequence.held.findIndex((token, i) => token !== tokens[i])
        return { firstDifferentIndex: at === -1 ? sequence.held.length : at }
      },
      async adaptStateToTokens(tokens: Token[]) {
        sequence.held.length = sequence.compareContextTokens(tokens).firstDifferentIndex
      },
      async controlledEvaluate(input: ControlledEvaluateInputItem[]) {
        const tokens = input.map((item) => (Array.isArray(item) ? item[0] : item))
        const asked = input.flatMap((item) => (Array.isArray(item) ? [item[1]] : [])).at(-1)
        await context.#decode({ slot, tokens, seed: asked?.generateNext?.options?.seed })
        sequence.held.push(...tokens)
        return input.map((item) => {
          if (!Array.isArray(item)) return undefined
          const next = (item[0] + 1) as Token
          // Half of all weight is the likeliest one's.
          const wanted = item[1].generateNext?.logits
          const others = typeof wanted === 'object' ? wanted.filter.tokens : []
          const logits = new Map([...others.map((token) => [token, 0] as const), [next, 1]])
          return { next: { token: next, logits, totalLogitWeight: 2 } }
        })
      },
    }
    return sequence
  }

  #decode(row: Row): Promise<void> {
    return new Promise((answer, fail) => {
      if (this.#queued.push({ row, answer, fail }) > 1) return
      setImmediate(() => {
        const queued = this.#queued
        this.#queued = []
        const batch = queued.map((item) => item.row)
        this.batches.push(batch)
        try {
          this.onBatch(batch)
          for (const item of queued) item.answer()
        } catch (error) {
          for (const item of queued) item.fail(error)
        }
      })
    })
  }
}

type OnToken = (token: Token) => ReturnType<Job['onToken']>

export function setUp(slots: number, options: Partial<StepOptions> = {}) {
  const context = new FakeContext()
  const sequences = Array.from({ length: slots }, (_, slot) => context.sequence(slot))
  const clock = new ManualClock()
  const loop = new StepLoop({ sequences, clock }, { ...STEP_DEFAULTS, ...options })
  const heard: number[][] = []
  const run = (
    prompt: readonly number[],
    tokensMax: number,
    more: Partial<Omit<Job, 'onToken'>> & { signal?: AbortSignal; onToken?: OnToken } = {},
  ): Promise<Outcome> => {
    const mine: number[] = []
    heard.push(mine)
    const { signal, onToken, ...job } = more
    return loop.run(
      {
        prompt: prompt as Token[],
        tokensMax,
        picker: PICKER,
        isExact: false,
        isAlone: false,
        ...job,
        onToken({ token }) {
          mine.push(token)
          return onToken?.(token) ?? 'go on'
        },
      },
      signal ?? new AbortController().signal,
    )
  }
  return { context, sequences, clock, loop, heard, run }
}

export const slotsOf = (batch: readonly Row[] | undefined) => batch?.map((row) => row.slot)
export const upTo = (n: number, from = 1) => Array.from({ length: n }, (_, i) => from + i)
