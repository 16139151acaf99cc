/**
 * What an application's stake still pays for in one session, for one supplier.
 *
 * The chain never pays a supplier more than its share of the application's stake, so serving beyond
 * it is work for nothing. Reserved before the engine runs and after the signature was checked, settled
 * when the relay is on disk, given back on every other path. After a restart what was served is
 * counted in the store. An answer of the chain that is missing refuses the relay: a meter that fails
 * open serves for nothing.
 * Heights: price at the session's START; offsets and blocks per session at its END; suppliers per
 * session and the application's stake as of now, frozen for the session.
 * Source: poktroll pkg/relayer/proxy/relay_meter.go. Tests: test/miner/meter.ts.
 */
import { assert } from '../base/errors.ts'
import { fromCoin, type Height } from '../base/units.ts'
import type { Application } from '../protocol/gen/pocket/application/application.ts'
import type { Params as SessionParams } from '../protocol/gen/pocket/session/session.ts'
import type { Params as SharedParams } from '../protocol/gen/pocket/shared/shared.ts'
import { meterLimit } from '../protocol/rewards.ts'
import { pendingSessions } from '../protocol/windows.ts'
import { type SessionKey, type SessionRecord, sessionKeyText } from '../store/sessions.ts'
import { MinerError } from './errors.ts'

export interface MeterDeps {
  readonly chain: {
    sharedParams(at: Height, signal?: AbortSignal): Promise<SharedParams>
    sessionParams(signal?: AbortSignal): Promise<SessionParams>
    application(address: string, signal?: AbortSignal): Promise<Application | undefined>
  }
  readonly relays: { served(key: SessionKey): Promise<number> }
}

/**
 * In fractions of an upokt, `computeUnitCostGranularity` of them in one: rounded down to whole upokt, a
 * cheap relay would count for less than it is paid, and too many would be served.
 */
interface Account {
  readonly limit: bigint
  readonly cost: bigint
  used: bigint
}

/** One relay's price, set aside. Exactly one of the two ends it; the second call does nothing. */
export interface Reservation {
  settle(): void
  refund(): void
}

export class Meter {
  readonly #deps: MeterDeps
  readonly #accounts = new Map<string, Promise<Account>>()

  constructor(deps: MeterDeps) {
    this.#deps = deps
  }

  /** Sessions that are kept in memory. */
  get size(): number {
    return this.#accounts.size
  }

  /** Undefined when the application's share is used up. @throws MinerError METER (retryable) */
  async reserve(session: SessionRecord, signal: AbortSignal): Promise<Reservation | undefined> {
    const account = await this.#account(session)
    signal.throwIfAborted()
    if (account.used + account.cost > account.limit) return undefined
    account.used += account.cost
    let open = true
    return {
      settle: () => {
        open = false
      },
      refund: () => {
        if (!open) return
        open = false
        account.used -= account.cost
        assert(account.used >= 0n, 'a meter gave back more than it had taken')
      },
    }
  }

  /** Forgets a session that takes no more relays. */
  forget(key: SessionKey): void {
    this.#accounts.delete(sessionKeyText(key))
  }

  /** Shared by all relays of the session, hence without the signal of any one of them. */
  #account(session: SessionRecord): Promise<Account> {
    const name = sessionKeyText(session.key)
    const known = this.#accounts.get(name)
    if (known !== undefined) return known
    const opening = this.#open(session).catch((cause: unknown) => {
      this.#accounts.delete(name)
      throw new MinerError('METER', 'what the application can pay is not known', {
        cause,
        retryable: true,
      })
    })
    this.#accounts.set(name, opening)
    return opening
  }

  async #open(session: SessionRecord): Promise<Account> {
    const { chain, relays } = this.#deps
    const [shared, params, application, served] = await Promise.all([
      chain.sharedParams(session.key.end),
      chain.sessionParams(),
      chain.application(session.header.applicationAddress),
      relays.served(session.key),
    ])
    const spend = fromCoin(application?.perSessionSpendLimit)
    const limit = meterLimit({
      applicationStake: fromCoin(application?.stake),
      suppliersPerSession: params.numSuppliersPerSession,
      pendingSessions: pendingSessions(shared),
      ...(spend > 0n ? { spendLimit: spend } : {}),
    })
    const { computeUnitsToTokensMultiplier: multiplier, computeUnitCostGranularity: granularity } =
      session.price
    const cost = session.computeUnitsPerRelay * multiplier
    return { limit: limit * granularity, cost, used: BigInt(served) * cost }
  }
}
