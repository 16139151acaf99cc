/**
 * The golden self-test: what a model answers on a machine that computes well, held against this one.
 *
 * `NAME.golden.json` beside `NAME.gguf` belongs to the weights whose sha256 it names, and whoever made
 * them can publish it (`makeGolden`). For each prompt it has the first greedy tokens as UTF-8 bytes in hex, their
 * log-probabilities, and the margin by which each was ahead of the next one. Another graphics card
 * computes slightly other numbers, so these may differ by the tolerance, and where the margin is as small
 * as that the token may differ, too; what follows such a token is not compared. The prompts are public: this
 * finds broken weights, drivers and templates, not lies (that is what `audit` is for). A model without such
 * a file is served all the same. Tested by test/inference/selftest.ts.
 */
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { hex } from '../base/bytes.ts'
import type { Log } from '../base/log.ts'
import type { InferenceBackend } from './backend.ts'
import { InferenceError } from './errors.ts'
import type { GenerationRequest, TokenScore } from './request.ts'

const finite = z.number().max(0)

const Case = z.strictObject({
  /** A user's turn of a chat, or a text that goes on: one of them. */
  chat: z.string().exactOptional(),
  text: z.string().exactOptional(),
  /** Bytes of each token in hex. */
  tokens: z
    .array(z.string().regex(/^([0-9a-f]{2})*$/))
    .min(1)
    .max(256),
  logprobs: z.array(finite),
  /** Nats between the token and the next best one. */
  margins: z.array(z.number().min(0)),
})

const GoldenFile = z.strictObject({
  v: z.literal(1),
  /** Of the weights; of several files the hash over their hashes (digest.ts). */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Where the numbers were computed. */
  engine: z.string(),
  /** Nats. */
  tolerance: z.number().positive(),
  cases: z.array(Case).min(1).max(64),
})

export type Golden = z.infer<typeof GoldenFile>
type GoldenCase = z.infer<typeof Case>

/** What differs, without a word of a prompt or an answer. */
export interface Difference {
  /** Places in the file, from 0. */
  readonly of: number
  readonly position: number
  readonly what: 'token' | 'logprob' | 'end' | 'failed'
  /** Nats; of a token: the margin that it lost. */
  readonly by?: number
}

export interface SelfTest {
  /** `failed`: the backend is degraded and its owner should look at it. */
  readonly state: 'passed' | 'failed' | 'absent'
  readonly cases: number
  /** Tokens that were compared. */
  readonly tokens: number
  readonly differences: readonly Difference[]
}

const ABSENT: SelfTest = { state: 'absent', cases: 0, tokens: 0, differences: [] }

/** @param modelPath of the weights; of several files the first one */
export function goldenPath(modelPath: string): string {
  return `${modelPath.replace(/(-00001-of-\d{5})?\.gguf$/, '')}.golden.json`
}

/**
 * The file that belongs to the weights; undefined where there is none.
 * @throws InferenceError MODEL_LOAD: there is one and it cannot be read
 */
export async function readGolden(path: string): Promise<Golden | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined
    throw new InferenceError('MODEL_LOAD', `cannot read ${path}`, { cause })
  }
  try {
    const golden = GoldenFile.parse(JSON.parse(text))
    const isWhole = golden.cases.every(
      ({ chat, text: words, tokens, logprobs, margins }) =>
        (chat === undefined) !== (words === undefined) &&
        tokens.length === logprobs.length &&
        tokens.length === margins.length,
    )
    if (isWhole) return golden
  } catch (cause) {
    throw new InferenceError('MODEL_LOAD', `${path} is not a golden file`, { cause })
  }
  throw new InferenceError('MODEL_LOAD', `${path} is not a golden file: its lists differ in length`)
}

/**
 * Runs the self-test of a started backend, says loudly what differs, and lets it be served in any case.
 * @param options.sha256 of the weights; a file that names other ones is passed over, with a warning
 * @throws only `signal.reason`
 */
export async function selfTest(
  deps: { readonly backend: InferenceBackend; readonly log: Log },
  options: { readonly modelPath: string; readonly sha256: string; readonly signal: AbortSignal },
): Promise<SelfTest> {
  const { log } = deps
  const path = goldenPath(options.modelPath)
  let golden: Golden | undefined
  try {
    golden = await readGolden(path)
  } catch (err) {
    log.warn({ err, file: path }, 'golden file is not readable: no self-test')
  }
  if (golden === undefined) return ABSENT
  if (golden.sha256 !== options.sha256) {
    log.warn(
      { file: path, weights: options.sha256 },
      'golden file is of other weights: no self-test',
    )
    return ABSENT
  }
  const result = await compareGolden(deps.backend, golden, options.signal)
  const { cases, tokens, differences } = result
  if (result.state === 'passed') log.info({ cases, tokens }, 'self-test passed')
  else
    log.error(
      { cases, tokens, differences: differences.length, first: differences[0], file: path },
      'SELF-TEST FAILED: this model does not compute here what its golden file says',
    )
  return result
}

/** @throws only `signal.reason` */
export async function compareGolden(
  backend: InferenceBackend,
  golden: Golden,
  signal: AbortSignal,
): Promise<SelfTest> {
  const differences: Difference[] = []
  let tokens = 0
  for (const [of, one] of golden.cases.entries()) {
    try {
      const scores = await greedy(backend, one, one.tokens.length, 0, signal)
      const compared = compare(one, scores, golden.tolerance)
      tokens += compared.tokens
      differences.push(...compared.differences.map((difference) => ({ of, ...difference })))
    } catch {
      signal.throwIfAborted()
      differences.push({ of, position: 0, what: 'failed' })
    }
  }
  const state = differences.length === 0 ? 'passed' : 'failed'
  return { state, cases: golden.cases.length, tokens, differences }
}

function compare(
  { tokens, logprobs, margins }: GoldenCase,
  scores: readonly TokenScore[],
  tolerance: number,
): { tokens: number; differences: Omit<Difference, 'of'>[] } {
  const differences: Omit<Difference, 'of'>[] = []
  for (const [position, token] of tokens.entries()) {
    const score = scores[position]
    const margin = margins[position] ?? 0
    // Both of two close tokens may have moved by the tolerance.
    const isClose = margin <= 2 * tolerance
    if (score === undefined || hex(score.bytes) !== token) {
      const what = score === undefined ? 'end' : 'token'
      if (!isClose) differences.push({ position, what, by: margin })
      return { tokens: position, differences }
    }
    const by = Math.abs((score.logprob ?? 0) - (logprobs[position] ?? 0))
    if (!(by <= tolerance)) differences.push({ position, what: 'logprob', by })
  }
  return { tokens: tokens.length, differences }
}

/** How far numbers may move between devices before something is wrong, in nats. */
const TOLERANCE = 0.25
const DIGITS = 1e6

/**
 * The golden file of a backend that is known to compute well: made once, by whoever publishes the weights.
 * @param prompts `chat` is a user's turn, `text` goes on; answers of at most `tokensMax` tokens are kept
 */
export async function makeGolden(
  backend: InferenceBackend,
  prompts: readonly ({ readonly chat: string } | { readonly text: string })[],
  options: { readonly sha256: string; readonly tokensMax: number; readonly signal: AbortSignal },
): Promise<Golden> {
  const cases: GoldenCase[] = []
  for (const prompt of prompts) {
    const scores = await greedy(backend, prompt, options.tokensMax, 2, options.signal)
    cases.push({
      ...prompt,
      tokens: scores.map(({ bytes }) => hex(bytes)),
      logprobs: scores.map(({ logprob }) => Math.min(0, rounded(logprob ?? 0))),
      margins: scores.map(({ top }) =>
        rounded(Math.max(0, (top[0]?.logprob ?? 0) - (top[1]?.logprob ?? 0))),
      ),
    })
  }
  const { facts, device } = backend.info()
  const engine = `${facts.build ?? backend.kind}, ${device}`
  return { v: 1, sha256: options.sha256, engine, tolerance: TOLERANCE, cases }
}

function rounded(value: number): number {
  return Math.round(value * DIGITS) / DIGITS
}

async function greedy(
  backend: InferenceBackend,
  { chat, text }: { readonly chat?: string; readonly text?: string },
  maxTokens: number,
  topLogprobs: number,
  signal: AbortSignal,
): Promise<readonly TokenScore[]> {
  const wishes = { maxTokens, topLogprobs, temperature: 0, deterministic: true, stop: [] }
  const request: GenerationRequest =
    chat === undefined
      ? { ...wishes, kind: 'completion', prompt: text ?? '', echo: false }
      : {
          ...wishes,
          kind: 'chat',
          messages: [{ role: 'user', content: chat }],
          tools: [],
          toolChoice: 'none',
          parallelToolCalls: true,
          format: { kind: 'text' },
        }
  const { scores = [] } = await backend.generate(request, { signal })
  // The token by which a text ended is scored, and is not part of it.
  return scores.at(-1)?.bytes.length === 0 ? scores.slice(0, -1) : scores
}
