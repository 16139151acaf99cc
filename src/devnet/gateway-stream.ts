/**
 * The other side of a stream in signed frames: asks for it, checks each frame, joins their texts.
 *
 * A frame is a response like any other, with a piece of the text in its payload, followed by the
 * delimiter; the text after the last delimiter of a body that came to its end is a frame too. What is
 * told in the last frame is of the whole. An answer that is no stream is read as an ordinary relay.
 * Source: pocket-relay-miner relayer/http_stream.go, cmd/relay. Tests: test/devnet/gateway-stream.ts.
 */
import { request as httpRequest } from 'undici'
import { errorText } from '../base/errors.ts'
import { type Ms, ms } from '../base/units.ts'
import { decodeHttpResponse, type HttpRequest } from '../protocol/http.ts'
import { decodeRelayResponse, encodeRelayRequest, type RelayRequest } from '../protocol/relay.ts'
import { GATEWAY_DEFAULTS, type Gateway, GatewayError, type Relayed, readable } from './gateway.ts'

const DELIMITER = Buffer.from('||POKT_STREAM||')
const EVENT_STREAM = 'text/event-stream'

export interface GatewayStreamOptions {
  readonly answerBytesMax?: number
  /** Gets the text of each frame that the operator signed for, as it comes; not of an ordinary answer. */
  readonly onText?: (text: Uint8Array) => void
}

/** `response` is the last frame, `inner` holds the text of all of them. */
export type RelayedStream = Relayed & {
  /** 0 for an ordinary answer. */
  readonly frames: number
  /** From the request to the first frame. */
  readonly firstFrame: Ms | undefined
}

/** Sends what was signed and reads frames as they come. @throws GatewayError RELAY, or `signal.reason` */
export async function relayStream(
  gateway: Pick<Gateway, 'check' | 'now'>,
  { url, request, method }: { url: string; request: RelayRequest; method: string },
  signal: AbortSignal,
  options: GatewayStreamOptions = {},
): Promise<RelayedStream> {
  const reader = new FrameReader(gateway, request, signal, options)
  try {
    const answer = await httpRequest(url, {
      method: method as 'POST',
      body: encodeRelayRequest(request),
      headers: { 'content-type': 'application/json', 'rpc-type': '4', 'pokt-stream': 'batched' },
      signal,
      headersTimeout: 0,
      bodyTimeout: 0,
    })
    const { statusCode, headers, body } = answer
    if (statusCode !== 200)
      throw new GatewayError('RELAY', `the supplier answered with status ${statusCode}`)
    const isStream = headers['content-type'] === EVENT_STREAM
    for await (const chunk of body) await reader.take(chunk as Buffer, isStream)
    return await reader.end(isStream)
  } catch (cause) {
    signal.throwIfAborted()
    if (cause instanceof GatewayError) throw cause
    const text = `the answer of the supplier broke off: ${errorText(cause)}`
    throw new GatewayError('RELAY', text, { cause, retryable: true })
  }
}

class FrameReader {
  readonly #gateway: Pick<Gateway, 'check' | 'now'>
  readonly #request: RelayRequest
  readonly #signal: AbortSignal
  readonly #options: GatewayStreamOptions
  readonly #startedAt: Ms
  readonly #texts: Uint8Array[] = []
  /** What has come and is no whole frame yet. */
  #rest: Buffer[] = []
  #size = 0
  #frames = 0
  #firstAt: Ms | undefined
  #last: Omit<Relayed, 'duration'> | undefined

  constructor(
    gateway: Pick<Gateway, 'check' | 'now'>,
    request: RelayRequest,
    signal: AbortSignal,
    options: GatewayStreamOptions,
  ) {
    this.#gateway = gateway
    this.#request = request
    this.#signal = signal
    this.#options = options
    this.#startedAt = gateway.now()
  }

  async take(chunk: Buffer, isStream: boolean): Promise<void> {
    const { answerBytesMax = GATEWAY_DEFAULTS.answerBytesMax } = this.#options
    this.#size += chunk.length
    if (this.#size > answerBytesMax)
      throw new GatewayError('RELAY', `the answer is larger than ${answerBytesMax} bytes`)
    this.#rest.push(chunk)
    if (!isStream) return
    let rest = Buffer.concat(this.#rest)
    for (let at = rest.indexOf(DELIMITER); at !== -1; at = rest.indexOf(DELIMITER)) {
      await this.#frame(rest.subarray(0, at))
      rest = rest.subarray(at + DELIMITER.length)
    }
    this.#rest = [rest]
  }

  async end(isStream: boolean): Promise<RelayedStream> {
    const rest = Buffer.concat(this.#rest)
    if (!isStream) this.#last = await this.#read(rest)
    else if (rest.length > 0) await this.#frame(rest)
    const last = this.#last
    if (last === undefined) throw new GatewayError('RELAY', 'the stream has no frames')
    const body = Buffer.concat(this.#texts)
    const headers = [['Content-Type', EVENT_STREAM] as const]
    return {
      ...last,
      ...(isStream && last.verified ? { inner: { status: 200, headers, body } } : {}),
      frames: this.#frames,
      firstFrame: this.#firstAt,
      duration: ms(this.#gateway.now() - this.#startedAt),
    }
  }

  /** A frame that is not to be believed is the last one. */
  async #frame(bytes: Uint8Array): Promise<void> {
    if (this.#last?.verified === false) return
    this.#last = await this.#read(bytes)
    this.#frames++
    this.#firstAt ??= ms(this.#gateway.now() - this.#startedAt)
    const { inner } = this.#last
    if (inner === undefined) return
    this.#texts.push(inner.body)
    this.#options.onText?.(inner.body)
  }

  async #read(bytes: Uint8Array): Promise<Omit<Relayed, 'duration'>> {
    const request = this.#request
    const response = readable('response', () => decodeRelayResponse(bytes))
    const supplier = request.meta?.supplierOperatorAddress ?? ''
    const fault = await this.#gateway.check(request, response, supplier, this.#signal)
    const inner =
      fault === '' ? readable('payload', () => decodeHttpResponse(response.payload)) : undefined
    const error = response.relayMinerError
    return { supplier, request, response, inner, error, verified: fault === '', fault }
  }
}

/** Whether the body of a request asks for a stream. */
export function asksForStream({ body }: HttpRequest): boolean {
  try {
    const asked = JSON.parse(new TextDecoder().decode(body)) as { stream?: unknown } | null
    return asked?.stream === true
  } catch {
    return false
  }
}
