/**
 * Who may sign for an application: its own key, those of the gateways it delegated to, and those that
 * it undelegated from in or after the session; a fixed placeholder where there is no gateway.
 *
 * Every key in a ring must be one of them, and nothing else is asked of it: gateways send
 * `[application, gateway]` in the chain's order, `[application, application]` without a delegation,
 * and poktroll's own client sorts and uses the placeholder. Membership comes before any curve work.
 * Source: poktroll pkg/crypto/rings/client.go. Tests: test/relay/authorize.ts.
 */
import { hex } from '../base/bytes.ts'
import { LruMap } from '../base/queue.ts'
import { type Height, height } from '../base/units.ts'
import { CryptoError } from '../crypto/errors.ts'
import { PLACEHOLDER_KEY, parseRing, type Ring } from '../crypto/ring.ts'
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

  /** @throws RelayError RING_INVALID, RING_UNKNOWN */
  async check(
    request: RelayRequest,
    header: SessionHeader,
    message: Uint8Array,
    now: Height,
    signal: AbortSignal,
  ): Promise<void> {
    const ring = parse(request.meta?.signature ?? new Uint8Array(0))
    const name = `${header.applicationAddress} ${header.sessionEndBlockHeight}`
    let members = this.#members.get(name)
    if (members === undefined || (members.readAt < now && !contains(members, ring))) {
      members = { keys: await this.#read(header, signal), readAt: now }
      this.#members.set(name, members)
    }
    if (!contains(members, ring)) {
      throw new RelayError(
        'RING_INVALID',
        'the ring has a key that may not sign for the application',
      )
    }
    if (!this.#deps.verifier.verify(message, ring)) {
      throw new RelayError('RING_INVALID', 'invalid relay request signature or bytes')
    }
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
    const sessionEnd = gridAt(end, params).end
    const gateways = [...application.delegateeGatewayAddresses]
    for (const [undelegatedAt, list] of application.pendingUndelegations) {
      if (undelegatedAt >= BigInt(sessionEnd)) gateways.push(...list.gatewayAddresses)
    }
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

function contains(members: Members, ring: Ring): boolean {
  return ring.members.every(({ key }) => members.keys.has(hex(key)))
}

function parse(signature: Uint8Array): Ring {
  try {
    return parseRing(signature)
  } catch (cause) {
    if (!(cause instanceof CryptoError)) throw cause
    throw new RelayError('RING_INVALID', 'the signature is not a ring signature', { cause })
  }
}
