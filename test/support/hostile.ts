/**
 * A relay port for those who mean it ill: the real server, handler, authoriser, intake, meter, store and
 * inference, with an engine that counts; and what must be true after whatever was sent to it.
 */
import { randomBytes } from 'node:crypto'
import type t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { Inference } from '../../src/inference/inference.ts'
import { encodeHttpRequest, type HttpRequest } from '../../src/protocol/http.ts'
import {
  decodeRelayResponse,
  encodeRelayRequest,
  type RelayRequest,
  type RelayResponse,
} from '../../src/protocol/relay.ts'
import { HANDLER_DEFAULTS, RelayHandler } from '../../src/relay/handler.ts'
import type { RelayServer, RelayServerOptions } from '../../src/relay/server.ts'
import { RelaySockets } from '../../src/relay/websocket.ts'
import { EchoBackend } from './echo-backend.ts'
import { type Bench, type BenchOptions, bench, hang, until } from './relay-bench.ts'
import { SERVICE } from './relay-chain.ts'
import { call, open } from './relay-client.ts'
import { errorOf, innerOf, isRefusal, isSigned, operator, signed } from './relay-gateway.ts'

export type Tap = Pick<typeof t, 'ok' | 'equal' | 'strictSame' | 'testdir' | 'teardown'>

export const SERVED = 'inner 200'

/** No case takes a hundredth of it. */
const PATIENCE_MS = 5_000

/** What was counted at one moment. */
interface Counts {
  readonly chats: number
  readonly served: number
  readonly asked: number
}

export class Stage {
  readonly bench: Bench
  readonly server: RelayServer
  readonly handler: RelayHandler
  readonly port: number
  readonly #engine: { chats: number }

  constructor(
    bench: Bench,
    handler: RelayHandler,
    { server, port }: { server: RelayServer; port: number },
    engine: { chats: number },
  ) {
    this.bench = bench
    this.handler = handler
    this.server = server
    this.port = port
    this.#engine = engine
  }

  /** Chats that came to the engine. */
  get chats(): number {
    return this.#engine.chats
  }

  async counts(): Promise<Counts> {
    const { bench } = this
    return { chats: this.chats, served: await bench.served(), asked: bench.chain.count() }
  }

  async post(relay: RelayRequest | Uint8Array): Promise<RelayResponse> {
    const body = relay instanceof Uint8Array ? relay : encodeRelayRequest(relay)
    const { status, body: answer } = await call(this.port, { body })
    if (status !== 200) throw new RangeError(`outer status ${status}`)
    return decodeRelayResponse(answer)
  }
}

/** A stage on which one good relay was served, so that what its session needs is known. */
export async function stage(
  test: Tap,
  options: BenchOptions & { server?: Partial<RelayServerOptions> } = {},
): Promise<Stage> {
  const b = await bench(test, options)
  const engine = { chats: 0 }
  const gate = async () => {
    engine.chats++
  }
  const backend = new EchoBackend({ slots: 8, gate }, { clock: b.clock })
  const inference = new Inference({
    clock: b.clock,
    log: silentLog(),
    randomBytes: (length) => randomBytes(length),
    services: [{ serviceId: SERVICE, backend }],
  })
  await inference.start()
  test.teardown(() => inference.stop())
  const { clock, authorizer, intake, meter, remaining } = b
  const handler = new RelayHandler(
    { clock, authorizer, intake, meter, remaining, inference, log: silentLog() },
    HANDLER_DEFAULTS,
  )
  const at = await open(test, handler, options.server, { sockets: socketsOf(b, handler) })
  const made = new Stage(b, handler, at, engine)
  await fair(test, made, 'at first')
  return made
}

/** As the supplier has them; no block comes while a case is tried. */
function socketsOf(b: Bench, handler: RelayHandler): RelaySockets {
  return new RelaySockets({
    clock: b.clock,
    handler,
    blocks: {
      async *follow(signal) {
        yield await hang(signal)
      },
    },
    chain: b.chain,
    services: new Set([SERVICE]),
    suppliers: new Set<string>([operator.address]),
    log: silentLog(),
  })
}

/** A good relay is served and mined once, whatever came before it. */
export async function fair(test: Tap, s: Stage, when: string): Promise<void> {
  const before = await s.counts()
  const leaves = (await s.bench.mined()).length
  const response = await s.post(chat(s))
  test.ok(isSigned(response), `${when}, a good relay is answered`)
  test.equal(innerOf(response).status, 200, `${when}, with its completion`)
  test.equal(s.chats - before.chats, 1, `${when}, by the engine`)
  test.equal((await s.counts()).served - before.served, 1, `${when}, and counts once`)
  test.equal((await s.bench.mined()).length - leaves, 1, `${when}, as one leaf`)
}

/** No relay holds a place in its session, a connection or a part of the stake any more. */
export async function untouched(test: Tap, s: Stage, relaysMax: number): Promise<void> {
  await until(() => s.server.inFlight === 0)
  test.equal(s.bench.gate.inFlight(s.bench.key()), 0, 'no relay is in the session')
  test.equal(await s.bench.left(), relaysMax - (await s.bench.served()), 'nothing is set aside')
  test.equal((await s.bench.mined()).length, await s.bench.served(), 'a leaf for each that counts')
}

/** A chat that the engine answers. */
export function chat(s: Stage): RelayRequest {
  return asking(s.bench)
}

/** A relay, rightly signed, with this inside. */
export function asking(b: Bench, inner: Partial<HttpRequest> = {}): RelayRequest {
  return withPayload(b, encodeHttpRequest({ ...CHAT, ...inner }))
}

export function withPayload(b: Bench, payload: Uint8Array): RelayRequest {
  return signed({ ...b.draft(), payload })
}

export const CHAT: HttpRequest = {
  method: 'POST',
  url: 'https://relayminer.example.com/v1/chat/completions',
  headers: [['Content-Type', 'application/json']],
  body: utf8('{"messages":[{"role":"user","content":"hello"}]}'),
}

export interface Hostile {
  readonly name: string
  readonly make: (b: Bench) => RelayRequest | Uint8Array
  /**
   * `codespace code` of an unsigned refusal; `inner N` for a signed answer that counts; `refused N` for
   * a signed one that does not.
   */
  readonly outcome: string
  /** Questions that the chain may be asked the first time. */
  readonly asks?: number
}

/** Sends a case twice: what was refused costs no question the second time. */
export async function meets(test: Tap, s: Stage, one: Hostile): Promise<void> {
  const { name, outcome, asks = 0 } = one
  const bytes = one.make(s.bench)
  const before = await s.counts()
  const from = performance.now()
  const response = await s.post(bytes)
  const after = await s.counts()
  test.ok(performance.now() - from < PATIENCE_MS, `${name}: at once`)
  test.equal(after.asked - before.asked, asks, `${name}: questions to the chain`)
  const [kind, status] = outcome.split(' ')
  if (kind === 'inner' || kind === 'refused') {
    const isCounted = kind === 'inner'
    test.ok(isSigned(response), `${name}: signed`)
    test.equal(String(innerOf(response).status), status, name)
    test.equal(errorOf(response), isCounted ? undefined : 'relayer_proxy 10', `${name}: its error`)
    test.strictSame(
      [after.chats - before.chats, after.served - before.served],
      [outcome === SERVED ? 1 : 0, isCounted ? 1 : 0],
      `${name}: what reached the engine, and what counts`,
    )
    return
  }
  test.equal(errorOf(response), outcome, name)
  test.ok(isRefusal(response), `${name}: unsigned`)
  test.strictSame([after.chats, after.served], [before.chats, before.served], `${name}: no trace`)
  test.equal(errorOf(await s.post(bytes)), outcome, `${name}: again`)
  test.equal((await s.counts()).asked, after.asked, `${name}: no question again`)
}
