/**
 * Picks the next token from exact numbers, in JavaScript: the same on every machine that has the same
 * logits, and with the log-probability of what was picked.
 *
 * The engine is asked for the likeliest tokens with their raw logits; after that nothing depends on its
 * sampler, whose chance differs between platforms. Order as in llama.cpp: bias and penalties, grammar, top-k,
 * top-p, min-p, temperature. Chance is one number for each position: SplitMix64 of (seed, position), turned
 * into a place on the cumulative distribution of the candidates, likeliest first, lower token first among
 * equals. This is `icdf-v1` of the manifest; test/vectors/icdf.json has examples of it.
 * Log-probabilities are those of the model's own distribution, before any of that.
 * Tested by test/inference/llamacpp/picker.ts.
 */
import type { Token } from 'node-llama-cpp'
import { type PickSettings, seedAt, uniform } from './sampling.ts'
import {
  askLikeliest,
  askWeighed,
  type GenerateNext,
  type NextOutput,
  noToken,
  type Score,
  scaleOf,
  scoreOf,
} from './scores.ts'
import type { Vocabulary } from './vocabulary.ts'

export interface Picked {
  readonly token: Token
  readonly score?: Score
}

/** Says which text may come next. */
export interface Constraint {
  /** Whether the answer may go on with these bytes, and end within `room` more. Changes nothing. */
  allows(bytes: Uint8Array, room?: number): boolean
  /** The answer goes on with these bytes, which were allowed. */
  advance(bytes: Uint8Array): void
  /** Whether the answer may end here. */
  readonly canEnd: boolean
  /** Bytes that it still needs, at least. */
  readonly least: number
}

/** Candidates beyond these are not looked at: they are less likely than chance would find. */
const CANDIDATES_MAX = 1_024
/** Of so many equal ones the engine may put any in front. */
const TIES = 4
/** As far back as a repeat penalty looks. */
const REPEAT_WINDOW = 64

interface Candidate {
  readonly token: Token
  logit: number
}

/** How one answer's tokens are picked, position by position from 0 on. */
export interface Picker {
  /** What to ask of the engine for the token at `position`. */
  ask(position: number): GenerateNext
  /** @throws InferenceError ENGINE_FAILED where the engine gave nothing */
  pick(position: number, next: NextOutput): Picked
}

/** The engine's own sampler. */
export class EnginePicker implements Picker {
  readonly #settings: PickSettings

  constructor(settings: PickSettings) {
    this.#settings = settings
  }

  ask(position: number): GenerateNext {
    const { temperature, topP, topK, minP, seed } = this.#settings
    const uint32 = Number(BigInt.asUintN(32, seed))
    return {
      token: true,
      options: { temperature, topP, topK, minP, seed: seedAt(uint32, position) },
    }
  }

  pick(_position: number, { token }: NextOutput): Picked {
    if (token === undefined || token === null) throw noToken('the engine gave no token')
    return { token }
  }
}

export class ExactPicker implements Picker {
  readonly #vocabulary: Vocabulary
  readonly #settings: PickSettings
  readonly #constraint: Constraint | undefined
  /** Of the answer so far. */
  readonly #counts = new Map<number, number>()
  readonly #recent: number[]
  /** Tokens whose logits are needed though they may not be likely: they are made likelier. */
  #raised: readonly Token[] = []
  /** So many of the likeliest are candidates. */
  #wanted = 0
  /** Tokens of the answer, if they are enough to end what it has to be. */
  readonly #tokensMax: number | undefined
  #isCropped = false

  /**
   * @param options.prompt what a repeat penalty looks back at, too
   * @param options.tokensMax what is held to a grammar ends by itself before so many tokens, where it can
   */
  constructor(
    deps: { vocabulary: Vocabulary; constraint: Constraint | undefined },
    settings: PickSettings,
    { prompt = [], tokensMax }: { prompt?: readonly Token[]; tokensMax?: number } = {},
  ) {
    const { constraint } = deps
    const isEnough = constraint !== undefined && constraint.least < (tokensMax ?? 0)
    this.#tokensMax = isEnough ? tokensMax : undefined
    this.#vocabulary = deps.vocabulary
    this.#constraint = deps.constraint
    this.#settings = settings
    this.#recent = prompt.slice(-REPEAT_WINDOW)
  }

  /** The answer would have gone on, but for its last tokens. */
  get isCropped(): boolean {
    return this.#isCropped
  }

  ask(position: number): GenerateNext {
    const { temperature, topK, topLogprobs } = this.#settings
    const { raised, lowered } = this.#changed()
    const least = temperature === 0 ? TIES : topK
    const isOpen = least === 0 || this.#constraint !== undefined
    this.#raised = raised
    // Those that were made less likely may still be in front of the ones that are needed.
    this.#wanted = isOpen ? CANDIDATES_MAX : Math.min(CANDIDATES_MAX, least + lowered)
    if (topLogprobs === undefined && raised.length === 0) return askLikeliest(this.#wanted)
    // The one that is picked needs a logit, and a grammar may leave nothing that is likely.
    const spare = topLogprobs === undefined ? undefined : this.#spare(position)
    const isPlain = temperature === 0 && this.#wanted === TIES && raised.length === 0
    return askWeighed(
      isPlain ? (topLogprobs ?? 0) : Math.max(this.#wanted, topLogprobs ?? 0),
      spare === undefined ? raised : [...raised, spare],
    )
  }

  pick(position: number, next: NextOutput): Picked {
    const { topLogprobs } = this.#settings
    const token = this.#choose(this.#candidates(next), position)
    const score =
      topLogprobs === undefined ? undefined : scoreOf(token, next, scaleOf(next), topLogprobs)
    this.#note(token)
    return score === undefined ? { token } : { token, score }
  }

  /** Which tokens were made likelier, and how many less likely, than the model has them. */
  #changed(): { raised: Token[]; lowered: number } {
    const { logitBias, frequencyPenalty, presencePenalty, repeatPenalty } = this.#settings
    const { size } = this.#vocabulary
    const raised = new Set<Token>()
    const lowered = new Set<number>()
    const change = (token: number, isRaised: boolean) => {
      if (isRaised && token < size) raised.add(token as Token)
      else lowered.add(token)
    }
    for (const [token, bias] of logitBias) change(token, bias > 0)
    if (frequencyPenalty !== 0 || presencePenalty !== 0)
      for (const [token, count] of this.#counts)
        change(token, count * frequencyPenalty + presencePenalty < 0)
    if (repeatPenalty !== 1) for (const token of this.#recent) change(token, repeatPenalty < 1)
    return { raised: [...raised], lowered: lowered.size }
  }

  /** With bias and penalties, likeliest first; of equals the lower token. */
  #candidates({ logits = new Map<Token, number>() }: NextOutput): Candidate[] {
    const { topLogprobs = 0, logitBias } = this.#settings
    const { frequencyPenalty, presencePenalty, repeatPenalty } = this.#settings
    const recent = repeatPenalty === 1 ? undefined : new Set(this.#recent)
    // The likeliest come first; what follows is there for other reasons.
    const candidates: Candidate[] = []
    for (const [token, logit] of logits) {
      if (candidates.length >= Math.max(1, this.#wanted, topLogprobs)) break
      candidates.push({ token, logit })
    }
    const known = new Set(candidates.map(({ token }) => token))
    for (const token of this.#raised) {
      const logit = logits.get(token)
      if (logit !== undefined && !known.has(token)) candidates.push({ token, logit })
    }
    for (const candidate of candidates) {
      const { token } = candidate
      candidate.logit += logitBias.get(token) ?? 0
      if (recent?.has(token) === true)
        candidate.logit =
          candidate.logit > 0 ? candidate.logit / repeatPenalty : candidate.logit * repeatPenalty
      const count = this.#counts.get(token) ?? 0
      if (count > 0) candidate.logit -= count * frequencyPenalty + presencePenalty
    }
    return candidates.sort((a, b) => b.logit - a.logit || a.token - b.token)
  }

  #choose(ordered: readonly Candidate[], position: number): Token {
    const { temperature, seed } = this.#settings
    const allowed = this.#constraint === undefined ? ordered : this.#allowed(ordered, position)
    const best = allowed[0]
    if (best === undefined) {
      const spare = this.#spare(position)
      if (spare === undefined) throw noToken('no token fits the format of the answer')
      return spare
    }
    if (temperature === 0) return best.token
    const kept = this.#truncated(allowed)
    const weights = kept.map(({ logit }) => Math.exp((logit - best.logit) / temperature))
    let left = uniform(seed, position) * weights.reduce((sum, weight) => sum + weight, 0)
    for (const [at, weight] of weights.entries()) {
      left -= weight
      const candidate = kept[at]
      if (left < 0 && candidate !== undefined) return candidate.token
    }
    return kept.at(-1)?.token ?? best.token
  }

  /** No more than are looked at. */
  #allowed(ordered: readonly Candidate[], position: number): Candidate[] {
    const { temperature, topK } = this.#settings
    const most = temperature === 0 ? 1 : topK
    const room = this.#room(position)
    const out: Candidate[] = []
    for (const candidate of ordered) {
      if (!this.#fits(candidate.token, room)) {
        if (room !== undefined) this.#isCropped ||= this.#fits(candidate.token, undefined)
        continue
      }
      out.push(candidate)
      if (out.length === most) break
    }
    return out
  }

  /** Bytes that may follow this token: in the worst case each is a token, and the end is one. */
  #room(position: number): number | undefined {
    if (this.#tokensMax === undefined || this.#constraint === undefined) return undefined
    const room = this.#tokensMax - position - 2
    // Thoughts may have taken too much: then it is cut.
    return this.#constraint.least - 1 <= room ? room : undefined
  }

  #fits(token: Token, room: number | undefined): boolean {
    const constraint = this.#constraint
    if (constraint === undefined) return true
    if (this.#vocabulary.isEnd(token)) return constraint.canEnd
    const bytes = this.#vocabulary.bytesOf(token)
    return bytes.length > 0 && constraint.allows(bytes, room)
  }

  /** Where nothing likely fits: an end, or else the lowest byte that the grammar allows. */
  #spare(position: number): Token | undefined {
    if (this.#constraint === undefined) return undefined
    const room = this.#room(position)
    const spare = this.#vocabulary.singles.find((token) => this.#fits(token as Token, room))
    return spare as Token | undefined
  }

  /** Top-k, then top-p, then min-p; the best one always stays. */
  #truncated(ordered: readonly Candidate[]): Candidate[] {
    const { topK, topP, minP } = this.#settings
    const best = ordered[0]?.logit ?? 0
    const kept = topK > 0 ? ordered.slice(0, topK) : [...ordered]
    const weights = kept.map(({ logit }) => Math.exp(logit - best))
    const total = weights.reduce((sum, weight) => sum + weight, 0)
    let sum = 0
    const end = weights.findIndex((weight) => {
      sum += weight
      return sum >= topP * total
    })
    const byP = topP >= 1 || end === -1 ? kept : kept.slice(0, end + 1)
    return byP.filter((_, at) => at === 0 || (weights[at] ?? 0) >= minP)
  }

  #note(token: Token): void {
    this.#counts.set(token, (this.#counts.get(token) ?? 0) + 1)
    this.#recent.push(token)
    if (this.#recent.length > REPEAT_WINDOW) this.#recent.shift()
    if (this.#constraint !== undefined && !this.#vocabulary.isEnd(token))
      this.#constraint.advance(this.#vocabulary.bytesOf(token))
  }
}
