/**
 * The other side of a relay: ring-sign a request, send it, check what came back.
 *
 * Written from the rules and not with the supplier's code: it shares only the codecs and the curve.
 * Rings are `[application, gateway …]` in the chain's order, `[application, application]` without a
 * delegation, as gateways of the network make them. The outer request goes to the staked URL as it
 * is, with the inner request's method; any outer status but 200 is a failed relay.
 * Source: path protocol/shannon/context.go, shannon-sdk. Tests: test/devnet/gateway.ts and test/e2e.
 */
import { Readable } from 'node:stream'
import { request as httpRequest } from 'undici'
import { equal } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { errorText, SupplierError } from '../base/errors.ts'
import { type Ms, ms } from '../base/units.ts'
import { signRing } from '../crypto/ring.ts'
import type { Curve } from '../crypto/secp256k1.ts'
import type { Session } from '../protocol/gen/pocket/session/session.ts'
import {
  decodeHttpResponse,
  encodeHttpRequest,
  type HttpRequest,
  type HttpResponse,
} from '../protocol/http.ts'
import {
  decodeRelayResponse,
  encodeRelayRequest,
  payloadHash,
  type RelayMinerError,
  type RelayRequest,
  type RelayResponse,
  requestSignableHash,
  responseDigest,
  type SessionHeader,
} from '../protocol/relay.ts'
import { sameHeader } from '../protocol/session.ts'
import { bounded, thenGone } from './gateway-body.ts'

export const GATEWAY_ERRORS = {
  RELAY: 'A relay could not be sent or its answer could not be read.',
  GATEWAY_LISTEN: 'The gateway cannot listen on that port. Choose another one.',
} as const

export class GatewayError extends SupplierError<keyof typeof GATEWAY_ERRORS> {}

/** What a gateway asks a chain. */
export interface GatewayChain {
  /** Of the latest height. */
  session(application: string, serviceId: string, signal: AbortSignal): Promise<Session>
  /** 33 bytes; undefined for an account that has never signed. */
  publicKey(address: string, signal: AbortSignal): Promise<Uint8Array | undefined>
}

export interface GatewayDeps {
  readonly chain: GatewayChain
  readonly curve: Curve
  readonly clock: Clock
  readonly randomBytes: (length: number) => Uint8Array
}

export interface GatewayOptions {
  readonly application: string
  /** Of the gateway that the application delegated to, or of the application itself. */
  readonly privateKey: Uint8Array
  readonly answerBytesMax: number
}

export const GATEWAY_DEFAULTS = {
  answerBytesMax: 100 * 1024 * 1024,
} satisfies Partial<GatewayOptions>

/** Trouble made on purpose. */
export interface GatewayKnobs {
  /** Before each relay is sent. */
  readonly latency: Ms
  /** Of 1: hang up once the request is sent, without waiting for the answer. */
  readonly hangUpShare: number
}

export interface Relayed {
  readonly supplier: string
  readonly request: RelayRequest
  readonly response: RelayResponse
  /** Undefined for an unsigned error reply. */
  readonly inner: HttpResponse | undefined
  readonly error: RelayMinerError | undefined
  /** Signed by the supplier, of this session, and its payload is the one that was signed for. */
  readonly verified: boolean
  /** Why not, if it is not. */
  readonly fault: string
  readonly duration: Ms
}

export class Gateway {
  readonly #deps: GatewayDeps
  readonly #options: GatewayOptions
  knobs: GatewayKnobs = { latency: ms(0), hangUpShare: 0 }

  constructor(deps: GatewayDeps, options: GatewayOptions) {
    this.#deps = deps
    this.#options = options
  }

  /** By the clock that durations are measured with. */
  now(): Ms {
    return this.#deps.clock.monotonic()
  }

  /** One relay to `supplier`, or any, of the current session. @throws GatewayError, `signal.reason` */
  async relay(
    serviceId: string,
    inner: HttpRequest,
    signal: AbortSignal,
    supplier?: string,
  ): Promise<Relayed> {
    const { url, request } = await this.prepare(serviceId, inner, signal, supplier)
    return await this.send(url, request, inner.method, signal)
  }

  /** Signed for a supplier of the current session: `supplier`, or any. @throws GatewayError RELAY */
  async prepare(
    serviceId: string,
    inner: HttpRequest,
    signal: AbortSignal,
    supplier?: string,
  ): Promise<{ url: string; request: RelayRequest }> {
    const session = await this.#deps.chain.session(this.#options.application, serviceId, signal)
    const { operator, url } = this.choose(session, supplier)
    return { url, request: await this.sign(session, operator, inner, signal) }
  }

  /** For one supplier, to be sent once or, by whoever tests it, twice. Bytes are a payload as it is. */
  async sign(
    session: Session,
    operator: string,
    inner: HttpRequest | Uint8Array,
    signal: AbortSignal,
  ): Promise<RelayRequest> {
    const unsigned: RelayRequest = {
      meta: {
        sessionHeader: headerOf(session),
        signature: new Uint8Array(0),
        supplierOperatorAddress: operator,
      },
      payload: inner instanceof Uint8Array ? inner : encodeHttpRequest(inner),
    }
    const members = await this.#ring(session, signal)
    const signature = signRing(
      this.#deps,
      requestSignableHash(unsigned),
      members,
      this.#options.privateKey,
    )
    return {
      ...unsigned,
      meta: { sessionHeader: headerOf(session), signature, supplierOperatorAddress: operator },
    }
  }

  /** @throws GatewayError RELAY when nothing that can be read comes back, or `signal.reason` */
  async send(
    url: string,
    request: RelayRequest,
    method: string,
    signal: AbortSignal,
  ): Promise<Relayed> {
    const { clock, randomBytes } = this.#deps
    const started = clock.monotonic()
    await clock.sleep(this.knobs.latency, signal)
    const hangsUp = (randomBytes(1)[0] ?? 0) < this.knobs.hangUpShare * 256
    const bytes = await this.#post(url, encodeRelayRequest(request), method, signal, hangsUp)
    const response = readable('response', () => decodeRelayResponse(bytes))
    const supplier = request.meta?.supplierOperatorAddress ?? ''
    const fault = await this.check(request, response, supplier, signal)
    const inner =
      fault === '' ? readable('payload', () => decodeHttpResponse(response.payload)) : undefined
    return {
      supplier,
      request,
      response,
      inner,
      error: response.relayMinerError,
      verified: fault === '',
      fault,
      duration: ms(clock.monotonic() - started),
    }
  }

  /** `supplier` or any, with its URL for this type, or else its first. @throws GatewayError RELAY */
  choose(session: Session, supplier?: string, type?: number): { operator: string; url: string } {
    const serviceId = headerOf(session).serviceId
    const offers = session.suppliers.flatMap(({ operatorAddress, services }) => {
      const { endpoints = [] } = services.find((one) => one.serviceId === serviceId) ?? {}
      const url = (endpoints.find(({ rpcType }) => rpcType === type) ?? endpoints[0])?.url
      return url === undefined ? [] : [{ operator: operatorAddress, url }]
    })
    const fitting = offers.filter(({ operator }) => supplier === undefined || operator === supplier)
    const chosen = fitting[(this.#deps.randomBytes(1)[0] ?? 0) % Math.max(1, fitting.length)]
    if (chosen !== undefined) return chosen
    throw new GatewayError(
      'RELAY',
      supplier === undefined
        ? 'no supplier in this session has a URL'
        : `${supplier} is not in this session`,
    )
  }

  async #ring(session: Session, signal: AbortSignal): Promise<Uint8Array[]> {
    const application = this.#options.application
    const gateways = session.application?.delegateeGatewayAddresses ?? []
    const addresses =
      gateways.length === 0 ? [application, application] : [application, ...gateways]
    return await Promise.all(
      addresses.map(async (address) => {
        const key = await this.#deps.chain.publicKey(address, signal)
        if (key === undefined)
          throw new GatewayError('RELAY', `${address} has no public key on the chain`)
        return key
      }),
    )
  }

  async #post(
    url: string,
    bytes: Uint8Array,
    method: string,
    signal: AbortSignal,
    hangsUp: boolean,
  ): Promise<Uint8Array> {
    const hangUp = new AbortController()
    const leave = () => hangUp.abort(new GatewayError('RELAY', 'hung up on purpose'))
    const body = hangsUp ? Readable.from(thenGone(bytes, leave)) : bytes
    const either = AbortSignal.any([signal, hangUp.signal])
    try {
      const { statusCode, body: answer } = await httpRequest(url, {
        method: method as 'POST',
        body,
        headers: {
          'content-type': 'application/json',
          'content-length': String(bytes.length),
          'rpc-type': '4',
        },
        signal: either,
        headersTimeout: 0,
        bodyTimeout: 0,
      })
      const { answerBytesMax } = this.#options
      const taken = await bounded(answer, answerBytesMax)
      either.throwIfAborted()
      if (taken === undefined)
        throw new GatewayError('RELAY', `the answer is larger than ${answerBytesMax} bytes`)
      if (statusCode === 200) return taken
      throw new GatewayError('RELAY', `the supplier answered with status ${statusCode}`)
    } catch (cause) {
      either.throwIfAborted()
      if (cause instanceof GatewayError) throw cause
      throw new GatewayError('RELAY', `no answer from the supplier: ${errorText(cause)}`, {
        cause,
        retryable: true,
      })
    }
  }

  /** Why this answer is not to be believed; empty if it is. */
  async check(
    request: RelayRequest,
    response: RelayResponse,
    supplier: string,
    signal: AbortSignal,
  ): Promise<string> {
    const signature = response.meta?.supplierOperatorSignature ?? new Uint8Array(0)
    if (signature.length === 0)
      return response.relayMinerError?.message ?? 'the response is not signed'
    const [sent, header] = [request.meta?.sessionHeader, response.meta?.sessionHeader]
    if (sent === undefined || header === undefined || !sameHeader(sent, header))
      return 'the response is of another session'
    const key = await this.#deps.chain.publicKey(supplier, signal)
    if (key === undefined) return 'the supplier has no public key on the chain'
    if (!this.#deps.curve.verify(responseDigest(response), signature, key))
      return "the supplier's signature is not good"
    const { payload, payloadHash: signed } = response
    return signed !== undefined && equal(payloadHash(payload), signed)
      ? ''
      : 'the payload is not the signed one'
  }
}

function headerOf(session: Session): SessionHeader {
  if (session.header !== undefined) return session.header
  throw new GatewayError('RELAY', 'the chain gave a session without a header')
}

/** @throws GatewayError RELAY instead of what the codec says */
export function readable<T>(what: string, decode: () => T): T {
  try {
    return decode()
  } catch (cause) {
    throw new GatewayError('RELAY', `the supplier's ${what} cannot be read`, { cause })
  }
}
