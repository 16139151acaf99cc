/**
 * HTTP as downloads need it: redirects that are looked at, nobody's token for somebody else, limits on
 * time and size.
 *
 * A token goes to the origin that it is for and to no other, also not along a redirect. Nothing leads
 * from https to http. Messages name a host and a path, never a query: signed addresses have their
 * signature there. Tested by test/models/pull-hostile.ts.
 */
import { Agent, request } from 'undici'
import type { Clock } from '../base/clock.ts'
import { errorText } from '../base/errors.ts'
import { withDeadline } from '../base/retry.ts'
import { type Ms, ms } from '../base/units.ts'
import { ModelError, passing } from './errors.ts'

export interface HttpOptions {
  /** For a connection and the first line of an answer. */
  readonly answerWait: Ms
  /** Between two pieces of a body. */
  readonly idle: Ms
  readonly redirectsMax: number
  /** Of bodies that are read as a whole. */
  readonly textBytesMax: number
}

export const HTTP_DEFAULTS: HttpOptions = {
  answerWait: ms(30_000),
  idle: ms(30_000),
  redirectsMax: 5,
  textBytesMax: 16 * 1024 * 1024,
}

export interface Asked {
  readonly method?: 'GET' | 'HEAD'
  readonly headers?: Readonly<Record<string, string>>
  /** Sent to this origin only. */
  readonly credential?: Credential | undefined
  /** False: a redirect is the answer. */
  readonly follow?: boolean
}

export interface Credential {
  readonly token: string
  /** As of `new URL(…).origin`. */
  readonly origin: string
}

type Body = AsyncIterable<Uint8Array> & {
  destroy(): unknown
  on(name: 'error', on: () => void): unknown
}

export interface Reply {
  readonly status: number
  /** In lower case; of several the first. */
  readonly headers: ReadonlyMap<string, string>
  /** Where it came from in the end. */
  readonly url: string
  readonly body: Body
}

export class Http implements AsyncDisposable {
  readonly #clock: Clock
  readonly #options: HttpOptions
  readonly #agent: Agent

  constructor({ clock }: { readonly clock: Clock }, options: HttpOptions = HTTP_DEFAULTS) {
    this.#clock = clock
    this.#options = options
    // Time is told by the clock that was handed in.
    this.#agent = new Agent({ headersTimeout: 0, bodyTimeout: 0, connect: { timeout: 0 } })
  }

  /**
   * The answer of whoever has it, whatever its status. Its body must be read with `pieces` or dropped.
   * @throws ModelError SOURCE_UNREACHABLE (retryable), SOURCE_UNSAFE; `signal.reason`
   */
  async request(url: string, asked: Asked, signal: AbortSignal): Promise<Reply> {
    let at = addressOf(url)
    for (let hops = 0; ; hops++) {
      const reply = await this.#once(at, asked, signal)
      if (asked.follow === false || !isRedirect(reply.status)) return reply
      drop(reply)
      if (hops === this.#options.redirectsMax)
        throw unsafe(`${shownUrl(url)} leads on and on: ${hops} redirects`)
      at = nextAddress(at, reply.headers.get('location'))
    }
  }

  async #once(url: URL, asked: Asked, signal: AbortSignal): Promise<Reply> {
    const { credential } = asked
    const headers: Record<string, string> = {
      'user-agent': 'pokt-supplier',
      'accept-encoding': 'identity',
      ...asked.headers,
    }
    if (credential?.origin === url.origin) headers['authorization'] = `Bearer ${credential.token}`
    try {
      const {
        statusCode,
        headers: got,
        body,
      } = await withDeadline(this.#clock, this.#options.answerWait, signal, (both) =>
        request(url, {
          dispatcher: this.#agent,
          method: asked.method ?? 'GET',
          headers,
          signal: both,
        }),
      )
      body.on('error', () => {})
      return { status: statusCode, headers: plainHeaders(got), url: url.href, body }
    } catch (error) {
      signal.throwIfAborted()
      throw unreachable(url.href, error)
    }
  }

  /**
   * The body as it comes. @throws ModelError SOURCE_UNREACHABLE (retryable) when it breaks off or falls
   * silent; `signal.reason`
   */
  async *pieces({ body, url }: Reply, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const from = body[Symbol.asyncIterator]()
    try {
      for (;;) {
        const piece = await withDeadline(this.#clock, this.#options.idle, signal, (both) =>
          unlessAborted(both, from.next()),
        )
        if (piece.done === true) return
        yield piece.value
      }
    } catch (error) {
      signal.throwIfAborted()
      throw error instanceof ModelError ? error : unreachable(url, error)
    } finally {
      body.destroy()
    }
  }

  /** @throws as `pieces`; ModelError SOURCE_UNSAFE for a body beyond the limit */
  async text(reply: Reply, signal: AbortSignal): Promise<string> {
    const parts: Uint8Array[] = []
    let length = 0
    for await (const piece of this.pieces(reply, signal)) {
      length += piece.length
      if (length > this.#options.textBytesMax)
        throw unsafe(`${shownUrl(reply.url)} answers with more than ${length} bytes`)
      parts.push(piece)
    }
    return Buffer.concat(parts).toString('utf8')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#agent.destroy()
  }
}

/** Ends an answer whose body nobody wants. */
export function drop({ body }: Reply): void {
  body.destroy()
}

/** Without what may be secret. */
export function shownUrl(url: string): string {
  if (!URL.canParse(url)) return 'the address'
  const { origin, pathname } = new URL(url)
  return `${origin}${pathname}`.slice(0, 200)
}

/** Of an answer that is no success. @param what was asked for, as a sentence begins */
export function refusalOf({ status, headers }: Reply, what: string): ModelError {
  const said = `${what}: the source answers with status ${status}`
  if (status === 401 || status === 403) return new ModelError('SOURCE_REFUSED', said)
  if (status === 404 || status === 410) return new ModelError('SOURCE_ABSENT', said)
  const isPassing = status === 408 || status === 425 || status === 429 || status >= 500
  if (!isPassing) return new ModelError('SOURCE_UNSAFE', said)
  const retryAfter = headers.get('retry-after')
  return passing('SOURCE_UNREACHABLE', said, {
    data: { status, ...(retryAfter === undefined ? {} : { retryAfter }) },
  })
}

function addressOf(url: string): URL {
  const address = URL.canParse(url) ? new URL(url) : undefined
  if (address === undefined || !/^https?:$/.test(address.protocol))
    throw unsafe(`${shownUrl(url)} is not asked: only http and https are`)
  return address
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308
}

/** Where a redirect leads. @throws ModelError SOURCE_UNSAFE: to nowhere, to another scheme, out of https */
export function nextAddress(from: URL, location: string | undefined): URL {
  if (location === undefined || !URL.canParse(location, from.href))
    throw unsafe(`${shownUrl(from.href)} leads to nowhere`)
  const to = addressOf(new URL(location, from.href).href)
  if (from.protocol === 'https:' && to.protocol !== 'https:')
    throw unsafe(`${shownUrl(from.href)} leads from https to http`)
  to.username = ''
  to.password = ''
  return to
}

function plainHeaders(
  got: Readonly<Record<string, string | string[] | undefined>>,
): ReadonlyMap<string, string> {
  const headers = new Map<string, string>()
  for (const [name, value] of Object.entries(got)) {
    const first = Array.isArray(value) ? value[0] : value
    if (first !== undefined) headers.set(name.toLowerCase(), first)
  }
  return headers
}

/** What comes later is nobody's. */
function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

function unsafe(message: string): ModelError {
  return new ModelError('SOURCE_UNSAFE', message)
}

function unreachable(url: string, cause: unknown): ModelError {
  return passing('SOURCE_UNREACHABLE', `${shownUrl(url)}: ${errorText(cause)}`, { cause })
}
