/**
 * Method, path and body of the request inside a relay become an operation.
 *
 * The path is matched at its end: gateways strip `/v1`, and they put the path of the staked URL before
 * it. Some send `POST` to the bare staked URL; then the body tells what is meant. Nothing of the
 * request reaches an engine but what an operation holds. Tested by test/inference/api.ts.
 */
import type { HttpRequest } from '../protocol/http.ts'
import type { ChatRequest } from './backend.ts'
import { type ChatRules, readChat } from './chat.ts'
import { badRequest, InferenceError } from './errors.ts'
import { readObject } from './openai.ts'

export type Operation =
  | { readonly kind: 'chat'; readonly request: ChatRequest }
  | { readonly kind: 'models' }
  | { readonly kind: 'model'; readonly id: string }

export interface ApiRules extends ChatRules {
  /** The path of the staked URL, such as `/llm`; `/` or empty for none. */
  readonly basePath: string
  readonly bodyBytesMax: number
}

const URL_LENGTH_MAX = 2_048

/** @throws InferenceError BAD_REQUEST, NOT_FOUND, TOO_LARGE */
export function operationOf(request: HttpRequest, rules: ApiRules): Operation {
  if (request.body.length > rules.bodyBytesMax)
    throw new InferenceError(
      'TOO_LARGE',
      `The body has ${request.body.length} bytes; at most ${rules.bodyBytesMax} are taken.`,
    )
  const target = targetOf(pathOf(request.url, rules.basePath))
  const method = target.kind === 'model' || target.kind === 'models' ? 'GET' : 'POST'
  if (request.method.toUpperCase() !== method) {
    if (target.kind === 'bare') throw unknownUrl()
    throw new InferenceError('NOT_FOUND', `This path takes ${method} only.`, {
      data: { status: 405, reason: 'method_not_allowed' },
    })
  }
  switch (target.kind) {
    case 'model':
    case 'models':
      return target
    case 'chat':
      return { kind: 'chat', request: readChat(readObject(request.body), rules) }
    case 'bare':
      return byBody(request.body, rules)
  }
}

function unknownUrl(): InferenceError {
  return new InferenceError('NOT_FOUND', 'There is no such path here.')
}

type Target =
  | { kind: 'chat' }
  | { kind: 'bare' }
  | { kind: 'models' }
  | { kind: 'model'; id: string }

function targetOf(path: readonly string[]): Target {
  if (path.length === 0 || (path.length === 1 && path[0] === 'v1')) return { kind: 'bare' }
  if (path.at(-2) === 'chat' && path.at(-1) === 'completions') return { kind: 'chat' }
  if (path.at(-1) === 'models') return { kind: 'models' }
  const models = path.indexOf('models')
  // A model's name may hold slashes itself.
  if (models !== -1) return { kind: 'model', id: path.slice(models + 1).join('/') }
  throw unknownUrl()
}

/** The operation that a body sent to the bare URL means. */
function byBody(bytes: Uint8Array, rules: ApiRules): Operation {
  const body = readObject(bytes)
  if (Object.hasOwn(body, 'messages')) return { kind: 'chat', request: readChat(body, rules) }
  for (const param of ['prompt', 'input']) {
    if (Object.hasOwn(body, param))
      throw badRequest(
        param,
        `Requests with '${param}' are not served yet; send 'messages'.`,
        'unsupported_parameter',
      )
  }
  throw badRequest('messages', "'messages' is missing.", 'missing_required_parameter')
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
  return badRequest(undefined, 'The path of the request is malformed.', 'invalid_url')
}
