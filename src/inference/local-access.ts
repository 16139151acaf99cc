/**
 * Who may ask at the owner's port: the names by which it is called, pages of other origins, a key.
 *
 * A browser carries requests of any page to loopback. A page that has rebound its own name to this
 * machine shows itself by the Host header, a page of another origin by Origin; both are refused unless
 * the owner has named them, whether or not the browser would let the page read the answer.
 * Tested by test/inference/local-access.ts.
 */
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { equalConstantTime, sha256, utf8 } from '../base/bytes.ts'
import { SupplierError } from '../base/errors.ts'
import { InferenceError } from './errors.ts'

export const LOCAL_ERRORS = {
  OPEN_TO_OTHERS:
    'The local port would be open to other machines without a key. Give it an API key, or a loopback address such as 127.0.0.1.',
} as const

export class LocalError extends SupplierError<keyof typeof LOCAL_ERRORS> {}

export interface AccessOptions {
  /** What is sent as `Authorization: Bearer KEY`; absent: nothing is asked for. */
  readonly apiKey?: string
  /** Names of this machine that may stand in Host, besides those of loopback and the address called. */
  readonly hostNames: readonly string[]
  /** Origins of web pages that may ask, such as `http://localhost:3000`; `*` for every page. */
  readonly origins: readonly string[]
}

type Headers = Readonly<Record<string, string>>

/** A browser asks again after so many seconds whether it may ask. */
const PREFLIGHT_SECONDS = 600
const FIELD_NAMES = /^[\w\-, ]{1,1024}$/

export class Access {
  readonly #key: Uint8Array | undefined
  readonly #hostNames: ReadonlySet<string>
  readonly #origins: ReadonlySet<string>

  constructor({ apiKey, hostNames, origins }: AccessOptions) {
    this.#key = apiKey === undefined ? undefined : sha256(utf8(apiKey))
    this.#hostNames = new Set(hostNames.map((name) => name.toLowerCase()))
    this.#origins = new Set(origins.map((origin) => origin.toLowerCase()))
  }

  /** @throws InferenceError BAD_REQUEST with status 403 (Host, Origin) or 401 (the key) */
  check(request: IncomingMessage): void {
    const { headers, method, socket } = request
    const name = hostName(headers.host ?? '')
    if (!isLoopback(name) && name !== plainAddress(socket.localAddress) && !this.#isNamed(name))
      throw refusal(403, 'host_not_allowed', 'Ask by a name of this machine that its owner allows.')
    const { origin } = headers
    if (origin !== undefined && !this.#isAllowed(origin))
      throw refusal(403, 'origin_not_allowed', 'Pages of this origin may not ask here.')
    // A browser asks without the key whether it may send it.
    if (method !== 'OPTIONS') this.#checkKey(headers.authorization)
  }

  /** What lets a page of an allowed origin read the answer; nothing for everyone else. */
  headers({ headers: { origin } }: IncomingMessage): Headers {
    if (this.#origins.size === 0) return {}
    if (origin === undefined || !this.#isAllowed(origin)) return { Vary: 'Origin' }
    return {
      Vary: 'Origin',
      'Access-Control-Allow-Origin': origin,
      'Access-Control-Expose-Headers': 'X-Request-Id, Retry-After',
    }
  }

  /** What an allowed page may send, where a browser asks for it. */
  preflight({ headers }: IncomingMessage): Headers {
    const { origin } = headers
    const isAsked = headers['access-control-request-method'] !== undefined
    if (!isAsked || origin === undefined || !this.#isAllowed(origin)) return {}
    const wished = headers['access-control-request-headers'] ?? ''
    const isNear = headers['access-control-request-private-network'] === 'true'
    return {
      'Access-Control-Allow-Methods': 'GET, POST',
      'Access-Control-Max-Age': String(PREFLIGHT_SECONDS),
      ...(FIELD_NAMES.test(wished) ? { 'Access-Control-Allow-Headers': wished } : {}),
      ...(isNear ? { 'Access-Control-Allow-Private-Network': 'true' } : {}),
    }
  }

  #isNamed(name: string): boolean {
    return name !== '' && this.#hostNames.has(name)
  }

  #isAllowed(origin: string): boolean {
    return this.#origins.has('*') || this.#origins.has(origin.toLowerCase())
  }

  #checkKey(authorization: string | undefined): void {
    if (this.#key === undefined) return
    const [, given] = /^bearer +(\S+) *$/i.exec(authorization ?? '') ?? []
    // Hashes are of one length, so that the comparison tells nothing of the key's.
    if (given !== undefined && equalConstantTime(sha256(utf8(given)), this.#key)) return
    const problem = given === undefined ? 'An API key is needed.' : 'This API key is not right.'
    throw refusal(401, 'invalid_api_key', `${problem} Send it as 'Authorization: Bearer KEY'.`)
  }
}

/** @throws LocalError OPEN_TO_OTHERS */
export function checkListen(host: string, apiKey: string | undefined): void {
  if (isLoopback(hostName(host)) || (apiKey !== undefined && apiKey !== '')) return
  throw new LocalError('OPEN_TO_OTHERS', `${host} is no loopback address and there is no API key`)
}

/** Without the port, brackets, a dot at the end, and in lower case; empty for what is no host. */
function hostName(host: string): string {
  if (isIP(host) === 6) return host.toLowerCase()
  const [, bracketed, plain] = /^(?:\[([^\]]+)\]|([^:[\]]+?)\.?)(?::\d{1,5})?$/.exec(host) ?? []
  return (bracketed ?? plain ?? '').toLowerCase()
}

function isLoopback(name: string): boolean {
  if (name === 'localhost' || name.endsWith('.localhost') || name === '::1') return true
  return isIP(name) === 4 && name.startsWith('127.')
}

/** A socket for both families writes `::ffff:192.0.2.1`. */
function plainAddress(address: string | undefined): string | undefined {
  return address?.replace(/^::ffff:/i, '').toLowerCase()
}

function refusal(status: number, reason: string, message: string): InferenceError {
  return new InferenceError('BAD_REQUEST', message, { data: { status, reason } })
}
