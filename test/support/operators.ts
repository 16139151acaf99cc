/**
 * Many operators of one process on the devnet: the real chain parts over HTTP, the real miner, a real
 * database; blocks by hand. Relays are signed by the gateway and by the operator and recorded as the
 * relay port records them. All are of one application, hence of one session.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sha256, utf8 } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { Lifetime } from '../../src/base/lifetime.ts'
import { type Log, silentLog } from '../../src/base/log.ts'
import { height, ms, upokt } from '../../src/base/units.ts'
import { parseGasPrice } from '../../src/chain/tx.ts'
import { signRing } from '../../src/crypto/ring.ts'
import { Devnet } from '../../src/devnet/chain.ts'
import type { Event } from '../../src/devnet/events.ts'
import { devnetGenesis, type GenesisInput } from '../../src/devnet/genesis.ts'
import { MEMPOOL_DEFAULTS, type MempoolOptions } from '../../src/devnet/mempool.ts'
import { DevnetRpc, type DevnetRpcOptions } from '../../src/devnet/rpc.ts'
import { hydrate } from '../../src/devnet/session.ts'
import { buildChain, type ChainParts } from '../../src/node/chain.ts'
import { buildMiner, type MinerParts } from '../../src/node/miner.ts'
import type { Frame } from '../../src/node/supplier.ts'
import type { SessionHeader } from '../../src/protocol/gen/pocket/session/session.ts'
import {
  payloadHash,
  type RelayRequest,
  type RelayResponse,
  requestSignableHash,
  responseDigest,
} from '../../src/protocol/relay.ts'
import { openStore, type Store } from '../../src/store/db.ts'
import type { LedgerEntry } from '../../src/store/ledger.ts'
import { type Actor, actor, curve, type Host, until } from './network.ts'

const SERVICE = 'text-generation'
const CHAIN_ID = 'pocket-devnet'
const UNITS = 4_000n
const POKT = 1_000_000n

export interface OperatorsOptions {
  readonly count: number
  readonly params?: GenesisInput['params']
  /** Of the application. */
  readonly stake?: bigint
  readonly mempool?: MempoolOptions
  /** Of the node. */
  readonly rpc?: Partial<DevnetRpcOptions>
  readonly log?: Log
}

export class Operators {
  readonly actors: readonly Actor[]
  readonly application = actor('application')
  readonly gateway = actor('gateway')
  readonly devnet: Devnet
  readonly rpc: DevnetRpc
  readonly store: Store
  readonly chain: ChainParts
  readonly miner: MinerParts
  readonly events: Event[] = []

  private constructor(
    parts: Pick<Operators, 'actors' | 'devnet' | 'rpc' | 'store' | 'chain' | 'miner'>,
  ) {
    this.actors = parts.actors
    this.devnet = parts.devnet
    this.rpc = parts.rpc
    this.store = parts.store
    this.chain = parts.chain
    this.miner = parts.miner
    parts.devnet.watch(({ results, events }) =>
      this.events.push(...results.flatMap((result) => result.events), ...events),
    )
  }

  static async open(t: Host, options: OperatorsOptions): Promise<Operators> {
    const folder = await mkdtemp(join(tmpdir(), 'pokt-supplier-test-'))
    t.teardown(() => rm(folder, { recursive: true, force: true }))
    const actors = Array.from({ length: options.count }, (_, i) => actor(`operator ${i + 1}`))
    const log = options.log ?? silentLog()
    const devnet = devnetOf(actors, options)
    const rpc = new DevnetRpc({ devnet, clock: systemClock, log: silentLog() }, options.rpc)
    const url = await rpc.start()
    const life = new Lifetime()
    const store = await openStore(join(folder, 'db'), { log, clock: systemClock })
    t.teardown(async () => {
      await life.stop(new Error('the test is over'))
      await store.close()
      await rpc.stop()
    })
    const frame = frameOf(actors, url, life, log)
    const chain = buildChain(frame)
    const miner = buildMiner(frame, chain, store)
    const failed = (error: unknown) => void life.stop(error)
    life.run((signal) => chain.blocks.run(signal), failed)
    life.run((signal) => miner.miner.run(signal), failed)
    const operators = new Operators({ actors, devnet, rpc, store, chain, miner })
    await operators.settleDown()
    return operators
  }

  /** The session of now, as the chain has it. */
  header(): SessionHeader {
    const at = this.devnet.head.height
    const question = { application: this.application.signer.address, serviceId: SERVICE, at }
    const { header } = hydrate(this.devnet.contextAt(at), question)
    if (header === undefined) throw new TypeError('a session without header')
    return header
  }

  /** One relay from the gateway's signature to the disk. @returns false if the meter refuses it */
  async serve(operator: Actor, n: number, promptBytes = 10): Promise<boolean> {
    const header = this.header()
    const { intake, meter } = this.miner
    const now = this.devnet.head.height
    const session = await intake.admit(header, operator.signer.address, now)
    const reserved = await meter.reserve(session, new AbortController().signal)
    if (reserved === undefined) return false
    const { request, response } = this.#relay(operator, `prompt ${n}`.padEnd(promptBytes), header)
    const replayKey = sha256(request.meta?.signature ?? request.payload)
    await intake.record(session, request, response, replayKey)
    reserved.settle()
    return true
  }

  /** Makes blocks one by one; after each waits until the miner has done all that it asks for. */
  async mineTo(at: number): Promise<void> {
    while (this.devnet.head.height < at) {
      await this.devnet.mine()
      await this.settleDown()
    }
  }

  async settleDown(): Promise<void> {
    const { miner } = this.miner
    await until(() => (miner.planned ?? 0) >= this.devnet.head.height, 'the miner has planned')
  }

  /** Messages that wait for a block. */
  get waiting(): number {
    return this.devnet.mempool.waiting.reduce((sum, { messages }) => sum + messages.length, 0)
  }

  /** What the chain emitted under this name. */
  named(name: string): Event[] {
    return this.events.filter(({ type }) => type.endsWith(`.Event${name}`))
  }

  async ledger(): Promise<LedgerEntry[]> {
    const entries: LedgerEntry[] = []
    for await (const entry of this.store.ledger.entries()) entries.push(entry)
    return entries
  }

  #relay(operator: Actor, prompt: string, header: SessionHeader) {
    const { address } = operator.signer
    const unsigned: RelayRequest = {
      meta: {
        sessionHeader: header,
        signature: new Uint8Array(0),
        supplierOperatorAddress: address,
      },
      payload: utf8(prompt),
    }
    const ring = [this.application, this.gateway].map(({ signer }) => signer.publicKey)
    const bytes = (length: number) => new Uint8Array(randomBytes(length))
    const signature = signRing(
      { curve, randomBytes: bytes },
      requestSignableHash(unsigned),
      ring,
      this.gateway.secret.privateKey,
    )
    const meta = { sessionHeader: header, signature, supplierOperatorAddress: address }
    const payload = utf8(`answer to ${prompt.slice(0, 20)}`)
    const unsignedResponse: RelayResponse = {
      meta: { sessionHeader: header, supplierOperatorSignature: new Uint8Array(0) },
      payload,
      relayMinerError: undefined,
      payloadHash: payloadHash(payload),
    }
    const supplierOperatorSignature = operator.signer.sign(responseDigest(unsignedResponse))
    return {
      request: { ...unsigned, meta },
      response: { ...unsignedResponse, meta: { sessionHeader: header, supplierOperatorSignature } },
    }
  }
}

function devnetOf(actors: readonly Actor[], options: OperatorsOptions): Devnet {
  const [application, gateway] = [actor('application').signer, actor('gateway').signer]
  const rich = ({ address, publicKey }: Actor['signer']) => ({
    address,
    publicKey,
    balance: upokt(10n * POKT),
  })
  const genesis = devnetGenesis({
    accounts: [application, gateway, ...actors.map(({ signer }) => signer)].map(rich),
    services: [{ id: SERVICE, computeUnitsPerRelay: UNITS }],
    gateways: [{ address: gateway.address }],
    applications: [
      {
        address: application.address,
        serviceId: SERVICE,
        gateways: [gateway.address],
        stake: upokt(options.stake ?? 1_000_000n * POKT),
      },
    ],
    suppliers: actors.map(({ signer }, i) => ({
      operator: signer.address,
      owner: actor(`owner ${i + 1}`).signer.address,
      services: [SERVICE],
      url: 'http://127.0.0.1:8545',
    })),
    params: { session: { numSuppliersPerSession: BigInt(actors.length) }, ...options.params },
  })
  const deps = { clock: systemClock, curve, log: silentLog() }
  const { mempool = MEMPOOL_DEFAULTS } = options
  return new Devnet(deps, { chainId: CHAIN_ID, blockTime: 'manual', genesis, mempool })
}

/** Only what the chain's and the miner's parts are built from. */
function frameOf(actors: readonly Actor[], url: string, life: Lifetime, log: Log): Frame {
  const chain = {
    rpc: [url],
    id: CHAIN_ID,
    timeout: ms(15_000),
    pollEvery: ms(250),
    gasPrice: parseGasPrice('0.000001upokt'),
  }
  const deps = {
    clock: systemClock,
    random: () => 0.5,
    randomBytes: (length: number) => new Uint8Array(randomBytes(length)),
    log,
    curve,
  }
  const signers = new Map(actors.map(({ signer }) => [signer.address, signer]))
  const frame = { config: { chain }, signers, deps, life, startedAt: systemClock.monotonic() }
  return frame as unknown as Frame
}

/** The windows of the devnet's first session, of blocks 1 to 4. */
export const FIRST = {
  claim: [height(6), height(8)],
  proof: [height(8), height(10)],
  settlement: height(10),
} as const
