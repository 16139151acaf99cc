/**
 * Method, path and body of the request inside a relay become an operation.
 *
 * The path is matched at its end: gateways strip `/v1`, and they put the path of the staked URL before
 * it. Some send `POST` to the bare staked URL; then the body tells what is meant. Nothing of the
 * request reaches an engine but what an operation holds. Tested by test/inference/api.ts.
 */
import type { HttpRequest } from '../protocol/http.ts'
import { badRequest, InferenceError } from './errors.ts'
import { readBody } from './json.ts'
import { type ChatAsked, type ReadRules, readChat } from './read/chat.ts'
import { type CompletionAsked, readCompletion } from './read/completion.ts'
import { MISSING } from './read/fields.ts'
import {
  type DetokenizeAsked,
  type EmbeddingAsked,
  readDetokenize,
  readEmbedding,
  readTokenize,
  type TokenizeAsked,
} from './read/others.ts'
import { type ResponseAsked, readResponse } from './read/responses.ts'
import type { JsonObject } from './request.ts'

/** What `GET /pokt/...` shows. */
export const DOCUMENTS = ['manifest', 'tokenizer', 'config'] as const

export interface DocumentAsked {
  readonly kind: 'document'
  readonly name: (typeof DOCUMENTS)[number]
  /** `-hash`: only the sha256 of it. */
  readonly isHash: boolean
}

/** What proves one token of an answer that was committed to (commitment.ts). */
export interface LogprobsAsked {
  readonly kind: 'logprobs'
  /** Of the answer. */
  readonly id: string
  readonly position: number
}

export type Asked =
  | ChatAsked
  | CompletionAsked
  | ResponseAsked
  | EmbeddingAsked
  | TokenizeAsked
  | DetokenizeAsked
  | DocumentAsked
  | LogprobsAsked
  | { readonly kind: 'models' }
  | { readonly kind: 'model'; readonly id: string }

export interface ApiRules extends ReadRules {
  /** The path of the staked URL, such as `/llm`; `/` or empty for none. */
  readonly basePath: string
  readonly bodyBytesMax: number
}

const URL_LENGTH_MAX = 2_048

type Reader = (body: JsonObject, rules: ApiRules) => Asked

/** By the end of the path. */
const READERS: readonly (readonly [path: readonly string[], read: Reader])[] = [
  [['chat', 'completions'], readChat],
  [['completions'], readCompletion],
  [['responses'], readResponse],
  [['embeddings'], readEmbedding],
  [['detokenize'], readDetokenize],
  [['tokenize'], readTokenize],
]

/** @throws InferenceError BAD_REQUEST, NOT_FOUND, TOO_LARGE */
export function askedOf(request: HttpRequest, rules: ApiRules): Asked {
  if (request.body.length > rules.bodyBytesMax)
    throw new InferenceError(
      'TOO_LARGE',
      `The body has ${request.body.length} bytes; at most ${rules.bodyBytesMax} are taken.`,
    )
  const path = pathOf(request.url, rules.basePath)
  const method = request.method.toUpperCase()
  const shown = shownAt(path) ?? openingAt(path, request.url)
  if (shown !== undefined) {
    if (method !== 'GET') throw wrongMethod('GET')
    return shown
  }
  const isBare = path.length === 0 || (path.length === 1 && path[0] === 'v1')
  const reader = isBare
    ? byBody
    : READERS.find(([end]) =>
        end.every((part, at) => path[path.length - end.length + at] === part),
      )?.[1]
  if (reader === undefined) throw unknownUrl()
  if (method !== 'POST') throw isBare ? unknownUrl() : wrongMethod('POST')
  return reader(readBody(request.body), rules)
}

function shownAt(path: readonly string[]): Asked | undefined {
  if (path.at(-2) === 'pokt') {
    const [, name = '', hash] = /^(.*?)(-hash)?$/.exec(path.at(-1) ?? '') ?? []
    const known = DOCUMENTS.find((document) => document === name)
    if (known !== undefined) return { kind: 'document', name: known, isHash: hash !== undefined }
  }
  if (path.at(-1) === 'models') return { kind: 'models' }
  const models = path.indexOf('models')
  // A model's name may hold slashes itself.
  return models === -1 ? undefined : { kind: 'model', id: path.slice(models + 1).join('/') }
}

/** `/pokt/logprobs/ID?position=N`; gateways that drop the query can write `/pokt/logprobs/ID/N`. */
function openingAt(path: readonly string[], url: string): Asked | undefined {
  const at = path.lastIndexOf('logprobs')
  if (at < 1 || path[at - 1] !== 'pokt') return undefined
  const [id, inPath, more] = path.slice(at + 1)
  if (id === undefined || more !== undefined) return undefined
  const query = new URLSearchParams(/\?([^#]*)/.exec(url)?.[1])
  const text = inPath ?? query.get('position') ?? ''
  if (!/^\d{1,9}$/.test(text)) throw badRequest('position', "'position' must be a number from 0.")
  return { kind: 'logprobs', id, position: Number(text) }
}

function unknownUrl(): InferenceError {
  return new InferenceError('NOT_FOUND', 'There is no such path here.')
}

function wrongMethod(right: string): InferenceError {
  return new InferenceError('NOT_FOUND', `This path takes ${right} only.`, {
    data: { status: 405, reason: 'method_not_allowed' },
  })
}

/** Fields by which a body with `input` asks for a response rather than for an embedding. */
const OF_RESPONSES = ['instructions', 'max_output_tokens', 'text', 'reasoning', 'tools', 'store']

/** The operation that a body sent to the bare URL means. */
function byBody(body: JsonObject, rules: ApiRules): Asked {
  const has = (param: string) => Object.hasOwn(body, param)
  if (has('messages')) return readChat(body, rules)
  if (has('prompt')) return readCompletion(body, rules)
  if (has('input'))
    return OF_RESPONSES.some(has) ? readResponse(body, rules) : readEmbedding(body, rules)
  if (has('tokens')) return readDetokenize(body, rules)
  throw badRequest('messages', "'messages' is missing.", MISSING)
}

/**
 * The decoded segments after the base path; doubled and trailing slashes and the query don't count.
 * The text is not handed to `URL`, which would resolve `..` before anyone can see it.
 */
function pathOf(url: string, basePath: string): string[] {
  if (url.length > URL_LENGTH_MAX) throw badPath()
  const path = url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '').replace(/[?#].*$/s, '')
  const segments = path
    .split('/')
    .flatMap((segment) => decoded(segment).split('/'))
    .filter((segment) => segment !== '')
  if (segments.some((segment) => segment === '.' || segment === '..')) throw badPath()
  const base = basePath.split('/').filter((segment) => segment !== '')
  const isUnderBase = base.every((segment, index) => segments[index] === segment)
  return isUnderBase ? segments.slice(base.length) : segments
}

function decoded(segment: string): string {
  let text: string
  try {
    text = decodeURIComponent(segment)
  } catch {
    throw badPath()
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (/[\\\u0000-\u001f\u007f]/.test(text)) throw badPath()
  return text
}

function badPath(): InferenceError {
  return badRequest('url', 'The path of the request is malformed.', 'invalid_url')
}
