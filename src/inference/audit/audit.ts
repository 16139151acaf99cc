/**
 * A third party's check of a supplier: fresh questions, greedy answers, and what the same weights think
 * of them here.
 *
 * It shows that what answered these questions computes as those weights do. It does not show that
 * others are answered by them, too, nor where. Tested by test/inference/audit.ts.
 */
import { hex, sha256, utf8 } from '../../base/bytes.ts'
import type { InferenceBackend } from '../backend.ts'
import { InferenceError } from '../errors.ts'
import { isObject } from '../json.ts'
import type { JsonObject } from '../request.ts'
import { newQuestion, type Question } from './question.ts'
import { type Scored, scoreAnswer } from './score.ts'
import type { Heard, Target } from './target.ts'
import type { TokenIds } from './tokens.ts'
import { judge, type Measures, measure, type Verdict } from './verdict.ts'

export interface AuditDeps {
  /** Runs the weights here; started. */
  readonly backend: InferenceBackend
  readonly ids: TokenIds
  readonly target: Target
  /** At least 0 and below 1. */
  readonly random: () => number
}

export interface AuditOptions {
  /** Questions to ask. */
  readonly questions: number
  /** Of the weights, in hex. */
  readonly sha256: string
  /** The weights have a chat template of their own. */
  readonly hasTemplate: boolean
  readonly signal: AbortSignal
  /** After each question. */
  readonly onProgress?: (done: number) => void
}

export interface AuditReport {
  readonly verdict: Verdict
  readonly reasons: readonly string[]
  /** Of the weights here. */
  readonly sha256: string
  /** What the server states of its weights; absent: nothing. */
  readonly claimed?: string
  /** All that it states, as it came. */
  readonly manifest?: JsonObject
  readonly models: readonly string[]
  readonly measures: Measures
  /** One for each question. */
  readonly questions: readonly QuestionReport[]
}

export interface QuestionReport {
  readonly kind: Question['kind']
  /** Tokens that were compared. */
  readonly tokens: number
  readonly matchedPrefix: number
  /** Mean difference of log-probabilities over tokens that were not plain, in nats. */
  readonly difference?: number
  /** Why nothing was compared. */
  readonly skipped?: string
}

/** So many failures in a row end it early. */
const FAILURES_MAX = 3
const REPEATS_MAX = 8

/** @throws `signal.reason`; what the local backend throws. The server's failures are reasons. */
export async function audit(deps: AuditDeps, options: AuditOptions): Promise<AuditReport> {
  const { target } = deps
  const { signal } = options
  const failures = new Set<string>()
  const manifest = await told(target.manifest(signal), signal, failures)
  const models = await told(target.models(signal), signal, failures)
  const asked = await ask(deps, options, failures)
  const scored = asked.flatMap((one) => (typeof one.scored === 'string' ? [] : [one.scored]))
  const answers = asked.flatMap(({ heard }) => (heard === undefined ? [] : [heard]))
  const claimed = claimOf(manifest) ?? claimOf(answers[0]?.manifest)
  const { verdict, reasons } = judge({
    scored,
    ...(claimed === undefined ? {} : { claimed }),
    sha256: options.sha256,
    untrue: untrue(manifest, answers),
  })
  return {
    verdict,
    reasons: [...reasons, ...failures],
    sha256: options.sha256,
    ...(claimed === undefined ? {} : { claimed }),
    ...(manifest === undefined ? {} : { manifest }),
    models: models ?? [],
    measures: measure(scored),
    questions: asked.map(reportOf),
  }
}

/** Undefined where the server failed, which is noted. */
async function told<T>(
  work: Promise<T>,
  signal: AbortSignal,
  failures: Set<string>,
): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof InferenceError)) throw error
    failures.add(error.message)
    return undefined
  }
}

interface Asked {
  readonly question: Question
  readonly heard?: Heard
  readonly scored: Scored | string
}

async function ask(
  deps: AuditDeps,
  { questions, hasTemplate, signal, onProgress }: AuditOptions,
  failures: Set<string>,
): Promise<readonly Asked[]> {
  const { target, ids } = deps
  const asked: Asked[] = []
  const texts = new Set<string>()
  let failed = 0
  while (asked.length < questions && failed < FAILURES_MAX) {
    const kind = hasTemplate && asked.length % 2 === 1 ? 'chat' : 'text'
    let question = await newQuestion({ ...deps, words: ids.words }, kind, signal)
    // Small models repeat themselves.
    for (let more = 0; texts.has(question.text) && more < REPEATS_MAX; more++)
      question = await newQuestion({ ...deps, words: ids.words }, kind, signal)
    texts.add(question.text)
    const heard = await told(target.answer(question, signal), signal, failures)
    failed = heard === undefined ? failed + 1 : 0
    asked.push(
      heard === undefined
        ? { question, scored: 'no answer' }
        : { question, heard, scored: await scoreAnswer(deps, question, heard, signal) },
    )
    onProgress?.(asked.length)
  }
  return asked
}

function claimOf(manifest: JsonObject | undefined): string | undefined {
  const model = manifest?.['model']
  const claimed = isObject(model) ? model['sha256'] : undefined
  return typeof claimed === 'string' && /^[0-9a-f]{64}$/.test(claimed) ? claimed : undefined
}

/** What the server says about itself and what it sends don't go together. */
function untrue(manifest: JsonObject | undefined, answers: readonly Heard[]): string[] {
  const found = new Set<string>()
  const claimed = claimOf(manifest)
  for (const { text, manifest: said } of answers) {
    if (said === undefined) continue
    const here = claimOf(said)
    if (claimed !== undefined && here !== undefined && here !== claimed)
      found.add(`one answer states other weights (sha256 ${here}) than its manifest (${claimed})`)
    const output = said['out_sha256']
    if (typeof output === 'string' && output !== hex(sha256(utf8(text))))
      found.add('the hash in an answer is not that of its text')
  }
  return [...found]
}

function reportOf({ question: { kind }, scored }: Asked): QuestionReport {
  if (typeof scored === 'string') return { kind, tokens: 0, matchedPrefix: 0, skipped: scored }
  const { tokens, difference } = measure([scored])
  return {
    kind,
    tokens,
    matchedPrefix: scored.matchedPrefix,
    ...(difference === undefined ? {} : { difference: difference.mean }),
  }
}
