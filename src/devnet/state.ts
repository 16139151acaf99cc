/**
 * What the simulated chain knows: its tables, and the questions that every module asks of them.
 *
 * Records are the chain's own messages. A supplier is kept without its active services: which are
 * active follows from its history and the height that is asked for. Histories of parameters, compute
 * units and difficulty are lists of values with the height from which each holds.
 * Source: poktroll x/<module>/keeper, x/shared/types/session.go. Tested by test/devnet/params.ts.
 */
import type { Height, Upokt } from '../base/units.ts'
import { height, upokt } from '../base/units.ts'
import type {
  Application,
  Params as ApplicationParams,
} from '../protocol/gen/pocket/application/application.ts'
import type { Gateway, Params as GatewayParams } from '../protocol/gen/pocket/gateway/gateway.ts'
import type { Claim, Proof, Params as ProofParams } from '../protocol/gen/pocket/proof/proof.ts'
import type {
  RelayMiningDifficulty,
  Params as ServiceParams,
} from '../protocol/gen/pocket/service/service.ts'
import type { Params as SessionParams } from '../protocol/gen/pocket/session/session.ts'
import type {
  Service,
  Params as SharedParams,
  Supplier,
} from '../protocol/gen/pocket/shared/shared.ts'
import type { Params as SupplierParams } from '../protocol/gen/pocket/supplier/supplier.ts'
import type { Params as TokenomicsParams } from '../protocol/gen/pocket/tokenomics/tokenomics.ts'
import { type Grid, gridAt } from '../protocol/session.ts'
import type { Event } from './events.ts'
import { type Source, Table } from './store.ts'

export interface AccountRecord {
  readonly number: bigint
  readonly sequence: bigint
  readonly publicKey?: Uint8Array
  /** The name of a module account; nobody holds its key. */
  readonly module?: string
}

/** Live parameters of every module. */
export interface AllParams {
  readonly shared: SharedParams
  readonly session: SessionParams
  readonly proof: ProofParams
  readonly service: ServiceParams
  readonly supplier: SupplierParams
  readonly application: ApplicationParams
  readonly gateway: GatewayParams
  readonly tokenomics: TokenomicsParams
}

/** Values with the height from which each holds, ascending. */
export type Timeline<V> = readonly { readonly height: number; readonly value: V }[]

export interface Tables {
  accounts: AccountRecord
  balances: bigint
  /** By operator address. */
  suppliers: Supplier
  /** Operators whose unbonding is watched; one that a slash forced out is not. */
  unstaking: true
  applications: Application
  gateways: Gateway
  services: Service
  /** By service: compute units per relay. */
  computeUnits: Timeline<bigint>
  difficulty: RelayMiningDifficulty
  difficultyHistory: Timeline<RelayMiningDifficulty>
  /** By `claimKey`. */
  claims: Claim
  proofs: Proof
  /** By height in decimals. */
  blockHashes: Uint8Array
  /** By `sender/nanoseconds`: when the unordered transaction ends (nanoseconds). */
  nonces: bigint
  /** The one key is `''`. */
  params: AllParams
  sharedHistory: Timeline<SharedParams>
  sessionHistory: Timeline<SessionParams>
}

export const TABLE_NAMES = [
  'accounts',
  'balances',
  'suppliers',
  'unstaking',
  'applications',
  'gateways',
  'services',
  'computeUnits',
  'difficulty',
  'difficultyHistory',
  'claims',
  'proofs',
  'blockHashes',
  'nonces',
  'params',
  'sharedHistory',
  'sessionHistory',
] as const satisfies readonly (keyof Tables)[]

export type State = { readonly [K in keyof Tables]: Table<Tables[K]> }

export function stateOver(below: (name: keyof Tables) => Source<unknown>): State {
  const tables = TABLE_NAMES.map((name) => [name, new Table(below(name))])
  return Object.fromEntries(tables) as unknown as State
}

/** A state to try things on: `state` sees nothing of it before `applyTo`. */
export function fork(state: State): State {
  return stateOver((name) => state[name])
}

export function applyTo(state: State, tried: State): void {
  for (const name of TABLE_NAMES) {
    const table = state[name] as Table<unknown>
    table.apply(tried[name].changes())
  }
}

/** What a message or the end of a block runs in. */
export interface Context {
  readonly state: State
  /** Of the block that is made, or whose state is asked. */
  readonly height: Height
  /** Nanoseconds since 1970. */
  readonly time: bigint
  /** In the order in which they happen. */
  readonly events: Event[]
}

export function claimKey(sessionId: string, operator: string): string {
  return `${sessionId}/${operator}`
}

export function paramsOf(state: State): AllParams {
  const params = state.params.get('')
  if (params === undefined) throw new RangeError('a chain without parameters')
  return params
}

/** The newest value that holds at `at`. */
export function valueAt<V>(line: Timeline<V> | undefined, at: number): V | undefined {
  return line?.findLast((entry) => entry.height <= at)?.value
}

/** With `value` from `at` on; replaces the entry of that height. */
export function withValue<V>(line: Timeline<V> | undefined, at: number, value: V): Timeline<V> {
  const others = (line ?? []).filter((entry) => entry.height !== at)
  return [...others, { height: at, value }].sort((a, b) => a.height - b.height)
}

/** ParamsAtHeight: the history's answer, else what is live. */
export function sharedAt(state: State, at: number): SharedParams {
  return valueAt(state.sharedHistory.get(''), at) ?? paramsOf(state).shared
}

export function sessionParamsAt(state: State, at: number): SessionParams {
  return valueAt(state.sessionHistory.get(''), at) ?? paramsOf(state).session
}

/** The session of the current block by the live parameters, as staking and unbonding reckon. */
export function liveGrid(context: Context): Grid {
  return gridAt(context.height, paramsOf(context.state).shared)
}

/** The first block of the next session, by the live parameters. */
export function nextSessionStart(context: Context): Height {
  return height(liveGrid(context).end + 1)
}

/** A height from outside; one beyond what numbers hold is as far ahead as any. */
export function heightOf(value: bigint): Height {
  const most = BigInt(2 ** 52)
  return height(value > most ? most : value)
}

/** The last block of the session that contains `at`, by the parameters of `at`. */
export function sessionEndOf(state: State, at: number): Height {
  return gridAt(height(at), sharedAt(state, at)).end
}

export function blockHashAt(state: State, at: number): Uint8Array {
  return state.blockHashes.get(String(at)) ?? new Uint8Array(0)
}

export function balanceOf(state: State, address: string): Upokt {
  return upokt(state.balances.get(address) ?? 0n)
}

/** Active at `at`: from its activation up to the block before its deactivation. */
export function isActive(
  update: { activationHeight: bigint; deactivationHeight: bigint },
  at: number,
): boolean {
  if (update.activationHeight > BigInt(at)) return false
  return update.deactivationHeight === 0n || update.deactivationHeight > BigInt(at)
}
