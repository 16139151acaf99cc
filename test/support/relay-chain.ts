/**
 * A chain of one service with applications that delegate: what the relay port asks of it, counted.
 *
 * Sessions and their ids are made as the chain makes them, over block hashes that are the hash of the
 * height. It can fall silent.
 */
import { sha256, utf8 } from '../../src/base/bytes.ts'
import { assert } from '../../src/base/errors.ts'
import {
  type Address,
  computeUnits,
  type Height,
  height,
  type Ms,
  ms,
} from '../../src/base/units.ts'
import type { Block } from '../../src/chain/blocks.ts'
import { CachedQuery } from '../../src/chain/cache.ts'
import { ChainError } from '../../src/chain/errors.ts'
import type { Account } from '../../src/chain/query.ts'
import { addressOf } from '../../src/protocol/address.ts'
import { Application } from '../../src/protocol/gen/pocket/application/application.ts'
import type { Session, SessionHeader } from '../../src/protocol/gen/pocket/session/session.ts'
import { Supplier } from '../../src/protocol/gen/pocket/shared/shared.ts'
import { BASE_TARGET } from '../../src/protocol/rewards.ts'
import { gridAt, sessionId, sessionPreimage } from '../../src/protocol/session.ts'
import { type SharedParams, sharedParams } from './params.ts'

export const SERVICE = 'text'
/** As much as any test uses up, at 1,000 upokt a relay. */
const RICH = 10n ** 12n

export class FakeChain {
  /** What `sharedParams` gives where `paramsAt` has nothing newer. */
  params: SharedParams = sharedParams()
  readonly paramsAt: { readonly from: number; readonly params: SharedParams }[] = []
  readonly applications = new Map<string, Application>()
  readonly publicKeys = new Map<string, Uint8Array | undefined>()
  suppliers: string[] = []
  target = BASE_TARGET
  /** Block times, by height. */
  timeOf: (at: number) => Ms = (at) => ms(1_000 * at)
  /** What the chain's own header has otherwise than it should. */
  headerOver: Partial<SessionHeader> = {}
  /** What was asked, in order: method and arguments. */
  readonly asked: string[] = []
  /** What every question ends with, or those of the method named. */
  silence: { readonly error: Error; readonly method?: string } | undefined
  #head: Block | undefined
  #waiting: { at: number; wake: (block: Block) => void }[] = []

  constructor(head: number | undefined) {
    if (head !== undefined) this.reach(head)
  }

  /** The chain floor's memory over this chain, as the supplier has it. */
  cached(): CachedQuery {
    return new CachedQuery({ query: this, head: () => this.#head?.height })
  }

  /** How often `method` was asked; without it, all questions. */
  count(method?: string): number {
    return this.asked.filter((line) => method === undefined || line.split(' ')[0] === method).length
  }

  fall(silent: boolean, method?: string): void {
    const error = new ChainError('RPC_UNREACHABLE', 'no endpoint answered', { retryable: true })
    this.silence = silent ? { error, ...(method === undefined ? {} : { method }) } : undefined
  }

  reach(at: number): void {
    const block = this.#blockAt(at)
    this.#head = block
    for (const { wake } of this.#waiting.filter((one) => one.at <= at)) wake(block)
    this.#waiting = this.#waiting.filter((one) => one.at > at)
  }

  head(): Block | undefined {
    return this.#head
  }

  async at(height: Height): Promise<Block> {
    return this.#blockAt(height)
  }

  get waiting(): number {
    return this.#waiting.length
  }

  waitFor(at: Height, signal: AbortSignal): Promise<Block> {
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      if (this.#head !== undefined && this.#head.height >= at) resolve(this.#blockAt(at))
      else this.#waiting.push({ at, wake: () => resolve(this.#blockAt(at)) })
    })
  }

  /** Stakes an application whose key is on the chain. */
  stake(publicKey: Uint8Array, over: Partial<Application> = {}): Address {
    const address = addressOf(publicKey)
    const application = Application.fromPartial({
      address,
      stake: { denom: 'upokt', amount: String(RICH) },
      serviceConfigs: [{ serviceId: SERVICE }],
      ...over,
    })
    this.applications.set(address, application)
    this.publicKeys.set(address, publicKey)
    return address
  }

  /** The session that `at` lies in, by the parameters of that height. */
  header(application: string, at: number, serviceId = SERVICE): SessionHeader {
    const { start, end } = gridAt(height(at), this.#params(height(at)))
    const { hash } = this.#blockAt(start)
    const preimage = sessionPreimage({
      blockHash: hash,
      serviceId,
      applicationAddress: application,
      start,
    })
    return {
      applicationAddress: application,
      serviceId,
      sessionId: sessionId(preimage),
      sessionStartBlockHeight: BigInt(start),
      sessionEndBlockHeight: BigInt(end),
    }
  }

  async sharedParams(at: Height): Promise<SharedParams> {
    this.#ask('sharedParams', at)
    return this.#params(at)
  }

  async session(application: string, serviceId: string, at: Height): Promise<Session> {
    this.#ask('session', application, serviceId, at)
    const staked = this.applications.get(application)
    if (!staked?.serviceConfigs.some((config) => config.serviceId === serviceId))
      throw new ChainError('SESSION', 'application for session not found not found ')
    if (this.#head === undefined || at > this.#head.height)
      throw new ChainError('HEIGHT_UNAVAILABLE', 'height is ahead', { retryable: true })
    const header = { ...this.header(application, at, serviceId), ...this.headerOver }
    return {
      header,
      sessionId: header.sessionId,
      sessionNumber: 1n,
      numBlocksPerSession: this.#params(at).numBlocksPerSession,
      application: staked,
      suppliers: this.suppliers.map((operatorAddress) => Supplier.fromPartial({ operatorAddress })),
    }
  }

  async application(address: string): Promise<Application | undefined> {
    this.#ask('application', address)
    return this.applications.get(address)
  }

  async account(address: string): Promise<Account | undefined> {
    this.#ask('account', address)
    if (!this.publicKeys.has(address)) return undefined
    const publicKey = this.publicKeys.get(address)
    return { number: 1n, sequence: 1n, ...(publicKey === undefined ? {} : { publicKey }) }
  }

  async sessionParams() {
    this.#ask('sessionParams')
    return { numSuppliersPerSession: 1n }
  }

  async difficulty(serviceId: string, at: Height): Promise<Uint8Array> {
    this.#ask('difficulty', serviceId, at)
    return this.target
  }

  async computeUnitsPerRelay(serviceId: string, at: Height) {
    this.#ask('computeUnitsPerRelay', serviceId, at)
    return computeUnits(1_000)
  }

  readonly proofParams = notForRelays
  readonly service = notForRelays
  readonly supplier = notForRelays
  readonly tokenomicsParams = notForRelays

  #blockAt(at: number): Block {
    return { height: height(at), hash: sha256(utf8(`block ${at}`)), time: this.timeOf(at) }
  }

  #params(at: Height): SharedParams {
    return this.paramsAt.findLast(({ from }) => from <= at)?.params ?? this.params
  }

  #ask(method: string, ...what: (string | number)[]): void {
    this.asked.push([method, ...what].join(' '))
    const { silence } = this
    if (silence !== undefined && (silence.method ?? method) === method) throw silence.error
  }
}

async function notForRelays(): Promise<never> {
  assert(false, 'no relay needs this answer')
}
