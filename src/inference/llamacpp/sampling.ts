/**
 * How the next token is picked: the caller's wishes over the model's defaults.
 *
 * Two ways: the engine's own sampler, which is quick, and exact numbers (picker.ts) where the request has a
 * seed, wants log-probabilities or asks for more than the engine's sampler is told.
 * Tested by test/inference/llamacpp/sampling.ts.
 */
import type { GenerationWishes } from '../request.ts'

/** What a model's card recommends; used where a request says nothing. */
export interface SamplingDefaults {
  /** 0 is greedy. */
  readonly temperature: number
  /** 1 keeps every token. */
  readonly topP: number
  /** 0 keeps every token. */
  readonly topK: number
  /** Tokens below this share of the best one's probability are left out; 0 keeps every token. */
  readonly minP: number
}

export const SAMPLING_DEFAULTS: SamplingDefaults = {
  temperature: 0.8,
  topP: 0.95,
  topK: 40,
  minP: 0.05,
}

export interface PickSettings extends SamplingDefaults {
  /** 64 bits; the text is a function of it, the prompt and the weights. */
  readonly seed: bigint
  readonly presencePenalty: number
  readonly frequencyPenalty: number
  /** 1 changes nothing. */
  readonly repeatPenalty: number
  readonly logitBias: ReadonlyMap<number, number>
  /** Present: log-probabilities are wanted, and of so many of the likeliest tokens. */
  readonly topLogprobs?: number
}

/** @param random gives the seed of a request that names none */
export function settingsOf(
  wishes: GenerationWishes,
  defaults: SamplingDefaults,
  random: () => number,
): PickSettings {
  return {
    temperature: wishes.temperature ?? defaults.temperature,
    topP: wishes.topP ?? defaults.topP,
    topK: wishes.topK ?? defaults.topK,
    minP: wishes.minP ?? defaults.minP,
    seed: wishes.seed ?? BigInt(Math.floor(random() * 2 ** 32)),
    presencePenalty: wishes.presencePenalty ?? 0,
    frequencyPenalty: wishes.frequencyPenalty ?? 0,
    repeatPenalty: wishes.repeatPenalty ?? 1,
    logitBias: wishes.logitBias ?? new Map(),
    ...(wishes.topLogprobs === undefined ? {} : { topLogprobs: wishes.topLogprobs }),
  }
}

/** Whether the engine's own sampler is not enough. @param hasSeed the request named one */
export function needsExact(settings: PickSettings, hasSeed: boolean): boolean {
  const { temperature, presencePenalty, frequencyPenalty, repeatPenalty, logitBias } = settings
  if (settings.topLogprobs !== undefined || (hasSeed && temperature > 0)) return true
  return (
    presencePenalty !== 0 || frequencyPenalty !== 0 || repeatPenalty !== 1 || logitBias.size > 0
  )
}

/** llama.cpp takes this seed as "choose one yourself". */
const SEED_RANDOM = 0xffff_ffff

/**
 * The engine's seed for the token at `position` of the answer (0-based). The engine makes a new sampler
 * for every token, so one seed for all would draw the same random number each time; neighbours are mixed
 * well apart (the finaliser of MurmurHash3) because generators seeded by neighbours start alike.
 * @param seed uint32
 */
export function seedAt(seed: number, position: number): number {
  let mixed = (seed + Math.imul(position, 0x9e37_79b1)) | 0
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85eb_ca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35)
  const value = (mixed ^ (mixed >>> 16)) >>> 0
  return value === SEED_RANDOM ? 0 : value
}

const MASK = (1n << 64n) - 1n

/**
 * SplitMix64 of a 64-bit seed at `position` of the answer (0-based), as a number from 0 (included) to 1.
 * Of its 64 bits the upper 53 count.
 */
export function uniform(seed: bigint, position: number): number {
  let z = (seed + BigInt(position + 1) * 0x9e3779b97f4a7c15n) & MASK
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK
  z ^= z >> 31n
  return Number(z >> 11n) / 2 ** 53
}
