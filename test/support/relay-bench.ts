/**
 * A relay port with everything real behind it but the chain and the engine: keys, rings, store, gate,
 * intake, meter, handler.
 */
import { utf8 } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { withDeadline } from '../../src/base/retry.ts'
import { type Address, height, type Ms, ms } from '../../src/base/units.ts'
import { RingVerifier } from '../../src/crypto/ring.ts'
import type { AnswerOptions, InferenceAnswer } from '../../src/inference/inference.ts'
import { Gate } from '../../src/miner/gate.ts'
import { Intake } from '../../src/miner/intake.ts'
import { Meter } from '../../src/miner/meter.ts'
import { encodeHttpRequest, type HttpRequest } from '../../src/protocol/http.ts'
import {
  decodeRelayResponse,
  encodeRelayRequest,
  type RelayRequest,
  type RelayResponse,
  type SessionHeader,
} from '../../src/protocol/relay.ts'
import { AUTHORIZE_DEFAULTS, Authorizer } from '../../src/relay/authorize.ts'
import { HANDLER_DEFAULTS, type HandlerDeps, RelayHandler } from '../../src/relay/handler.ts'
import { Remaining } from '../../src/relay/remaining.ts'
import { RingKeys } from '../../src/relay/ringkeys.ts'
import { SERVICE_RULES, type ServiceRules } from '../../src/relay/rules.ts'
import { openStore, type Store } from '../../src/store/db.ts'
import type { SessionKey, SessionRecord } from '../../src/store/sessions.ts'
import { ManualClock } from './clock.ts'
import { FakeChain, SERVICE } from './relay-chain.ts'
import { curve, keys, operator, signed } from './relay-gateway.ts'
import { storeDeps } from './store.ts'

/** The engine: answers every request by default; counts them. */
export class FakeInference {
  readonly requests: HttpRequest[] = []
  readonly deadlines: Ms[] = []
  reply: (signal: AbortSignal, options: AnswerOptions) => Promise<InferenceAnswer> = async () =>
    answered()

  answer(
    _serviceId: string,
    request: HttpRequest,
    options: AnswerOptions,
  ): Promise<InferenceAnswer> {
    this.requests.push(request)
    this.deadlines.push(options.deadline)
    return this.reply(options.signal, options)
  }
}

export function answered(over: Partial<InferenceAnswer> = {}): InferenceAnswer {
  return { status: 200, contentType: 'application/json', body: utf8('{"choices":[]}'), ...over }
}

/** What an engine does that would never end. */
export function hang(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

/** Something that is not yet over, and how to end it. */
export function pending<T = void>(): { done: Promise<T>; end: (value: T) => void } {
  let end: (value: T) => void = () => {}
  const done = new Promise<T>((resolve) => {
    end = resolve
  })
  return { done, end }
}

export const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Lets what is under way go on until `holds`, for a bounded time, so that a test can fail. */
export async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 11_000 && !holds(); i++)
    if (i < 1_000) await turn()
    else await new Promise((resolve) => setTimeout(resolve, 1))
  if (!holds()) throw new RangeError(`not so after a long time: ${holds}`)
}

export interface BenchOptions {
  readonly head?: number
  readonly strangersMax?: number
  readonly served?: readonly string[]
  /** How many relays the application's stake pays for. */
  readonly relaysMax?: number
  /** Of every service. */
  readonly rules?: Partial<ServiceRules>
  /** Instead of `bench.inference`, which then stands idle. */
  readonly engine?: HandlerDeps['inference']
  readonly clock?: ManualClock
}

export class Bench {
  readonly chain: FakeChain
  readonly clock: ManualClock
  readonly inference = new FakeInference()
  readonly gate = new Gate()
  readonly store: Store
  readonly rings: RingKeys
  readonly authorizer: Authorizer
  readonly intake: Intake
  readonly meter: Meter
  readonly remaining: Remaining
  readonly handler: RelayHandler
  readonly application: Address
  /** The disk's write of a relay waits for this. */
  disk: Promise<void> = Promise.resolve()
  /** Relays that have come to the disk. */
  writes = 0
  #serial = 0

  constructor(store: Store, options: BenchOptions) {
    this.store = store
    this.clock = options.clock ?? new ManualClock()
    this.chain = new FakeChain(options.head ?? 15)
    this.chain.suppliers = [operator.address]
    // Two sessions can be unsettled: half of the stake is for this one.
    const stake = options.relaysMax === undefined ? 10n ** 12n : BigInt(options.relaysMax) * 2_000n
    this.application = this.chain.stake(keys.app.publicKey, {
      stake: { denom: 'upokt', amount: String(stake) },
    })
    const chain = this.chain.cached()
    this.rings = new RingKeys({ chain, verifier: new RingVerifier({ curve }) })
    this.authorizer = new Authorizer(
      {
        blocks: this.chain,
        chain,
        rings: this.rings,
        signers: new Map([[operator.address, operator]]),
        services: new Set([SERVICE, 'other']),
        served: options.served ?? [],
        deadline: (signal, work) => withDeadline(this.clock, ms(5_000), signal, work),
      },
      {
        ...AUTHORIZE_DEFAULTS,
        strangersMax: options.strangersMax ?? AUTHORIZE_DEFAULTS.strangersMax,
      },
    )
    const relays: ConstructorParameters<typeof Intake>[0]['relays'] = {
      seen: (key, replayKey) => store.relays.seen(key, replayKey),
      record: async (key, served) => {
        this.writes++
        await this.disk
        return await store.relays.record(key, served)
      },
    }
    this.intake = new Intake({ chain, relays, sessions: store.sessions, gate: this.gate })
    this.meter = new Meter({ chain, relays: store.relays })
    this.remaining = new Remaining({ clock: this.clock, blocks: this.chain, chain })
    this.handler = new RelayHandler(
      {
        clock: this.clock,
        authorizer: this.authorizer,
        intake: this.intake,
        meter: this.meter,
        remaining: this.remaining,
        inference: options.engine ?? this.inference,
        log: silentLog(),
      },
      { ...HANDLER_DEFAULTS, rules: { ...SERVICE_RULES, ...options.rules } },
    )
  }

  header(at: number = this.chain.head()?.height ?? 0): SessionHeader {
    return this.chain.header(this.application, at)
  }

  key(at?: number): SessionKey {
    const header = this.header(at)
    const end = height(header.sessionEndBlockHeight)
    return { end, operator: operator.address, sessionId: header.sessionId }
  }

  /** A request of the application that differs from every other; not signed. */
  draft(header: SessionHeader = this.header()): RelayRequest {
    const body = utf8(`{"messages":[],"n":${this.#serial++}}`)
    const payload = encodeHttpRequest({
      method: 'POST',
      url: 'https://relayminer.example.com/v1/chat/completions',
      headers: [['Content-Type', 'application/json']],
      body,
    })
    const meta = {
      sessionHeader: header,
      signature: new Uint8Array(0),
      supplierOperatorAddress: operator.address,
    }
    return { meta, payload }
  }

  request(header?: SessionHeader): RelayRequest {
    return signed(this.draft(header))
  }

  bytes(header?: SessionHeader): Uint8Array {
    return encodeRelayRequest(this.request(header))
  }

  /** Hands a request to the handler, as the server does. */
  async send(
    request: RelayRequest | Uint8Array,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<RelayResponse> {
    const bytes = request instanceof Uint8Array ? request : encodeRelayRequest(request)
    return decodeRelayResponse(await this.handler.handle(bytes, signal))
  }

  /** The dehydrated relays of a session on the disk. */
  async mined(at?: number): Promise<Uint8Array[]> {
    const found: Uint8Array[] = []
    for await (const leaf of this.store.relays.leaves(this.key(at))) {
      const relay = await this.store.relays.relay(this.key(at), leaf.path)
      if (relay !== undefined) found.push(relay)
    }
    return found
  }

  served(at?: number): Promise<number> {
    return this.store.relays.served(this.key(at))
  }

  record(at?: number): Promise<SessionRecord | undefined> {
    return this.store.sessions.get(this.key(at))
  }

  /** How many relays the meter still lets through; for a bench with few. */
  async left(at?: number): Promise<number> {
    const header = this.header(at)
    const now = this.chain.head()?.height ?? height(1)
    const session = await this.intake.admit(header, operator.address, now)
    const { signal } = new AbortController()
    const taken = []
    for (let i = 0; i < 100; i++) {
      const reservation = await this.meter.reserve(session, signal)
      if (reservation === undefined) break
      taken.push(reservation)
    }
    for (const reservation of taken) reservation.refund()
    return taken.length
  }
}

/** A store in a folder of the test's own, closed with it. */
export async function bench(
  test: { testdir(): string; teardown(close: () => Promise<void>): void },
  options: BenchOptions = {},
): Promise<Bench> {
  const store = await openStore(test.testdir(), storeDeps())
  test.teardown(() => store.close())
  return new Bench(store, options)
}
