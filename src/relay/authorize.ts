/**
 * Is this relay ours, in time, and rightly signed, and is its header the chain's? From cheap to dear,
 * and before anything is served. The result's type is the only one that the floors above accept.
 *
 * A matching session id proves nothing about the other header fields, so all five are compared: a
 * relay with a foreign field in our tree would fail its proof on the chain.
 * Nobody who invents sessions or applications makes us ask the chain without end: heights are
 * compared with the grid before a session is asked for, what was refused is remembered for the height,
 * and applications that never sent a good relay share a number of questions at each height. A session
 * that starts with the next block is waited for by what is rightly signed (early.ts).
 * Heights: grid and windows by the parameters at the session's END, for a running session by those of
 * now, which are the same; the session itself as of its START.
 * Source: poktroll pkg/relayer/relay_authenticator/relay_verifier.go. Tests: test/relay/authorize.ts,
 * test/relay/tampering.ts, test/relay/delegations.ts, test/relay/hostile-table.ts.
 */
import { isAbort, SupplierError } from '../base/errors.ts'
import { LruMap } from '../base/queue.ts'
import { type Address, type Height, height } from '../base/units.ts'
import type { Block } from '../chain/blocks.ts'
import type { Ring } from '../crypto/ring.ts'
import type { Signer } from '../keys/keyring.ts'
import type { Session } from '../protocol/gen/pocket/session/session.ts'
import type { Params as SharedParams } from '../protocol/gen/pocket/shared/shared.ts'
import {
  decodeRelayRequest,
  type RelayRequest,
  requestSignableHash,
  type SessionHeader,
  validateRequest,
} from '../protocol/relay.ts'
import { firstDifference, type Grid, gridAt } from '../protocol/session.ts'
import { windowsOf } from '../protocol/windows.ts'
import { type EarlyDeps, EarlyRelays } from './early.ts'
import { RelayError } from './errors.ts'
import { type RingKeys, replayKeyOf, ringOf } from './ringkeys.ts'

declare const authorized: unique symbol

/** Made by `Authorizer` alone: what it holds has been checked against the chain and the ring. */
export interface AuthorizedRelay {
  readonly [authorized]: true
  readonly request: RelayRequest
  /** The chain's own header of the session, equal to the request's. */
  readonly header: SessionHeader
  readonly signer: Signer
  /** 32 bytes, the same for a copy of the request whose fields or ring members are in another order. */
  readonly replayKey: Uint8Array
  /** The latest height when it was checked. */
  readonly now: Height
}

export interface AuthorizeDeps {
  readonly blocks: {
    head(): Block | undefined
    waitFor(height: Height, signal: AbortSignal): Promise<Block>
  }
  readonly chain: {
    sharedParams(at: Height, signal?: AbortSignal): Promise<SharedParams>
    session(app: string, serviceId: string, at: Height, signal?: AbortSignal): Promise<Session>
  }
  readonly rings: Pick<RingKeys, 'requireMembers' | 'requireSignature'>
  readonly signers: ReadonlyMap<Address, Signer>
  readonly services: ReadonlySet<string>
  /** Bounds the wait for a session that starts with the next block. @throws BaseError DEADLINE */
  readonly deadline: EarlyDeps['deadline']
  /** Applications that sent a good relay before the start: no strangers, whoever else asks. */
  readonly served?: Iterable<string>
}

export interface AuthorizeOptions {
  /** Sessions of applications without a good relay so far that the chain is asked for at one height. */
  readonly strangersMax: number
  /** Applications with a good relay, and refused sessions, that are remembered. */
  readonly rememberedMax: number
  /** Relays that wait at a time for the session that starts with the next block. */
  readonly earlyMax: number
}

export const AUTHORIZE_DEFAULTS: AuthorizeOptions = {
  strangersMax: 256,
  rememberedMax: 10_000,
  earlyMax: 1_000,
}

/** Sessions before the present one that may still be in their grace period, whatever it was set to. */
const PAST_SESSIONS = 2

export class Authorizer {
  readonly #deps: AuthorizeDeps
  readonly #options: AuthorizeOptions
  readonly #early: EarlyRelays
  /** Sessions that the chain refused at a height, so that asking again costs nothing. */
  readonly #refused: LruMap<string, { height: Height; error: RelayError }>
  readonly #known: LruMap<string, true>
  /** The sessions of strangers asked for at `height`. */
  #asked: { readonly height: Height; readonly names: Set<string> } | undefined

  constructor(deps: AuthorizeDeps, options: AuthorizeOptions = AUTHORIZE_DEFAULTS) {
    this.#deps = deps
    this.#options = options
    this.#early = new EarlyRelays(deps, options.earlyMax)
    this.#refused = new LruMap(options.rememberedMax)
    this.#known = new LruMap(options.rememberedMax)
    for (const application of deps.served ?? []) this.#known.set(application, true)
  }

  /** @throws RelayError UNDECODABLE */
  decode(bytes: Uint8Array): RelayRequest {
    try {
      return decodeRelayRequest(bytes)
    } catch (cause) {
      throw new RelayError('UNDECODABLE', 'the body is not a relay request', { cause })
    }
  }

  /** @throws RelayError, or `signal.reason` */
  async authorize(request: RelayRequest, signal: AbortSignal): Promise<AuthorizedRelay> {
    const { header, signer } = this.#ours(request)
    const ring = ringOf(request)
    const { rings } = this.#deps
    try {
      const now = await this.#inTime(request, ring, header, signal)
      const session = await this.#session(header, now, signal)
      const own = this.#compare(header, session, signer.address)
      await rings.requireMembers(ring, own, now, signal)
      signal.throwIfAborted()
      const message = requestSignableHash(request)
      rings.requireSignature(message, ring)
      this.#known.set(own.applicationAddress, true)
      const replayKey = replayKeyOf(message, ring)
      return { request, header: own, signer, replayKey, now } as AuthorizedRelay
    } catch (error) {
      // Whatever is not an error of a lower floor is a bug of ours, and not made to look like one.
      if (error instanceof RelayError || !(error instanceof SupplierError)) throw error
      if (isAbort(error, signal)) throw error
      throw new RelayError('CHAIN_SILENT', 'the relay cannot be checked now', {
        cause: error,
        retryable: error.retryable,
      })
    }
  }

  /** What needs no chain: fields, supplier, service. */
  #ours(request: RelayRequest): { header: SessionHeader; signer: Signer } {
    try {
      validateRequest(request)
    } catch (cause) {
      const text =
        cause instanceof Error ? cause.message.replace(/: invalid relay request$/, '') : ''
      throw new RelayError('INVALID', text, { cause })
    }
    const header = request.meta?.sessionHeader
    const operator = request.meta?.supplierOperatorAddress
    const signer = this.#deps.signers.get(operator as Address)
    if (signer === undefined)
      throw new RelayError('FOREIGN_SUPPLIER', 'not a supplier of this machine')
    if (header === undefined || !this.#deps.services.has(header.serviceId)) {
      throw new RelayError('FOREIGN_SERVICE', `service "${header?.serviceId}" not configured`)
    }
    return { header, signer }
  }

  /**
   * A session of the grid that is running or in its grace period. Gives back the height it was judged
   * at. The chain is asked for parameters of heights near the present one only.
   */
  async #inTime(
    request: RelayRequest,
    ring: Ring,
    header: SessionHeader,
    signal: AbortSignal,
  ): Promise<Height> {
    const head = this.#deps.blocks.head()
    if (head === undefined)
      throw new RelayError('CHAIN_SILENT', 'no block has been seen yet', { retryable: true })
    const start = plausible(header.sessionStartBlockHeight)
    const end = plausible(header.sessionEndBlockHeight)
    let now = head.height
    if (start === now + 1) {
      await this.#early.requireNext(header, now, signal)
      this.#countStranger(header, now)
      now = await this.#early.wait({ request, ring, header }, now, signal)
    }
    const grid = end < now ? await this.#ended(end, now, signal) : await this.#running(now, signal)
    if (grid.start !== start || grid.end !== end)
      throw mismatch(`no session runs from ${start} to ${end} at ${now}`)
    return now
  }

  async #running(now: Height, signal: AbortSignal): Promise<Grid> {
    return gridAt(now, await this.#deps.chain.sharedParams(now, signal))
  }

  async #ended(end: Height, now: Height, signal: AbortSignal): Promise<Grid> {
    const { chain } = this.#deps
    const expired = () =>
      new RelayError('EXPIRED', `session expired, expecting: ${end}, got: ${now}.`)
    const { gracePeriodEndOffsetBlocks, numBlocksPerSession } = await chain.sharedParams(
      now,
      signal,
    )
    const past = gracePeriodEndOffsetBlocks + numBlocksPerSession * BigInt(PAST_SESSIONS)
    if (BigInt(now - end) > past) throw expired()
    const params = await chain.sharedParams(end, signal)
    if (now > windowsOf(end, params).graceEnd) throw expired()
    return gridAt(end, params)
  }

  async #session(header: SessionHeader, now: Height, signal: AbortSignal): Promise<Session> {
    const { applicationAddress, serviceId } = header
    const start = height(header.sessionStartBlockHeight)
    const name = nameOf(header)
    const before = this.#refused.get(name)
    if (before?.height === now) throw before.error
    this.#countStranger(header, now)
    try {
      return await this.#deps.chain.session(applicationAddress, serviceId, start, signal)
    } catch (cause) {
      if (!(cause instanceof SupplierError) || cause.retryable || isAbort(cause, signal))
        throw cause
      const error = new RelayError('SESSION_UNKNOWN', 'the chain does not know this session', {
        cause,
      })
      this.#refused.set(name, { height: now, error })
      throw error
    }
  }

  /** A session is counted once a height: the chain floor remembers the answer. @throws RelayError REFUSED */
  #countStranger(header: SessionHeader, now: Height): void {
    if (this.#known.get(header.applicationAddress) !== undefined) return
    const name = nameOf(header)
    if (this.#asked === undefined || this.#asked.height < now)
      this.#asked = { height: now, names: new Set() }
    const { names } = this.#asked
    if (names.has(name)) return
    if (names.size >= this.#options.strangersMax) {
      throw new RelayError('REFUSED', 'too many unknown applications at this height', {
        retryable: true,
      })
    }
    names.add(name)
  }

  /** The chain's own header, which is equal to the request's. */
  #compare(header: SessionHeader, session: Session, operator: Address): SessionHeader {
    if (session.header === undefined) throw mismatch('the chain gave no header')
    const field = firstDifference(header, session.header)
    if (field === 'session_id') {
      throw mismatch(
        `session ID mismatch, expecting: ${session.sessionId}, got: ${header.sessionId}.`,
      )
    }
    if (field !== undefined) throw mismatch(`session header ${field} mismatch.`)
    if (!session.suppliers.some((supplier) => supplier.operatorAddress === operator)) {
      throw new RelayError('NOT_IN_SESSION', `supplier ${operator}`)
    }
    return session.header
  }
}

/** Of a session, by what the chain is asked for it; not by its id, which anybody can make up. */
function nameOf(header: SessionHeader): string {
  const { applicationAddress, serviceId, sessionStartBlockHeight: start } = header
  return `${applicationAddress} ${serviceId} ${start}`
}

function mismatch(message: string): RelayError {
  return new RelayError('SESSION_MISMATCH', message)
}

/** Heights come from a stranger: 2^63 − 1 is one too. */
function plausible(value: bigint): Height {
  if (value < 1n || value > BigInt(Number.MAX_SAFE_INTEGER))
    throw mismatch('implausible session heights')
  return height(value)
}
