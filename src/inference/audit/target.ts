/**
 * The server that is checked, as anybody with the OpenAI API sees it.
 *
 * Greedy answers with log-probabilities are asked for; a server that refuses these is asked without.
 * What it says is believed as little as a stranger's. Tested by test/inference/audit/verdict.ts and
 * test/inference/audit.ts.
 */
import { Pool } from 'undici'
import { concat, hex, sha256, unhex, utf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { RETRY_DEFAULTS, retry, withDeadline } from '../../base/retry.ts'
import type { Ms } from '../../base/units.ts'
import { engineFailed, InferenceError } from '../errors.ts'
import { isObject } from '../json.ts'
import type { JsonObject } from '../request.ts'
import type { Question } from './question.ts'

/** What came back. */
export interface Heard {
  readonly text: string
  /** Absent: the server gives no log-probabilities. */
  readonly tokens?: readonly HeardToken[]
  /** It thought before it answered, and thoughts have no scores. */
  readonly isThinking: boolean
  /** What the answer says ran. */
  readonly manifest?: JsonObject
  /** Of the body that was sent, in hex. */
  readonly requestSha256: string
}

export interface HeardToken {
  readonly bytes: Uint8Array
  readonly logprob: number
}

export interface TargetOptions {
  /** With or without `/v1` at its end. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** Absent: the first one that the server lists. */
  readonly model?: string
  /** For each answer. */
  readonly timeout: Ms
}

export interface TargetDeps {
  readonly clock: Clock
  /** At least 0 and below 1. */
  readonly random: () => number
}

const BODY_BYTES_MAX = 16 * 1024 * 1024
/** What any supplier takes. */
const ANY_MODEL = 'pocket_network'

interface Reply {
  readonly status: number
  readonly body: unknown
}

export class Target implements AsyncDisposable {
  readonly #deps: TargetDeps
  readonly #options: TargetOptions
  readonly #pool: Pool
  readonly #path: string
  #model: string | undefined
  #hasLogprobs = true

  constructor(deps: TargetDeps, options: TargetOptions) {
    const url = new URL(options.url)
    this.#deps = deps
    this.#options = options
    this.#path = url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '')
    this.#pool = new Pool(url.origin, { connections: 1, headersTimeout: 0, bodyTimeout: 0 })
    this.#model = options.model
  }

  /**
   * What it says runs; undefined: it does not say.
   * @throws InferenceError ENGINE_FAILED: no answer; `signal.reason`
   */
  async manifest(signal: AbortSignal): Promise<JsonObject | undefined> {
    const { status, body } = await this.#ask('GET', '/pokt/manifest', undefined, signal)
    return status === 200 && isObject(body) && isObject(body['model']) ? body : undefined
  }

  /** Models that it lists. Throws as `manifest`. */
  async models(signal: AbortSignal): Promise<readonly string[]> {
    const { body } = await this.#ask('GET', '/models', undefined, signal)
    const list = isObject(body) && Array.isArray(body['data']) ? body['data'] : []
    const all = list.map((entry: unknown) => (isObject(entry) ? entry['id'] : undefined))
    const ids = all.filter((id) => typeof id === 'string')
    this.#model ??= ids[0]
    return ids
  }

  /**
   * One greedy answer.
   * @throws InferenceError ENGINE_FAILED: no answer, or none that can be read; `signal.reason`
   */
  async answer(question: Question, signal: AbortSignal): Promise<Heard> {
    const path = question.kind === 'chat' ? '/chat/completions' : '/completions'
    let sent = this.#bodyOf(question)
    let reply = await this.#ask('POST', path, sent, signal)
    if (
      reply.status === 400 &&
      this.#hasLogprobs &&
      JSON.stringify(reply.body).includes('logprob')
    ) {
      this.#hasLogprobs = false
      sent = this.#bodyOf(question)
      reply = await this.#ask('POST', path, sent, signal)
    }
    if (reply.status !== 200)
      throw engineFailed(`the server answered ${path} with status ${reply.status}`)
    return { ...readAnswer(reply.body), requestSha256: hex(sha256(sent)) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.destroy()
  }

  #bodyOf({ kind, text, tokensMax, topLogprobs }: Question): Uint8Array {
    const common = { model: this.#model ?? ANY_MODEL, temperature: 0, max_tokens: tokensMax }
    const isChat = kind === 'chat'
    const scores = isChat
      ? { logprobs: true, top_logprobs: topLogprobs }
      : { logprobs: topLogprobs }
    const prompt = isChat ? { messages: [{ role: 'user', content: text }] } : { prompt: text }
    return utf8(JSON.stringify({ ...common, ...prompt, ...(this.#hasLogprobs ? scores : {}) }))
  }

  /** Once more where the server was busy. */
  async #ask(
    method: 'GET' | 'POST',
    path: string,
    body: Uint8Array | undefined,
    signal: AbortSignal,
  ): Promise<Reply> {
    return await retry(this.#deps, RETRY_DEFAULTS, signal, async () => {
      const reply = await this.#once(method, path, body, signal)
      if (reply.status === 429 || reply.status === 503)
        throw engineFailed(`the server is busy (${reply.status})`)
      return reply
    })
  }

  async #once(
    method: 'GET' | 'POST',
    path: string,
    body: Uint8Array | undefined,
    signal: AbortSignal,
  ): Promise<Reply> {
    const { clock } = this.#deps
    const { headers, timeout } = this.#options
    try {
      return await withDeadline(clock, timeout, signal, async (both) => {
        const reply = await this.#pool.request({
          method,
          path: `${this.#path}/v1${path}`,
          headers: { ...headers, 'content-type': 'application/json' },
          signal: both,
          ...(body === undefined ? {} : { body }),
        })
        return { status: reply.statusCode, body: await readJson(reply.body) }
      })
    } catch (cause) {
      signal.throwIfAborted()
      if (cause instanceof InferenceError) throw cause
      throw new InferenceError('ENGINE_FAILED', 'the server gave no answer', { cause })
    }
  }
}

/** Undefined for what is not JSON. @throws InferenceError ENGINE_FAILED: too much of it */
async function readJson(body: AsyncIterable<Uint8Array>): Promise<unknown> {
  const parts: Uint8Array[] = []
  let length = 0
  for await (const part of body) {
    length += part.length
    if (length > BODY_BYTES_MAX) throw new InferenceError('ENGINE_FAILED', 'the answer is too long')
    parts.push(part)
  }
  try {
    return JSON.parse(new TextDecoder().decode(concat(...parts))) as unknown
  } catch {
    return undefined
  }
}

/** The first choice of a completion of either kind. @throws InferenceError ENGINE_FAILED */
export function readAnswer(body: unknown): Omit<Heard, 'requestSha256'> {
  const choices = isObject(body) ? body['choices'] : undefined
  const choice: unknown = Array.isArray(choices) ? choices[0] : undefined
  if (!isObject(body) || !isObject(choice)) throw engineFailed('the answer has no choice')
  const { message, logprobs } = choice
  const said = isObject(message) ? message : choice
  const text = said['content'] ?? said['text'] ?? ''
  if (typeof text !== 'string') throw engineFailed('the answer has no text')
  const thought = said['reasoning_content'] ?? said['reasoning'] ?? ''
  const tokens = isObject(logprobs) ? readScores(logprobs) : undefined
  const { pocket } = body
  return {
    text,
    isThinking: thought !== '' || text.trimStart().startsWith('<think>'),
    ...(tokens === undefined ? {} : { tokens }),
    ...(isObject(pocket) ? { manifest: pocket } : {}),
  }
}

/** The arrays of completions, or the objects of chats, which some servers use for both. */
function readScores(logprobs: JsonObject): HeardToken[] | undefined {
  const { content, tokens, token_logprobs: numbers } = logprobs
  if (Array.isArray(content))
    return heardTokens(
      content.map((entry: unknown) => {
        const { token, bytes, logprob } = isObject(entry) ? entry : {}
        return [Array.isArray(bytes) ? Uint8Array.from(bytes.map(Number)) : token, logprob]
      }),
    )
  if (!Array.isArray(tokens) || !Array.isArray(numbers)) return undefined
  return heardTokens(tokens.map((token: unknown, at) => [token, numbers[at]]))
}

/** Undefined where one of them is no token with a number. */
function heardTokens(entries: readonly (readonly unknown[])[]): HeardToken[] | undefined {
  const tokens = entries.flatMap(([token, logprob]) => {
    const bytes = typeof token === 'string' ? bytesOf(token) : token
    return bytes instanceof Uint8Array && typeof logprob === 'number' ? [{ bytes, logprob }] : []
  })
  return tokens.length === entries.length && tokens.length > 0 ? tokens : undefined
}

/** Halves of characters are written `bytes:\xe2\x82`. */
function bytesOf(token: string): Uint8Array {
  const escaped = /^bytes:((?:\\x[0-9a-f]{2})+)$/.exec(token)?.[1]
  return escaped === undefined ? utf8(token) : unhex(escaped.replaceAll('\\x', ''))
}
