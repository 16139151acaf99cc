/**
 * The conductor of one relay, and the only file that knows both the inference and the miner.
 *
 * Authorise, set aside its price, run, sign, make durable; then, and only then, the answer leaves.
 * Outcomes (the outer status is always 200):
 *   not authorised, replayed, late          unsigned error reply, nothing mined
 *   the application's share is used up      signed inner 429, code 7, not mined
 *   refused by us, or too large to claim    signed inner 429 / 413, code 10, not mined
 *   (refused too: the chain does not say what the relay is worth, its session ends too soon)
 *   an answer, or a fault of the request    signed, mined if its hash is under the target
 *   the engine failed or was too slow       signed inner 502 / 504, code 5 / 10, not mined
 *   the disk failed, or the session was     the same
 *   sealed while the relay was running
 * So a signed answer without `relay_miner_error` is exactly what a claim counts. A stream that goes out in
 * frames (stream.ts) is one relay: what is mined is the answer with all of its text, signed once more, and
 * what goes wrong after the first frame is told in the last one.
 * Tests: test/relay/handler.ts, test/relay/interruptions.ts, test/relay/replays.ts,
 * test/relay/streaming.ts, test/relay/engine.ts, test/relay/public-gateway.ts and test/e2e.
 */
import { following } from '../base/abort.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { type Ms, ms } from '../base/units.ts'
import type { AnswerOptions, InferenceAnswer } from '../inference/inference.ts'
import type { Intake } from '../miner/intake.ts'
import type { Meter, Reservation } from '../miner/meter.ts'
import type { HttpRequest } from '../protocol/http.ts'
import { encodeRelayResponse, type RelayRequest } from '../protocol/relay.ts'
import type { SessionRecord } from '../store/sessions.ts'
import type { AuthorizedRelay, Authorizer } from './authorize.ts'
import { type Carrier, innerRequest } from './carrier.ts'
import { type RelayCode, RelayError, wireError } from './errors.ts'
import { asWhole, isUnsigned, refusalOf } from './failure.ts'
import type { Remaining } from './remaining.ts'
import {
  EVENT_STREAM,
  errorReply,
  type InnerAnswer,
  innerError,
  type PayloadForm,
  signedResponse,
} from './respond.ts'
import { SERVICE_RULES, type ServiceRules } from './rules.ts'
import { FrameStream } from './stream.ts'

export interface HandlerDeps {
  readonly clock: Clock
  readonly authorizer: Pick<Authorizer, 'decode' | 'authorize'>
  readonly intake: Pick<Intake, 'admit' | 'enter' | 'record'>
  readonly meter: Pick<Meter, 'reserve'>
  readonly remaining: Pick<Remaining, 'of'>
  readonly inference: {
    answer(id: string, request: HttpRequest, options: AnswerOptions): Promise<InferenceAnswer>
  }
  readonly log: Log
}

export interface HandlerOptions {
  /** Of a service that `services` does not name. */
  readonly rules: ServiceRules
  /** By service id. */
  readonly services: ReadonlyMap<string, ServiceRules>
  /** The chain publishes sampled requests: a larger one could not be proven and is not served. */
  readonly minedRequestMax: number
}

export const HANDLER_DEFAULTS: HandlerOptions = {
  rules: SERVICE_RULES,
  services: new Map(),
  minedRequestMax: 512 * 1024,
}

/** Nobody has checked the id of a service in a relay that is rejected: it may be megabytes. */
const SERVICE_LOGGED_MAX = 42

/** A relay, how it came, and how its answer is to be put. */
type Arrived = AuthorizedRelay & {
  readonly form: PayloadForm
  /** In bytes, as it came. */
  readonly size: number
  /** A value of `clock.monotonic()`. */
  readonly arrivedAt: Ms
  readonly rules: ServiceRules
  /** Present where a stream is to go in frames. */
  readonly stream: FrameStream | undefined
}

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
   * @returns the bytes of a RelayResponse, or of what ends a stream whose frames were opened
   * @throws only `signal.reason`: the client is gone and nobody waits for an answer
   */
  async handle(bytes: Uint8Array, signal: AbortSignal, carrier?: Carrier): Promise<Uint8Array> {
    const arrivedAt = this.#deps.clock.monotonic()
    let request: RelayRequest | undefined
    let relay: Arrived | undefined
    try {
      request = this.#deps.authorizer.decode(bytes)
      carrier?.admit?.(request)
      const authorized = await this.#deps.authorizer.authorize(request, signal)
      relay = this.#arrived(authorized, { size: bytes.length, arrivedAt }, carrier)
      return await this.#serve(relay, signal)
    } catch (error) {
      if (signal.aborted) {
        this.#counts.gone++
        throw signal.reason
      }
      const refusal = refusalOf(error, this.#deps.log)
      if (relay !== undefined && (relay.stream?.isOpen || !isUnsigned(refusal)))
        return this.#broken(relay, refusal)
      this.#counts.rejected++
      carrier?.rejected?.(refusal)
      const service = request?.meta?.sessionHeader?.serviceId.slice(0, SERVICE_LOGGED_MAX)
      this.#deps.log.debug({ code: refusal.code, service }, 'relay rejected')
      return errorReply(refusal, request)
    } finally {
      relay?.stream?.stop()
    }
  }

  #arrived(
    relay: AuthorizedRelay,
    came: Pick<Arrived, 'size' | 'arrivedAt'>,
    { form, frames }: Carrier = { form: 'http' },
  ): Arrived {
    const { signer, header } = relay
    const rules = this.#options.services.get(header.serviceId) ?? this.#options.rules
    const isBatched = frames !== undefined && (frames.isAsked || rules.streaming === 'batched')
    const stream = isBatched
      ? new FrameStream({
          clock: this.#deps.clock,
          sink: frames,
          sign: (body, error) => {
            const piece = { status: 200, contentType: EVENT_STREAM, body }
            return signedResponse(signer, header, piece, error, 'piece')
          },
        })
      : undefined
    return { ...relay, ...came, form, rules, stream }
  }

  async #serve(relay: Arrived, signal: AbortSignal): Promise<Uint8Array> {
    const { intake, meter } = this.#deps
    if (this.#draining)
      return this.#refuse(relay, innerError(429, 'stopping at the moment', 'stopping', 30))
    if (relay.size > this.#options.minedRequestMax) return this.#tooLarge(relay)
    const deadline = await this.#deadlineOf(relay, signal)
    if (deadline === undefined)
      return this.#refuse(relay, innerError(429, 'the session ends too soon', 'session_ending', 1))
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
        const answer = await this.#run(relay, deadline, cut.signal)
        return await this.#conclude(relay, answer, session, reservation)
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

  /** Undefined when the session is over before anything could be answered. @throws `signal.reason` */
  async #deadlineOf(relay: Arrived, signal: AbortSignal): Promise<Ms | undefined> {
    const { clock, remaining } = this.#deps
    const deadline = ms(relay.arrivedAt + relay.rules.deadline)
    const left = await remaining.of(relay.header, signal)
    if (left === undefined) return deadline
    return left === 0 ? undefined : ms(Math.min(deadline, clock.monotonic() + left))
  }

  async #run(relay: Arrived, deadline: Ms, signal: AbortSignal): Promise<InferenceAnswer> {
    const { header, rules, stream } = relay
    const inner = innerRequest(relay.request.payload, relay.form)
    if (inner === undefined)
      return innerError(400, 'the payload of the relay is not a request', 'bad_request')
    const canStream = stream !== undefined || rules.streaming !== 'refuse'
    const answer = await this.#deps.inference.answer(header.serviceId, inner, {
      signal,
      deadline,
      party: header.applicationAddress,
      scope: `${header.sessionId} ${header.applicationAddress}`,
      ...(canStream ? { onEvents: (text) => stream?.add(text) } : {}),
    })
    stream?.hold()
    signal.throwIfAborted()
    return answer
  }

  async #conclude(
    relay: Arrived,
    answer: InferenceAnswer,
    session: SessionRecord,
    reservation: Reservation,
  ): Promise<Uint8Array> {
    const { clock, intake, log } = this.#deps
    if (answer.refused === true) return this.#refuse(relay, answer)
    if (answer.failed === 'timeout') return this.#unmined(relay, 'failed', 'LATE', answer)
    if (answer.failed !== undefined || answer.status >= 500)
      return this.#unmined(relay, 'failed', 'ENGINE', answer)
    const { header, request, signer, replayKey, form, stream } = relay
    const response = signedResponse(signer, header, answer, undefined, form)
    const recorded = await intake.record(session, request, response, replayKey)
    if (recorded === 'replayed')
      throw new RelayError('REPLAYED', 'this request was answered before')
    this.#counts.mined++
    reservation.settle()
    const durationMs = Math.round(clock.monotonic() - relay.arrivedAt)
    const { sessionId, serviceId: service, applicationAddress: app } = header
    const { promptTokens: tokensIn, completionTokens: tokensOut } = answer.usage ?? {}
    log.debug({ sessionId, service, app, durationMs, tokensIn, tokensOut }, 'relay answered')
    const isStream = stream !== undefined && answer.contentType === EVENT_STREAM
    return isStream ? stream.last() : encodeRelayResponse(response)
  }

  #tooLarge(relay: Arrived): Uint8Array {
    const text = `the relay is larger than ${this.#options.minedRequestMax} bytes and could not be proven`
    return this.#refuse(relay, innerError(413, text, 'request_too_large'))
  }

  #refuse(relay: Arrived, answer: InnerAnswer): Uint8Array {
    return this.#unmined(relay, 'refused', 'REFUSED', answer)
  }

  /** The session had to be sealed while this relay was running: it can not be paid any more. */
  #cutOff(relay: Arrived): Uint8Array {
    const answer = innerError(504, 'the session ended before the answer', 'session_ended')
    return this.#unmined(relay, 'failed', 'LATE', answer)
  }

  /** An authorised relay gets a signature: gateways shut out for long who answers without one. */
  #broken(relay: Arrived, refusal: RelayError): Uint8Array {
    if (refusal.code === 'CHAIN_SILENT') {
      const text = 'the relay cannot be taken at the moment'
      return this.#refuse(relay, innerError(429, text, 'unavailable', 5))
    }
    const answer = innerError(502, 'the relay could not be completed', 'internal_error')
    return this.#unmined(relay, 'failed', 'ENGINE', answer)
  }

  /** In the last frame of a stream under way, else as an answer of its own. */
  #unmined(relay: Arrived, outcome: Outcome, code: RelayCode, answer: InnerAnswer): Uint8Array {
    this.#counts[outcome]++
    const error = wireError(code, '')
    const { signer, header, form, stream } = relay
    if (stream?.isOpen !== true)
      return encodeRelayResponse(signedResponse(signer, header, asWhole(answer), error, form))
    if (answer.contentType === EVENT_STREAM) return stream.last(error)
    return stream.last(error, `data: ${new TextDecoder().decode(answer.body)}\n\n`)
  }
}
