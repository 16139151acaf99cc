/**
 * Is this relay ours, in time, and rightly signed, and is its header the chain's? From cheap to dear,
 * and before anything is served. The result's type is the only one that the floors above accept.
 *
 * A matching session id proves nothing about the other header fields, so all five are compared: a
 * relay with a foreign field in our tree would fail its proof on the chain.
 * Heights: windows by the parameters at the session's END; the session itself as of its START.
 * Source: poktroll pkg/relayer/relay_authenticator/relay_verifier.go. Tests: test/relay/authorize.ts.
 */
import { sha256 } from '../base/bytes.ts'
import { isAbort, SupplierError } from '../base/errors.ts'
import { LruMap } from '../base/queue.ts'
import { type Address, type Height, height, offset } from '../base/units.ts'
import type { Block } from '../chain/blocks.ts'
import type { Signer } from '../keys/keyring.ts'
import type { Session } from '../protocol/gen/pocket/session/session.ts'
import type { Params as SharedParams } from '../protocol/gen/pocket/shared/shared.ts'
import {
  decodeRelayRequest,
  encodeRelayRequest,
  type RelayRequest,
  requestSignableHash,
  type SessionHeader,
  validateRequest,
} from '../protocol/relay.ts'
import { firstDifference, gridAt } from '../protocol/session.ts'
import { windowsOf } from '../protocol/windows.ts'
import { RelayError } from './errors.ts'
import type { RingKeys } from './ringkeys.ts'

declare const authorized: unique symbol

/** Made by `Authorizer` alone: what it holds has been checked against the chain and the ring. */
export interface AuthorizedRelay {
  readonly [authorized]: true
  readonly request: RelayRequest
  /** The chain's own header of the session, equal to the request's. */
  readonly header: SessionHeader
  readonly signer: Signer
  /** sha256 of the request's canonical bytes: a re-ordered copy of it is the same request. */
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
  readonly rings: RingKeys
  readonly signers: ReadonlyMap<Address, Signer>
  readonly services: ReadonlySet<string>
  /** Bounds the wait for a session that starts with the next block. */
  readonly deadline: (
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<Block>,
  ) => Promise<Block>
}

/** Sessions that the chain refused at the present height, so that asking again costs nothing. */
const REFUSED_MAX = 10_000

export class Authorizer {
  readonly #deps: AuthorizeDeps
  readonly #refused = new LruMap<string, { height: Height; error: RelayError }>(REFUSED_MAX)

  constructor(deps: AuthorizeDeps) {
    this.#deps = deps
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
    try {
      const now = await this.#inTime(header, signal)
      const session = await this.#session(header, now, signal)
      this.#compare(header, session, signer.address)
      await this.#deps.rings.check(request, header, requestSignableHash(request), now, signal)
      const replayKey = sha256(encodeRelayRequest(request))
      return {
        request,
        header: session.header ?? header,
        signer,
        replayKey,
        now,
      } as AuthorizedRelay
    } catch (error) {
      if (error instanceof RelayError || isAbort(error, signal)) throw error
      const cause =
        error instanceof SupplierError
          ? { cause: error, retryable: error.retryable }
          : { cause: error }
      throw new RelayError('CHAIN_SILENT', 'the relay cannot be checked now', cause)
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

  /** Plausible heights, and a session that is still served. Gives back the height it was judged at. */
  async #inTime(header: SessionHeader, signal: AbortSignal): Promise<Height> {
    const head = this.#deps.blocks.head()
    if (head === undefined)
      throw new RelayError('CHAIN_SILENT', 'no block has been seen yet', { retryable: true })
    let now = head.height
    const start = plausible(header.sessionStartBlockHeight)
    const end = plausible(header.sessionEndBlockHeight)
    if (start === now + 1) {
      // Gateways see the first block of a session before we do, and punish a refusal for long.
      now = (await this.#deps.deadline(signal, (bound) => this.#deps.blocks.waitFor(start, bound)))
        .height
    }
    const params = await this.#deps.chain.sharedParams(now, signal)
    const blocks = Number(params.numBlocksPerSession)
    if (start > now || end > now + blocks)
      throw mismatch(`no session runs from ${start} to ${end} at ${now}`)
    if (end < now) {
      const grace = Number(params.gracePeriodEndOffsetBlocks)
      // Far past ends are refused before the chain is asked for parameters at a height of theirs.
      const { graceEnd } =
        end < now - grace - blocks * 2
          ? { graceEnd: end }
          : windowsOf(end, await this.#deps.chain.sharedParams(end, signal))
      if (now > graceEnd)
        throw new RelayError('EXPIRED', `session expired, expecting: ${end}, got: ${now}.`)
    }
    const grid = gridAt(start, await this.#deps.chain.sharedParams(start, signal))
    if (grid.start !== start || grid.end !== end)
      throw mismatch(`no session runs from ${start} to ${end}`)
    return now
  }

  async #session(header: SessionHeader, now: Height, signal: AbortSignal): Promise<Session> {
    const { applicationAddress, serviceId } = header
    const start = height(header.sessionStartBlockHeight)
    const name = `${applicationAddress} ${serviceId} ${start}`
    const before = this.#refused.get(name)
    if (before?.height === now) throw before.error
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

  #compare(header: SessionHeader, session: Session, operator: Address): void {
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
  }
}

function mismatch(message: string): RelayError {
  return new RelayError('SESSION_MISMATCH', message)
}

/** Heights come from a stranger: 2^63 − 1 is one too. */
function plausible(value: bigint): Height {
  if (value < 1n || value > BigInt(Number.MAX_SAFE_INTEGER))
    throw mismatch('implausible session heights')
  return offset(height(value), 0)
}
