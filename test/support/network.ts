/**
 * A devnet with blocks by hand, a gateway, and the built supplier as a process of its own, which a
 * test may stop, kill and start again. Real HTTP, real database, real signatures; the engine is a
 * small OpenAI server unless the tiny model is asked for.
 */
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { type Address, type Height, ms, upokt } from '../../src/base/units.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import { Devnet } from '../../src/devnet/chain.ts'
import type { Event } from '../../src/devnet/events.ts'
import { GATEWAY_DEFAULTS, Gateway, type Relayed } from '../../src/devnet/gateway.ts'
import { devnetGenesis, type GenesisInput } from '../../src/devnet/genesis.ts'
import { DevnetRpc } from '../../src/devnet/rpc.ts'
import { hydrate } from '../../src/devnet/session.ts'
import { writeKeyfile } from '../../src/keys/keyfile.ts'
import { type SecretKey, type Signer, secretFromHex, signerOf } from '../../src/keys/keyring.ts'
import { askDaemon } from '../../src/ops/admin.ts'
import type { Report } from '../../src/ops/report.ts'
import type { Session } from '../../src/protocol/gen/pocket/session/session.ts'
import type { HttpRequest } from '../../src/protocol/http.ts'
import type { RelayRequest } from '../../src/protocol/relay.ts'
import { openStore, type Store } from '../../src/store/db.ts'
import type { LedgerEntry } from '../../src/store/ledger.ts'
import { launch } from './program.ts'
import { FakeUpstream } from './upstream.ts'

export const SERVICE = 'text-generation'
export const CHAIN_ID = 'pocket-devnet'
const PASSPHRASE = 'test passphrase'
const POKT = 1_000_000n
/** Keys of tests guard nothing. */
const CHEAP = { n: 2 ** 10, r: 8, p: 1 }
export const curve = loadCurve()

export interface Actor {
  readonly secret: SecretKey
  readonly signer: Signer
}

/** The same key for the same name, so that a failing run can be repeated. */
export function actor(name: string): Actor {
  const secret = secretFromHex(
    Buffer.from(name.padEnd(32, '.')).subarray(0, 32).toString('hex'),
    curve,
  )
  return { secret, signer: signerOf(secret, curve) }
}

/** What of a tap test is needed; a benchmark has its own. */
export interface Host {
  teardown(close: () => unknown): unknown
}

export interface NetworkOptions {
  readonly operators?: number
  readonly params?: GenesisInput['params']
  /** `upstream`: answers at once; `tiny`: llama.cpp with the tiny model. */
  readonly engine?: 'upstream' | 'tiny'
  /** Of the tiny model. */
  readonly slots?: number
  /** Of the application; small ones are used up. */
  readonly stake?: bigint
  readonly computeUnitsPerRelay?: bigint
  /** Of each operator, for gas and proof fees. */
  readonly balance?: bigint
  /** Where the supplier finds the chain, given the devnet's own address: a proxy in between. */
  readonly through?: (rpcUrl: string) => Promise<string>
  /** Of the service. */
  readonly deadline?: string
  /** Merged into the service. */
  readonly service?: Record<string, unknown>
  /** Merged into supplier.yaml. */
  readonly config?: Record<string, unknown>
  /** Merged into its section `relay`. */
  readonly relay?: Record<string, unknown>
}

export class Network {
  readonly folder: string
  readonly devnet: Devnet
  readonly rpc: DevnetRpc
  readonly gateway: Gateway
  readonly upstream: FakeUpstream
  readonly operators: readonly Actor[]
  readonly application: Actor
  readonly relayUrl: string
  /** Of every block so far: what its transactions emitted, then what it did by itself. */
  readonly events: Event[] = []
  child: ChildProcess | undefined
  /** What the daemon has written to stdout and stderr so far. */
  output = ''

  private constructor(
    parts: Pick<
      Network,
      | 'folder'
      | 'devnet'
      | 'rpc'
      | 'gateway'
      | 'upstream'
      | 'operators'
      | 'application'
      | 'relayUrl'
    >,
  ) {
    this.folder = parts.folder
    this.devnet = parts.devnet
    this.rpc = parts.rpc
    this.gateway = parts.gateway
    this.upstream = parts.upstream
    this.operators = parts.operators
    this.application = parts.application
    this.relayUrl = parts.relayUrl
    parts.devnet.watch(({ results, events }) =>
      this.events.push(...results.flatMap((result) => result.events), ...events),
    )
  }

  static async open(t: Host, options: NetworkOptions = {}): Promise<Network> {
    const folder = await mkdtemp(join(tmpdir(), 'pokt-supplier-test-'))
    const application = actor('application')
    const gatewayKey = actor('gateway')
    const operators = Array.from({ length: options.operators ?? 1 }, (_, i) =>
      actor(`operator ${i + 1}`),
    )
    const relayUrl = `http://127.0.0.1:${await freePort()}`
    const onChain = ({ signer }: Actor, balance: bigint) => ({
      address: signer.address,
      publicKey: signer.publicKey,
      balance: upokt(balance),
    })
    const devnet = new Devnet(
      { clock: systemClock, curve, log: silentLog() },
      {
        chainId: CHAIN_ID,
        blockTime: 'manual',
        genesis: devnetGenesis({
          accounts: [
            onChain(application, 10n * POKT),
            onChain(gatewayKey, 10n * POKT),
            ...operators.map((operator) => onChain(operator, options.balance ?? POKT)),
          ],
          services: [{ id: SERVICE, computeUnitsPerRelay: options.computeUnitsPerRelay ?? 4_000n }],
          gateways: [{ address: gatewayKey.signer.address }],
          applications: [
            {
              address: application.signer.address,
              serviceId: SERVICE,
              gateways: [gatewayKey.signer.address],
              ...(options.stake === undefined ? {} : { stake: upokt(options.stake) }),
            },
          ],
          suppliers: operators.map(({ signer }, i) => ({
            operator: signer.address,
            owner: actor(`owner ${i + 1}`).signer.address,
            services: [SERVICE],
            url: relayUrl,
          })),
          ...(options.params === undefined ? {} : { params: options.params }),
        }),
      },
    )
    const rpc = new DevnetRpc({ devnet, clock: systemClock, log: silentLog() })
    await rpc.start()
    const upstream = new FakeUpstream({ contextSize: 4_096 })
    await upstream.open()
    const gateway = new Gateway(
      {
        chain: chainOf(devnet),
        curve,
        clock: systemClock,
        randomBytes: (n) => new Uint8Array(randomBytes(n)),
      },
      {
        ...GATEWAY_DEFAULTS,
        application: application.signer.address,
        privateKey: gatewayKey.secret.privateKey,
      },
    )
    const network = new Network({
      folder,
      devnet,
      rpc,
      gateway,
      upstream,
      operators,
      application,
      relayUrl,
    })
    t.teardown(() => network.close())
    const chainUrl = (await options.through?.(rpc.url)) ?? rpc.url
    await network.#writeFiles(chainUrl, options)
    return network
  }

  get runFile(): string {
    return join(this.folder, 'data', 'run.json')
  }

  get configPath(): string {
    return join(this.folder, 'supplier.yaml')
  }

  /** Starts the daemon and waits until it serves. */
  async start(more: readonly string[] = ['--log-level', 'debug']): Promise<ChildProcess> {
    const before = this.upstream.chats
    const child = launch(this.folder, ['start', '--config', this.configPath, ...more])
    this.child = child
    const file = createWriteStream(join(this.folder, 'daemon.log'), { flags: 'a' })
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output += chunk.toString()
        file.write(chunk)
      })
    }
    await until(
      async () => {
        if (child.exitCode !== null)
          throw new Error(`the daemon ended with ${child.exitCode}:\n${this.output}`)
        const report = await this.report()
        return (
          report !== undefined &&
          report.pid === child.pid &&
          report.chain.planned >= this.devnet.head.height
        )
      },
      'the daemon serves',
      () => this.output,
    )
    this.upstream.uncounted += this.upstream.chats - before
    return child
  }

  /** Ends the daemon and waits until it is gone. @returns its exit status, or the signal's name */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | string | null> {
    const { child } = this
    if (child === undefined) return null
    if (child.exitCode === null && child.signalCode === null) {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      child.kill(signal)
      await gone
    }
    this.child = undefined
    return child.exitCode ?? child.signalCode
  }

  async report(): Promise<Report | undefined> {
    return await askDaemon(this.runFile, new AbortController().signal).catch(() => undefined)
  }

  /** Makes blocks one by one; after each waits until a running daemon has done all that it asks for. */
  async mine(blocks = 1): Promise<Height> {
    for (let i = 0; i < blocks; i++) {
      await this.devnet.mine()
      await this.settleDown()
    }
    return this.devnet.head.height
  }

  async mineTo(height: number): Promise<void> {
    if (height > this.devnet.head.height) await this.mine(height - this.devnet.head.height)
  }

  async settleDown(): Promise<void> {
    if (this.child === undefined) return
    const { height } = this.devnet.head
    await until(
      async () => {
        if (this.child?.exitCode !== null) throw new Error(`the daemon ended:\n${this.output}`)
        return ((await this.report())?.chain.planned ?? 0) >= height
      },
      `the daemon has planned ${height}`,
      () => this.output,
    )
  }

  session(): Promise<Session> {
    return chainOf(this.devnet).session(this.application.signer.address, SERVICE)
  }

  /** One chat relay through the gateway. */
  relay(prompt = 'hello', operator = this.operators[0]): Promise<Relayed> {
    return this.gateway.relay(
      SERVICE,
      chatRequest(prompt),
      new AbortController().signal,
      operator?.signer.address,
    )
  }

  /** A request of the application's gateway for `session`, the present one unless told. */
  async sign(inner: HttpRequest, session?: Session): Promise<RelayRequest> {
    return await this.gateway.sign(
      session ?? (await this.session()),
      this.operators[0]?.signer.address ?? '',
      inner,
      new AbortController().signal,
    )
  }

  /** Sends what was signed, as often as it is called. */
  send(request: RelayRequest, url = this.relayUrl): Promise<Relayed> {
    return this.gateway.send(url, request, 'POST', new AbortController().signal)
  }

  /** What the chain emitted under this name, of all modules `pocket.<module>.Event<name>`. */
  named(name: string): Event[] {
    return this.events.filter(({ type }) => type.endsWith(`.Event${name}`))
  }

  balance(address: string): bigint {
    const { state } = this.devnet.contextAt(this.devnet.head.height)
    return state.balances.get(address) ?? 0n
  }

  /** The database; the daemon must be stopped, and the caller closes it. */
  async store(): Promise<Store> {
    const path = join(this.folder, 'data', 'db')
    return await openStore(path, { log: silentLog(), clock: systemClock })
  }

  /** The ledger, read from the database; the daemon must be stopped. */
  async ledger(): Promise<LedgerEntry[]> {
    await using store = await this.store()
    const entries: LedgerEntry[] = []
    for await (const entry of store.ledger.entries()) entries.push(entry)
    return entries
  }

  async close(): Promise<void> {
    await this.stop('SIGKILL')
    await this.rpc.stop()
    await this.upstream.close()
    // A folder of our own, removed when nobody writes into it any more.
    await rm(this.folder, { recursive: true, force: true })
  }

  async #writeFiles(chainUrl: string, options: NetworkOptions): Promise<void> {
    await mkdir(this.folder, { recursive: true })
    await writeFile(join(this.folder, 'passphrase'), PASSPHRASE, { mode: 0o600 })
    const keyFiles = this.operators.map((_, i) => `operator-${i + 1}.json`)
    for (const [i, { secret }] of this.operators.entries()) {
      const deps = { randomBytes: (n: number) => new Uint8Array(randomBytes(n)) }
      await writeKeyfile(join(this.folder, keyFiles[i] ?? ''), secret, PASSPHRASE, deps, CHEAP)
    }
    const backend =
      options.engine === 'tiny'
        ? {
            kind: 'llamacpp',
            model: 'tiny',
            gpu: 'off',
            slots: options.slots ?? 4,
            contextSize: 256,
            maxThreads: 1,
          }
        : { kind: 'upstream', url: this.upstream.url, model: 'their-name', slots: 32 }
    const config = {
      dataDir: 'data',
      chain: { rpc: [chainUrl], id: CHAIN_ID, pollEvery: '250ms', timeout: '5s' },
      operators: keyFiles.map((keyFile) => ({ keyFile, passphraseFile: 'passphrase' })),
      relay: {
        listen: this.relayUrl.replace('http://', ''),
        drain: '10s',
        ...options.relay,
      },
      services: [{ id: SERVICE, backend, deadline: options.deadline ?? '20s', ...options.service }],
      admin: { listen: '127.0.0.1:0' },
      // Whoever runs the tests may type meanwhile.
      machine: { serve: 'always', onBattery: true, temperatureMax: 120 },
      ...options.config,
    }
    await writeFile(this.configPath, stringify(config), { mode: 0o600 })
  }
}

/** The devnet as a gateway asks it. */
export function chainOf(devnet: Devnet) {
  return {
    session: async (application: string, serviceId: string) => {
      const at = devnet.head.height
      return hydrate(devnet.contextAt(at), { application, serviceId, at })
    },
    publicKey: async (address: string) =>
      devnet.contextAt(devnet.head.height).state.accounts.get(address as Address)?.publicKey,
  }
}

export function chatRequest(prompt: string, extra: Record<string, unknown> = {}): HttpRequest {
  return {
    method: 'POST',
    url: 'http://gateway.test/v1/chat/completions',
    headers: [['Content-Type', 'application/json']],
    body: Buffer.from(JSON.stringify({ messages: [{ role: 'user', content: prompt }], ...extra })),
  }
}

/** An attribute of a typed event, whose value is JSON text. */
export function field(event: Event | undefined, name: string): string {
  return String(JSON.parse(event?.attributes.find(({ key }) => key === name)?.value ?? 'null'))
}

/** Asks until it is so; gives up after 30 s with what `context` says. */
export async function until(
  holds: () => Promise<boolean> | boolean,
  what: string,
  context: () => string = () => '',
): Promise<void> {
  for (let tries = 0; tries < 1_500; tries++) {
    if (await holds()) return
    await systemClock.sleep(ms(20))
  }
  throw new Error(`not in time: ${what}\n${context().slice(-4_000)}`)
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

export async function readLog(network: Network): Promise<string> {
  return await readFile(join(network.folder, 'daemon.log'), 'utf8')
}
