/**
 * The conductor of one relay, and the only file that knows both the inference and the miner.
 *
 * Authorise, set aside its price, run, sign, make durable; then, and only then, the answer leaves.
 * Outcomes (the outer status is always 200):
 *   not authorised, replayed, late          unsigned error reply, nothing mined
 *   the application's share is used up      signed inner 429, code 7, not mined
 *   refused by us, or too large to claim    signed inner 429 / 413, code 10, not mined
 *   (refused too: the chain does not say what the relay is worth)
 *   an answer, or a fault of the request    signed, mined if its hash is under the target
 *   the engine failed or was too slow       signed inner 502 / 504, code 5 / 10, not mined
 *   the disk failed, or the session was     the same
 *   sealed while the relay was running
 * So a signed answer without `relay_miner_error` is exactly what a claim counts.
 * Tests: test/relay/handler.ts, test/relay/interruptions.ts,
 * test/relay/replays.ts and test/e2e.
 */
import { following } from '../base/abort.ts'
import type { Clock } from '../base/clock.ts'
import { SupplierError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { type Ms, ms } from '../base/units.ts'
import { ChainError } from '../chain/errors.ts'
import type { InferenceAnswer } from '../inference/inference.ts'
import type { Intake } from '../miner/intake.ts'
import type { Meter } from '../miner/meter.ts'
import { decodeHttpRequest, type HttpRequest } from '../protocol/http.ts'
import { encodeRelayResponse, type RelayRequest, type RelayResponse } from '../protocol/relay.ts'
import type { SessionRecord } from '../store/sessions.ts'
import type { AuthorizedRelay, Authorizer } from './authorize.ts'
import { type RelayCode, RelayError, wireError } from './errors.ts'
import {
  errorReply,
  type InnerAnswer,
  innerError,
  type PayloadForm,
  signedResponse,
} from './respond.ts'

export interface HandlerDeps {
  readonly clock: Clock
  readonly authorizer: Pick<Authorizer, 'decode' | 'authorize'>
  readonly intake: Pick<Intake, 'admit' | 'enter' | 'record'>
  readonly meter: Pick<Meter, 'reserve'>
  readonly inference: {
    answer(
      serviceId: string,
      request: HttpRequest,
      options: { signal: AbortSignal; deadline: Ms },
    ): Promise<InferenceAnswer>
  }
  readonly log: Log
}

export interface HandlerOptions {
  /** From the request's last byte to the answer's. */
  readonly requestTimeout: Ms
  /** The chain publishes sampled requests: a larger one could not be proven and is not served. */
  readonly minedRequestMax: number
}

export const HANDLER_DEFAULTS: HandlerOptions = {
  requestTimeout: ms(60_000),
  minedRequestMax: 512 * 1024,
}

const JSON_HEADERS = [['Content-Type', 'application/json']] as const
/** Nobody has checked the id of a service in a relay that is rejected: it may be megabytes. */
const SERVICE_LOGGED_MAX = 42

/** What a relay came by, where that is not a request of HTTP. */
export interface Carrier {
  readonly form: PayloadForm
  /** Whether it takes this relay; asked before anything is looked up. @throws RelayError */
  admit(request: RelayRequest): void
  /** Why the reply is an unsigned one. */
  rejected(error: RelayError): void
}

/** A relay, and how its answer is to be put. */
type Arrived = AuthorizedRelay & { readonly form: PayloadForm }

/** What one relay came to, for the counters. */
export type Outcome = 'mined' | 'refused' | 'overserviced' | 'failed' | 'rejected' | 'gone'

export class RelayHandler {
  readonly #deps: HandlerDeps
  readonly #options: HandlerOptions
  readonly #counts: Record<Outcome, number> = {
    mined: 0,
    refused: 0,
    overserviced: 0,
    failed: 0,
    rejected: 0,
    gone: 0,
  }
  #draining = false

  constructor(deps: HandlerDeps, options: HandlerOptions = HANDLER_DEFAULTS) {
    this.#deps = deps
    this.#options = options
  }

  /** Since the start; `mined` are those that were answered and made durable. */
  get counts(): Readonly<Record<Outcome, number>> {
    return this.#counts
  }

  /** From now on relays are answered 429; those that run go on. */
  drain(): void {
    this.#draining = true
  }

  /**
   * @param bytes the request's body; larger ones were refused by the server
   * @param carrier without one the payload is a request of HTTP, and so is the answer's
   * @returns the bytes of a RelayResponse
   * @throws only `signal.reason`: the client is gone and nobody waits for an answer
   */
  async handle(bytes: Uint8Array, signal: AbortSignal, carrier?: Carrier): Promise<Uint8Array> {
    const deadline = ms(this.#deps.clock.monotonic() + this.#options.requestTimeout)
    let request: RelayRequest | undefined
    let relay: Arrived | undefined
    try {
      request = this.#deps.authorizer.decode(bytes)
      carrier?.admit(request)
      const authorized = await this.#deps.authorizer.authorize(request, signal)
      relay = { ...authorized, form: carrier?.form ?? 'http' }
      return encodeRelayResponse(await this.#serve(relay, bytes.length, deadline, signal))
    } catch (error) {
      if (signal.aborted) {
        this.#counts.gone++
        throw signal.reason
      }
      const refusal = this.#refusal(error)
      if (relay !== undefined && !isUnsigned(refusal))
        return encodeRelayResponse(this.#broken(relay, refusal))
      this.#counts.rejected++
      carrier?.rejected(refusal)
      const service = request?.meta?.sessionHeader?.serviceId.slice(0, SERVICE_LOGGED_MAX)
      this.#deps.log.debug({ code: refusal.code, service }, 'relay rejected')
      return errorReply(refusal, request)
    }
  }

  async #serve(
    relay: Arrived,
    size: number,
    deadline: Ms,
    signal: AbortSignal,
  ): Promise<RelayResponse> {
    const { intake, meter } = this.#deps
    if (this.#draining)
      return this.#refuse(relay, innerError(429, 'the supplier is stopping', 'stopping', 30))
    if (size > this.#options.minedRequestMax) return this.#tooLarge(relay)
    const session = await intake.admit(relay.header, relay.signer.address, relay.now)
    const stay = await intake.enter(session, relay.replayKey)
    if (stay === undefined) throw new RelayError('REPLAYED', 'this request was answered before')
    try {
      const reservation = await meter.reserve(session, signal)
      if (reservation === undefined) {
        const text = 'the session limit of the application is reached'
        const answer = innerError(429, text, 'session_limit')
        return this.#unmined(relay, 'overserviced', 'OVERSERVICED', answer)
      }
      try {
        using cut = following(signal, stay.signal)
        const response = await this.#run(relay, session, deadline, cut.signal)
        if (response.relayMinerError === undefined) reservation.settle()
        return response
      } finally {
        reservation.refund()
      }
    } catch (error) {
      if (stay.signal.aborted) return this.#cutOff(relay)
      throw error
    } finally {
      stay.leave()
    }
  }

  async #run(
    relay: Arrived,
    session: SessionRecord,
    deadline: Ms,
    signal: AbortSignal,
  ): Promise<RelayResponse> {
    const { clock, intake, inference, log } = this.#deps
    const { header, request, signer, replayKey } = relay
    const started = clock.monotonic()
    const inner = innerRequest(request.payload, relay.form)
    const answer: InferenceAnswer =
      inner === undefined
        ? innerError(400, 'the payload of the relay is not a request', 'bad_request')
        : await inference.answer(header.serviceId, inner, { signal, deadline })
    signal.throwIfAborted()
    if (answer.refused === true) return this.#refuse(relay, answer)
    if (answer.failed === 'timeout') return this.#unmined(relay, 'failed', 'LATE', answer)
    if (answer.failed !== undefined || answer.status >= 500)
      return this.#unmined(relay, 'failed', 'ENGINE', answer)
    const response = signedResponse(signer, header, answer, undefined, relay.form)
    const recorded = await intake.record(session, request, response, replayKey)
    if (recorded === 'replayed')
      throw new RelayError('REPLAYED', 'this request was answered before')
    this.#counts.mined++
    log.debug(
      {
        sessionId: header.sessionId,
        service: header.serviceId,
        app: header.applicationAddress,
        durationMs: Math.round(clock.monotonic() - started),
        tokensIn: answer.usage?.promptTokens,
        tokensOut: answer.usage?.completionTokens,
      },
      'relay answered',
    )
    return response
  }

  #tooLarge(relay: Arrived): RelayResponse {
    const text = `the relay is larger than ${this.#options.minedRequestMax} bytes and could not be proven`
    return this.#refuse(relay, innerError(413, text, 'request_too_large'))
  }

  #refuse(relay: Arrived, answer: InnerAnswer): RelayResponse {
    return this.#unmined(relay, 'refused', 'REFUSED', answer)
  }

  /** The session had to be sealed while this relay was running: it can not be paid any more. */
  #cutOff(relay: Arrived): RelayResponse {
    return this.#unmined(
      relay,
      'failed',
      'LATE',
      innerError(504, 'the session ended before the answer', 'session_ended'),
    )
  }

  /** An authorised relay gets a signature: gateways shut out for long who answers without one. */
  #broken(relay: Arrived, refusal: RelayError): RelayResponse {
    if (refusal.code === 'CHAIN_SILENT') {
      const text = 'the supplier cannot take the relay at the moment'
      return this.#refuse(relay, innerError(429, text, 'unavailable', 5))
    }
    const answer = innerError(502, 'the relay could not be completed', 'internal_error')
    return this.#unmined(relay, 'failed', 'ENGINE', answer)
  }

  #unmined(relay: Arrived, outcome: Outcome, code: RelayCode, answer: InnerAnswer): RelayResponse {
    this.#counts[outcome]++
    return signedResponse(relay.signer, relay.header, answer, wireError(code, ''), relay.form)
  }

  /** Errors of lower floors in our words; what the operator may have to mend is told in the log. */
  #refusal(error: unknown): RelayError {
    if (error instanceof RelayError) return error
    const { log } = this.#deps
    const code = error instanceof SupplierError ? error.code : undefined
    if (code === 'SESSION_SEALED')
      return new RelayError('EXPIRED', 'session expired: it takes no more relays', { cause: error })
    if (code === 'METER' || error instanceof ChainError) {
      log.warn({ err: error }, 'relay refused, the chain does not answer')
      return new RelayError('CHAIN_SILENT', 'the relay cannot be taken now', { cause: error })
    }
    log.error({ err: error }, 'relay failed')
    return new RelayError('ENGINE', 'the relay could not be completed', { cause: error })
  }
}

/** Of an authorised relay: one that is not to be answered at all, here or again. */
function isUnsigned({ code }: RelayError): boolean {
  return code === 'REPLAYED' || code === 'EXPIRED'
}

/** A body alone is what would be posted to the bare URL: it tells by itself what is asked. */
function innerRequest(payload: Uint8Array, form: PayloadForm): HttpRequest | undefined {
  if (form === 'bare') return { method: 'POST', url: '/', headers: JSON_HEADERS, body: payload }
  try {
    return decodeHttpRequest(payload)
  } catch {
    return undefined
  }
}
