/**
 * Who may sign for an application: its own key, those of the gateways it delegated to, and those that
 * it undelegated from in or after the session; a fixed placeholder where there is no gateway.
 *
 * Every key in a ring must be one of them. Order and completeness are not asked for: gateways send
 * `[application, gateway]` in the chain's order, `[application, application]` without a delegation,
 * and poktroll's own client sorts and uses the placeholder. Membership comes before any curve work,
 * and the length is bounded, because an application's key is public and anybody can repeat it: a ring
 * of 64 costs 22 ms to find false, a ring of two 1 ms.
 * Source: poktroll pkg/crypto/rings/client.go. Tests: test/relay/ringkeys.ts.
 */
import { compare, concat, equal, hex, sha256 } from '../base/bytes.ts'
import { LruMap } from '../base/queue.ts'
import { type Height, height } from '../base/units.ts'
import { CryptoError } from '../crypto/errors.ts'
import { PLACEHOLDER_KEY, parseRing, type Ring } from '../crypto/ring.ts'
import { readInteger, reduce, writeInteger } from '../crypto/scalar.ts'
import type { Application } from '../protocol/gen/pocket/application/application.ts'
import type { Params as SharedParams } from '../protocol/gen/pocket/shared/shared.ts'
import type { RelayRequest, SessionHeader } from '../protocol/relay.ts'
import { gridAt } from '../protocol/session.ts'
import { RelayError } from './errors.ts'

export interface RingKeysDeps {
  readonly chain: {
    sharedParams(at: Height, signal?: AbortSignal): Promise<SharedParams>
    application(address: string, signal?: AbortSignal): Promise<Application | undefined>
    account(
      address: string,
      signal?: AbortSignal,
    ): Promise<{ readonly publicKey?: Uint8Array | undefined } | undefined>
  }
  readonly verifier: { verify(message: Uint8Array, ring: Ring): boolean }
}

interface Members {
  readonly keys: ReadonlySet<string>
  /** When it was read: a delegation made since is looked for once a height. */
  readonly readAt: Height
}

const MEMBERS_MAX = 10_000

export class RingKeys {
  readonly #deps: RingKeysDeps
  readonly #members = new LruMap<string, Members>(MEMBERS_MAX)

  constructor(deps: RingKeysDeps) {
    this.#deps = deps
  }

  /**
   * Whether every key of the ring may sign for the application of this session.
   * @param header the chain's own: what it says is asked of the chain
   * @throws RelayError RING_INVALID, RING_UNKNOWN, or what the chain floor throws
   */
  async requireMembers(
    ring: Ring,
    header: SessionHeader,
    now: Height,
    signal: AbortSignal,
  ): Promise<void> {
    const name = `${header.applicationAddress} ${header.sessionEndBlockHeight}`
    let members = this.#members.get(name)
    if (members === undefined || (members.readAt < now && !isSettled(members, ring))) {
      members = { keys: await this.#read(header, signal), readAt: now }
      this.#members.set(name, members)
    }
    if (!contains(members, ring)) {
      throw new RelayError(
        'RING_INVALID',
        'the ring has a key that may not sign for the application',
      )
    }
    if (ring.members.length > members.keys.size + 1)
      throw new RelayError('RING_INVALID', 'the ring repeats its keys')
  }

  /** @param message the request's signable hash. @throws RelayError RING_INVALID */
  requireSignature(message: Uint8Array, ring: Ring): void {
    if (!this.#deps.verifier.verify(message, ring))
      throw new RelayError('RING_INVALID', 'invalid relay request signature or bytes')
  }

  async #read(header: SessionHeader, signal: AbortSignal): Promise<Set<string>> {
    const { chain } = this.#deps
    const end = height(header.sessionEndBlockHeight)
    const [application, params] = await Promise.all([
      chain.application(header.applicationAddress, signal),
      chain.sharedParams(end, signal),
    ])
    if (application === undefined)
      throw new RelayError('RING_UNKNOWN', 'the application is not staked')
    const gateways = gatewaysOf(application, gridAt(end, params).end)
    const addresses = [header.applicationAddress, ...gateways]
    const keys = await Promise.all(addresses.map((address) => this.#key(address, signal)))
    if (gateways.length === 0) keys.push(PLACEHOLDER_KEY)
    return new Set(keys.map(hex))
  }

  async #key(address: string, signal: AbortSignal): Promise<Uint8Array> {
    const account = await this.#deps.chain.account(address, signal)
    if (account?.publicKey === undefined) {
      throw new RelayError('RING_UNKNOWN', `account ${address} has no public key on the chain`)
    }
    return account.publicKey
  }
}

/** The gateways of a session that ends at `sessionEnd`: an undelegation counts after its own session. */
export function gatewaysOf(application: Application, sessionEnd: Height): string[] {
  const gateways = [...application.delegateeGatewayAddresses]
  for (const [undelegatedAt, list] of application.pendingUndelegations) {
    if (undelegatedAt >= BigInt(sessionEnd)) gateways.push(...list.gatewayAddresses)
  }
  return gateways
}

/** The request's signature taken apart, before anything is asked. @throws RelayError RING_INVALID */
export function ringOf(request: RelayRequest): Ring {
  try {
    return parseRing(request.meta?.signature ?? new Uint8Array(0))
  } catch (cause) {
    if (!(cause instanceof CryptoError)) throw cause
    throw new RelayError('RING_INVALID', 'the signature is not a ring signature', { cause })
  }
}

/**
 * What tells one signed request from every other: 32 bytes. Not simply a hash of the request, because
 * a ring signature can be turned by whoever has seen it: with the challenge of the next member in
 * front, the same members one place on are a good signature in other bytes. So the members count
 * without their order, and the first challenge, which follows from the rest, not at all. A scalar
 * counts as the number that it stands for: N more is the same signature.
 * @param message the request's signable hash: everything but the signature
 */
export function replayKeyOf(message: Uint8Array, ring: Ring): Uint8Array {
  const members = ring.members
    .map(({ s, key }) => concat(writeInteger(reduce(readInteger(s))), key))
    .sort(compare)
  return sha256(concat(message, ring.keyImage, ...members))
}

/**
 * Good for the whole session. Keys are only added in its course, but for the placeholder: the first
 * gateway takes its place, and the chain then refuses a proof with the placeholder in its ring.
 */
function isSettled(members: Members, ring: Ring): boolean {
  return contains(members, ring) && !ring.members.some(({ key }) => equal(key, PLACEHOLDER_KEY))
}

function contains(members: Members, ring: Ring): boolean {
  return ring.members.every(({ key }) => members.keys.has(hex(key)))
}
