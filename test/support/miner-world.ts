/**
 * The miner with everything of its own real, over a real store and a `MinerChain`: served relays in,
 * blocks by hand, the ledger out. It can be stopped after any write or question, as by a crash, and
 * built anew over the same store and chain.
 */
import { concat, sha256, u64, utf8 } from '../../src/base/bytes.ts'
import type { Clock } from '../../src/base/clock.ts'
import { createLog, type Log } from '../../src/base/log.ts'
import type { Address } from '../../src/base/units.ts'
import type { Signer } from '../../src/keys/keyring.ts'
import { Book } from '../../src/miner/book.ts'
import { Claims } from '../../src/miner/claims.ts'
import { Gate } from '../../src/miner/gate.ts'
import { Intake } from '../../src/miner/intake.ts'
import { Meter } from '../../src/miner/meter.ts'
import { MINER_DEFAULTS, Miner } from '../../src/miner/miner.ts'
import { Proofs } from '../../src/miner/proofs.ts'
import { Settlements } from '../../src/miner/settlements.ts'
import { Submit } from '../../src/miner/submit.ts'
import {
  dehydrate,
  leafPath,
  payloadHash,
  type RelayRequest,
  type RelayResponse,
  relayHash,
  type SessionHeader,
} from '../../src/protocol/relay.ts'
import type { Leaf } from '../../src/smst/fold.ts'
import { leafDigest } from '../../src/smst/node.ts'
import type { Store } from '../../src/store/db.ts'
import { ManualClock } from './clock.ts'
import { Interrupt, stepwise } from './interrupt.ts'
import type { MinerChain } from './miner-chain.ts'
import { CUPR } from './miner-rules.ts'
import { APPLICATION, OPERATOR } from './sessions.ts'
import { operator as operatorNamed } from './store.ts'

export const OTHER: Address = operatorNamed('other')

/** One line of the log. */
export interface Line {
  readonly level: string
  readonly msg: string
  readonly [field: string]: unknown
}

/** A log that keeps its lines. */
export function recordingLog(): { log: Log; lines: Line[] } {
  const lines: Line[] = []
  const write = (text: string) => void lines.push(JSON.parse(text) as Line)
  return { log: createLog('debug', { write }), lines }
}

export function headerOf(name: string, end: number): SessionHeader {
  const digest = Buffer.from(sha256(utf8(name))).toString('hex')
  return {
    applicationAddress: APPLICATION,
    serviceId: 'text',
    sessionId: digest,
    sessionStartBlockHeight: BigInt(end - 9),
    sessionEndBlockHeight: BigInt(end),
  }
}

export interface Served {
  readonly request: RelayRequest
  readonly response: RelayResponse
  readonly replayKey: Uint8Array
  readonly leaf: Leaf
  readonly relay: Uint8Array
}

/** A relay of the session as the miner gets it; signatures are only bytes to it. */
export function servedRelay(header: SessionHeader, n: number, operator = OPERATOR): Served {
  const payload = utf8(`answer ${n}`)
  const request: RelayRequest = {
    meta: {
      sessionHeader: header,
      signature: sha256(concat(utf8(`${header.sessionId} ${operator} `), u64(n))),
      supplierOperatorAddress: operator,
    },
    payload: utf8(`prompt ${n}`),
  }
  const response: RelayResponse = {
    meta: { sessionHeader: header, supplierOperatorSignature: new Uint8Array(64).fill(1) },
    payload,
    relayMinerError: undefined,
    payloadHash: payloadHash(payload),
  }
  const relay = dehydrate(request, response)
  const path = leafPath(relayHash(relay))
  const replayKey = sha256(request.meta?.signature ?? payload)
  return {
    request,
    response,
    replayKey,
    relay,
    leaf: { path, digest: leafDigest(path, relay, CUPR) },
  }
}

export interface WorldOptions {
  readonly interrupt?: Interrupt
  /** Whose keys are there. */
  readonly operators?: readonly Address[]
  readonly clock?: Pick<Clock, 'sleep'>
  readonly parallelMax?: number
}

export class MinerWorld {
  readonly lines: Line[] = []
  readonly gate = new Gate()
  readonly intake: Intake
  readonly meter: Meter
  readonly book: Book
  readonly submit: Submit
  readonly claims: Claims
  readonly proofs: Proofs
  readonly settlements: Settlements
  readonly miner: Miner
  readonly #interrupt: Interrupt
  readonly #chain: MinerChain
  #running: Promise<unknown> | undefined
  #over = false

  constructor(store: Store, chain: MinerChain, options: WorldOptions = {}) {
    const interrupt = options.interrupt ?? new Interrupt()
    const { log, lines } = recordingLog()
    this.#interrupt = interrupt
    this.#chain = chain
    this.lines = lines
    const { gate } = this
    const sessions = stepwise(store.sessions, interrupt)
    const query = stepwise(chain.query, interrupt)
    const broadcaster = stepwise(chain.broadcaster, interrupt)
    const relays = {
      record: stepwise(store.relays, interrupt).record,
      seen: store.relays.seen.bind(store.relays),
      served: store.relays.served.bind(store.relays),
      leaves: store.relays.leaves.bind(store.relays),
      relay: store.relays.relay.bind(store.relays),
    }
    const { finish } = stepwise(store, interrupt)
    const keys = new Set(options.operators ?? [OPERATOR, OTHER])
    const signer = (address: Address): Signer | undefined =>
      keys.has(address)
        ? { address, publicKey: new Uint8Array(33), sign: () => new Uint8Array(64) }
        : undefined
    this.intake = new Intake({ chain: query, relays, sessions, gate })
    this.meter = new Meter({
      chain: {
        sharedParams: query.sharedParams,
        sessionParams: async () => ({ numSuppliersPerSession: 1n }),
        application: async () => undefined,
      },
      relays,
    })
    this.book = new Book({
      store: { finish, prune: store.prune.bind(store), relays },
      forget: (key) => {
        gate.forget(key)
        this.intake.forget(key)
        this.meter.forget(key)
      },
      log,
    })
    const { book } = this
    this.submit = new Submit({ broadcaster, sessions, log })
    const { submit } = this
    this.claims = new Claims({ chain: query, sessions, relays, signer, gate, submit, book, log })
    const blocks = { ...chain.blocks, at: stepwise(chain.blocks, interrupt).at }
    this.proofs = new Proofs({ chain: query, blocks, sessions, relays, signer, submit, log })
    this.settlements = new Settlements({ chain: query, book, log })
    const { claims, proofs, settlements } = this
    const actions = { gate, claims, proofs, settlements }
    const read = { open: sessions.open, damaged: store.sessions.damaged.bind(store.sessions) }
    const clock = options.clock ?? new ManualClock()
    this.miner = new Miner(
      { blocks, chain: query, sessions: read, ...actions, clock, log },
      { ...MINER_DEFAULTS, parallelMax: options.parallelMax ?? MINER_DEFAULTS.parallelMax },
    )
  }

  get over(): boolean {
    return this.#over
  }

  get signal(): AbortSignal {
    return this.#interrupt.controller.signal
  }

  /** Recovers and follows the chain; waits until the present block is done, or the world has ended. */
  async start(): Promise<void> {
    try {
      await this.miner.recover()
    } catch {
      this.#over = true
      return
    }
    this.#running = this.miner.run(this.signal).then(
      () => {
        this.#over = true
      },
      () => {
        this.#over = true
      },
    )
    await this.settleDown()
  }

  /** One block, and all that the miner does at it. */
  async mine(): Promise<void> {
    this.#chain.mine()
    await this.settleDown()
  }

  async mineTo(at: number): Promise<void> {
    while (this.#chain.height < at && !this.#over) await this.mine()
  }

  async settleDown(): Promise<void> {
    while (!this.#over && (this.miner.planned ?? 0) < this.#chain.height)
      await this.#interrupt.next()
  }

  /** As a crash: what is under way gets no further. */
  async stop(): Promise<void> {
    this.#interrupt.stop()
    await this.#running
    this.#over = true
  }

  /** Serves one relay to the end. @throws what the intake throws, or the crash */
  async serve(served: Served, header: SessionHeader, operator = OPERATOR): Promise<string> {
    const session = await this.intake.admit(header, operator, this.#chain.height)
    const stay = await this.intake.enter(session, served.replayKey)
    if (stay === undefined) return 'replayed'
    try {
      return await this.intake.record(session, served.request, served.response, served.replayKey)
    } finally {
      stay.leave()
    }
  }

  logged(message: string): Line[] {
    return this.lines.filter(({ msg }) => msg === message)
  }
}

export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
