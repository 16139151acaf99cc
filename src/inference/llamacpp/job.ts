/**
 * What the step loop is given to do, and how one step of it is put to the engine.
 *
 * Tested by test/inference/llamacpp/steps.ts.
 */
import type {
  ControlledEvaluateIndexOutput,
  ControlledEvaluateInputItem,
  Token,
} from 'node-llama-cpp'
import type { Picked, Picker } from './picker.ts'
import { askWeighed, type Score, scaleOf, scoreOf } from './scores.ts'

/** What is used of a LlamaContextSequence. */
export interface Sequence {
  readonly nextTokenIndex: number
  /** What it holds. */
  readonly contextTokens: Token[]
  compareContextTokens(tokens: Token[]): { firstDifferentIndex: number }
  adaptStateToTokens(tokens: Token[], allowShift: boolean): Promise<void>
  controlledEvaluate(
    input: ControlledEvaluateInputItem[],
  ): Promise<(ControlledEvaluateIndexOutput | undefined)[]>
}

export interface Job {
  /** At least one token. */
  readonly prompt: readonly Token[]
  /** With the prompt not more than the context holds; 0 only reads the prompt. */
  readonly tokensMax: number
  readonly picker: Picker
  /** Present: every token of the prompt is scored, with so many of the likeliest beside it. */
  readonly scorePrompt?: number
  /**
   * The answer must not depend on what the slot held before: only such work is taken over as would be
   * done in the same pieces again.
   */
  readonly isExact: boolean
  /** Nothing else is decoded while this is, for hardware on which neighbours change results. */
  readonly isAlone: boolean
  /** Called for every generated token; may end the answer or force how it goes on. */
  onToken(picked: Picked): Verdict
  /** Called for every piece of a prompt that is scored, in order; the first token has no score. */
  onPrompt?(scores: readonly Score[]): void
}

/** `end`: this was the last token. Tokens: the answer goes on with these, whatever the model thinks. */
export type Verdict = 'go on' | 'end' | readonly Token[]

export interface Outcome {
  readonly end: 'stop' | 'length'
  /** Tokens of the prompt that the slot still held. */
  readonly cachedTokens: number
  readonly completionTokens: number
}

export type Result = ControlledEvaluateIndexOutput | undefined

/** How far a job has come. */
export interface Progress {
  readonly job: Job
  /** Tokens that the next steps evaluate: the rest of the prompt, or the last ones of the answer. */
  readonly todo: readonly Token[]
  readonly completionTokens: number
}

/** Tokens of the prompt that were read. */
export function readOf({ job, todo }: Progress): number {
  return job.prompt.length - todo.length
}

/**
 * The call for the first `tokens` of what is to do. The same call for prompts and answers: another would
 * take other turns and break the batch.
 */
export function inputOf(
  progress: Progress,
  tokens: readonly Token[],
): ControlledEvaluateInputItem[] {
  const { job, todo, completionTokens } = progress
  const read = completionTokens === 0 ? readOf(progress) : undefined
  const isLast = tokens.length === todo.length
  return tokens.map((token, at) => {
    if (isLast && at === tokens.length - 1)
      return job.tokensMax === 0
        ? token
        : [token, { generateNext: job.picker.ask(completionTokens) }]
    const scored = read === undefined ? undefined : job.prompt[read + at + 1]
    if (job.scorePrompt === undefined || scored === undefined) return token
    return [token, { generateNext: askWeighed(job.scorePrompt, [scored]) }]
  })
}

/**
 * The scores that a piece of the prompt gave: of the tokens after each of its own, but for the first of
 * all, which has none. @param read tokens of the prompt before the piece
 */
export function promptScores(
  { prompt, scorePrompt = 0 }: Job,
  read: number,
  tokens: readonly Token[],
  results: readonly Result[],
): Score[] {
  const scores: Score[] = []
  const [first] = tokens
  if (read === 0 && first !== undefined) scores.push({ token: first, logprob: null, top: [] })
  for (const at of tokens.keys()) {
    const token = prompt[read + at + 1]
    const next = results[at]?.next
    if (token === undefined || next === undefined) continue
    scores.push(scoreOf(token, next, scaleOf(next), scorePrompt))
  }
  return scores
}
