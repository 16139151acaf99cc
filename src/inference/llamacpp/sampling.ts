/**
 * How the next token is picked: the caller's wishes over the model's defaults, and a seed for every position.
 *
 * Tested by test/inference/llamacpp/sampling.ts.
 */
import type { ChatRequest } from '../backend.ts'

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

export interface Sampling extends SamplingDefaults {
  /** uint32; the text is a function of it, the prompt and the weights. */
  readonly seed: number
}

/** @param random gives the seed of a request that names none */
export function samplingOf(
  request: ChatRequest,
  defaults: SamplingDefaults,
  random: () => number,
): Sampling {
  return {
    temperature: request.temperature ?? defaults.temperature,
    topP: request.topP ?? defaults.topP,
    topK: defaults.topK,
    minP: defaults.minP,
    seed: fold(request.seed ?? Math.floor(random() * 2 ** 32)),
  }
}

/** llama.cpp takes this seed as "choose one yourself". */
const SEED_RANDOM = 0xffff_ffff

/**
 * The seed for the token at `position` of the answer (0-based). The engine makes a new sampler for every
 * token, so one seed for all would draw the same random number each time; neighbours are mixed
 * well apart (the finaliser of MurmurHash3) because generators seeded by neighbours start alike.
 */
export function seedAt(seed: number, position: number): number {
  let mixed = (seed + Math.imul(position, 0x9e37_79b1)) | 0
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85eb_ca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35)
  const value = (mixed ^ (mixed >>> 16)) >>> 0
  return value === SEED_RANDOM ? 0 : value
}

/** Any integer, however large or negative, as uint32: equal seeds stay equal. */
function fold(seed: number): number {
  return Number(BigInt.asUintN(32, BigInt(Math.trunc(seed))))
}
