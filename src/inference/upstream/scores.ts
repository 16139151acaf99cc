/**
 * Log-probabilities as upstreams write them, in the form of chats or in the classic arrays.
 *
 * Tested by test/inference/upstream/answer.ts.
 */
import { utf8 } from '../../base/bytes.ts'
import { engineFailed } from '../errors.ts'
import { isObject } from '../json.ts'
import type { JsonObject, TokenAlternative, TokenScore } from '../request.ts'

/** Rounding may lift a certain token a little above 0. */
const ROUNDING = 0.001

/**
 * @param top the most likely ones that were asked for; some servers give one more
 * @throws InferenceError ENGINE_FAILED
 */
export function readScores(logprobs: unknown, top: number): TokenScore[] {
  if (logprobs === undefined || logprobs === null) return []
  if (!isObject(logprobs)) throw malformed()
  const { content, tokens } = logprobs
  if (Array.isArray(content)) return content.map((entry) => readChatScore(entry, top))
  if (Array.isArray(tokens)) return tokens.map((_, at) => readClassicScore(logprobs, at, top))
  return []
}

function readChatScore(entry: unknown, top: number): TokenScore {
  if (!isObject(entry)) throw malformed()
  const others = entry['top_logprobs'] ?? []
  if (!Array.isArray(others)) throw malformed()
  return {
    ...readAlternative(entry),
    top: best(
      others.map((other) => readAlternative(other)),
      top,
    ),
  }
}

/** Only the first token of a prompt has no probability; a chat has no such token. */
function readAlternative(entry: unknown): TokenAlternative {
  if (!isObject(entry)) throw malformed()
  const { token, bytes } = entry
  if (typeof token !== 'string') throw malformed()
  return { ...tokenOf(token, bytes), logprob: readLogprob(entry['logprob']) }
}

function readClassicScore(logprobs: JsonObject, at: number, top: number): TokenScore {
  const listed = (name: string): unknown => {
    const list = logprobs[name]
    return Array.isArray(list) ? list[at] : undefined
  }
  const token = listed('tokens')
  const logprob = listed('token_logprobs')
  const others = listed('top_logprobs')
  if (typeof token !== 'string') throw malformed()
  const alternatives = isObject(others)
    ? Object.entries(others).map(([name, value]) => ({
        ...tokenOf(name, undefined),
        logprob: readLogprob(value),
      }))
    : []
  const isFirst = logprob === null || logprob === undefined
  return {
    ...tokenOf(token, undefined),
    logprob: isFirst ? null : readLogprob(logprob),
    top: isFirst ? [] : best(alternatives, top),
  }
}

function best(alternatives: readonly TokenAlternative[], top: number): TokenAlternative[] {
  return [...alternatives].sort((a, b) => b.logprob - a.logprob).slice(0, top)
}

/** A part of a character is written as `bytes:\xe2\x80` where there is no list of bytes. */
function tokenOf(token: string, bytes: unknown): { text: string; bytes: Uint8Array } {
  if (Array.isArray(bytes)) {
    const isList = bytes.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 255)
    if (!isList) throw malformed()
    const raw = Uint8Array.from(bytes as number[])
    return { text: new TextDecoder().decode(raw), bytes: raw }
  }
  const escaped = /^bytes:((?:\\x[0-9a-f]{2})+)$/i.exec(token)?.[1]
  if (escaped === undefined) return { text: token, bytes: utf8(token) }
  const raw = Uint8Array.from(escaped.slice(2).split('\\x'), (digits) => Number(`0x${digits}`))
  return { text: new TextDecoder().decode(raw), bytes: raw }
}

function readLogprob(value: unknown): number {
  if (typeof value !== 'number' || value > ROUNDING) throw malformed()
  return Math.min(0, value)
}

function malformed(): Error {
  return engineFailed('the upstream answered with log-probabilities of another form')
}
