/**
 * What the numbers of an audit mean. Pure.
 *
 * Two figures are judged, each with twice its standard error. The difference of log-probabilities, over
 * tokens that were not plain to the weights (a certain token is certain in every model): other devices and
 * batches move it by hundredths of a nat, a coarser quantisation by tenths, another model by whole ones. And
 * the regret, over all tokens: how much likelier another token was than the one that a greedy answer
 * has; it is nearly nothing unless other weights chose. What lies between the limits is not judged: an
 * honest supplier must never be called a liar. Tested by test/inference/audit/verdict.ts.
 */
import type { Scored } from './score.ts'

export type Verdict = 'consistent' | 'inconsistent' | 'cannot tell'

export const AUDIT_LIMITS = {
  /** Fewer tokens say nothing. */
  tokensMin: 48,
  /** Of these, such that were not plain. */
  openMin: 24,
  /** A token is plain to the weights above this probability's logarithm (0.95). */
  plainAbove: -0.05,
  /** Nats, of the mean difference of log-probabilities. */
  differenceConsistent: 0.05,
  differenceInconsistent: 0.12,
  /** Nats, of the mean regret. */
  regretConsistent: 0.03,
  regretInconsistent: 0.2,
} as const

export interface Mean {
  readonly mean: number
  /** Twice the standard error. */
  readonly margin: number
}

export interface Measures {
  readonly answers: number
  readonly tokens: number
  /** Of them, with a log-probability of the server. */
  readonly given: number
  /** Of those, such that were not plain. */
  readonly open: number
  /** Of those; absent: there are none. */
  readonly difference?: Mean
  /** Absent: no tokens. */
  readonly regret?: Mean
  /** Share of tokens that the weights would have chosen, too. */
  readonly agreement: number
  /** Of an answer, on average: tokens before the first that they would not. */
  readonly matchedPrefix: number
}

export function measure(scored: readonly Scored[]): Measures {
  const positions = scored.flatMap((one) => one.positions)
  const given = positions.filter(({ theirs }) => theirs !== undefined)
  const open = given.filter(({ ours }) => ours < AUDIT_LIMITS.plainAbove)
  const difference = meanOf(open.map(({ ours, theirs = ours }) => Math.abs(theirs - ours)))
  const regrets = positions.map(({ ours, best }) => best - ours)
  const regret = meanOf(regrets)
  const agreed = regrets.filter((one) => one < 1e-6).length
  const matched = meanOf(scored.map(({ matchedPrefix }) => matchedPrefix))
  return {
    answers: scored.length,
    tokens: positions.length,
    given: given.length,
    open: open.length,
    ...(difference === undefined ? {} : { difference }),
    ...(regret === undefined ? {} : { regret }),
    agreement: positions.length === 0 ? 0 : agreed / positions.length,
    matchedPrefix: matched?.mean ?? 0,
  }
}

function meanOf(values: readonly number[]): Mean | undefined {
  if (values.length === 0) return undefined
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  const variance = values.length === 1 ? 0 : squares / (values.length - 1)
  return { mean, margin: 2 * Math.sqrt(variance / values.length) }
}

export interface Judged {
  readonly verdict: Verdict
  readonly reasons: readonly string[]
}

/** The numbers alone. */
export function judgeMeasures({ tokens, given, open, difference, regret }: Measures): Judged {
  const limits = AUDIT_LIMITS
  const unclear = (reason: string): Judged => ({ verdict: 'cannot tell', reasons: [reason] })
  if (tokens < limits.tokensMin || regret === undefined)
    return unclear(
      `only ${tokens} tokens could be compared; at least ${limits.tokensMin} are needed`,
    )
  if (regret.mean - regret.margin >= limits.regretInconsistent)
    return {
      verdict: 'inconsistent',
      reasons: [
        `these weights would have chosen other tokens, by ${nats(regret)} on average: other weights, or not greedy`,
      ],
    }
  if (given === 0)
    return unclear(
      'the server gives no log-probabilities, and its text alone does not tell quantisations apart',
    )
  if (difference === undefined || open < limits.openMin)
    return unclear(`only ${open} tokens were not plain; at least ${limits.openMin} are needed`)
  if (difference.mean - difference.margin >= limits.differenceInconsistent)
    return {
      verdict: 'inconsistent',
      reasons: [`log-probabilities differ by ${nats(difference)}, more than devices explain`],
    }
  const isNear = difference.mean + difference.margin <= limits.differenceConsistent
  if (isNear && regret.mean <= limits.regretConsistent)
    return { verdict: 'consistent', reasons: [`log-probabilities differ by ${nats(difference)}`] }
  return unclear(
    `log-probabilities differ by ${nats(difference)}: too much for the same weights to be certain, too little for others`,
  )
}

function nats({ mean, margin }: Mean): string {
  return `${mean.toFixed(4)} ± ${margin.toFixed(4)} nats`
}

/** What an audit has seen. */
export interface Evidence {
  readonly scored: readonly Scored[]
  /** The sha256 that the server states; absent: none. */
  readonly claimed?: string
  /** Of the file that it is held against. */
  readonly sha256: string
  /** Statements that the answers themselves disprove. */
  readonly untrue: readonly string[]
}

/** Completions come first: they depend on the weights alone, chats on the template as well. */
export function judge({ scored, claimed, sha256, untrue }: Evidence): Judged {
  if (untrue.length > 0) return { verdict: 'inconsistent', reasons: untrue }
  const texts = judgeMeasures(measure(scored.filter(({ kind }) => kind === 'text')))
  const chats = judgeMeasures(measure(scored.filter(({ kind }) => kind === 'chat')))
  const together = judgeMeasures(measure(scored))
  const judged = withChats({ texts, chats, together })
  if (claimed !== undefined && claimed !== sha256) {
    const other = `the server states other weights (sha256 ${claimed}): check it against those`
    return { verdict: 'cannot tell', reasons: [other, ...judged.reasons] }
  }
  const silent = claimed === undefined ? ['the server does not state which weights run'] : []
  return { verdict: judged.verdict, reasons: [...judged.reasons, ...silent] }
}

function withChats(judged: Record<'texts' | 'chats' | 'together', Judged>): Judged {
  const { texts, chats, together } = judged
  if (texts.verdict === 'consistent' && chats.verdict === 'inconsistent')
    return {
      verdict: 'cannot tell',
      reasons: [
        'texts go on as these weights would, chats do not: another template, or instructions before the conversation',
      ],
    }
  return texts.verdict === 'cannot tell' ? together : texts
}
