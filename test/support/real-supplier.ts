/**
 * The built supplier as a process of its own on a real chain: staked by its own command line, asked by
 * our gateway. Its engine is a small OpenAI server that answers at once.
 */
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import { Query } from '../../src/chain/query.ts'
import { Rpc } from '../../src/chain/rpc.ts'
import { gatewayChain } from '../../src/cli/relay.ts'
import { GATEWAY_DEFAULTS, Gateway, type Relayed } from '../../src/devnet/gateway.ts'
import { writeKeyfile } from '../../src/keys/keyfile.ts'
import { secretKey } from '../../src/keys/keyring.ts'
import { askDaemon } from '../../src/ops/admin.ts'
import type { Report } from '../../src/ops/report.ts'
import type { Supplier } from '../../src/protocol/gen/pocket/shared/shared.ts'
import { openStore } from '../../src/store/db.ts'
import type { LedgerEntry } from '../../src/store/ledger.ts'
import type { Localnet } from './localnet.ts'
import type { LocalAccount } from './localnet-accounts.ts'
import { chatRequest, curve, freePort, type Host, until } from './network.ts'
import { command, launch, type Ran } from './program.ts'
import { FakeUpstream } from './upstream.ts'

const PASSPHRASE = 'test passphrase'
/** Keys of tests guard nothing. */
const CHEAP = { n: 2 ** 10, r: 8, p: 1 }
export const STAKE = '60000000000upokt'

export interface RealSupplierOptions {
  /** By number: `supplier1`, paid to `owner1`. */
  readonly number?: number
  /** Where it finds the chain, best first; by default the node itself. */
  readonly rpc?: readonly string[]
  /** The application that is asked as; the last one has no gateway and signs for itself. */
  readonly application?: string
  /** Merged into the section `stake`. */
  readonly stake?: Record<string, unknown>
  readonly relay?: Record<string, unknown>
}

export class RealSupplier {
  readonly chain: Localnet
  readonly folder: string
  readonly operator: LocalAccount
  readonly owner: LocalAccount
  readonly relayUrl: string
  readonly upstream: FakeUpstream
  readonly gateway: Gateway
  /** Answered, signed and good, by the end of their session. */
  readonly answered = new Map<number, number>()
  child: ChildProcess | undefined
  /** What the daemon has written so far. */
  output = ''
  readonly #rpc: Rpc
  readonly #query: Query
  readonly #options: RealSupplierOptions

  private constructor(
    parts: Pick<RealSupplier, 'chain' | 'folder' | 'relayUrl' | 'upstream'>,
    options: RealSupplierOptions,
  ) {
    const { number = 1, application = 'app1' } = options
    this.chain = parts.chain
    this.folder = parts.folder
    this.relayUrl = parts.relayUrl
    this.upstream = parts.upstream
    this.operator = parts.chain.account(`supplier${number}`)
    this.owner = parts.chain.account(`owner${number}`)
    this.#options = options
    this.#rpc = new Rpc(
      { clock: systemClock, random: Math.random, log: silentLog() },
      { endpoints: [parts.chain.rpcUrl], timeout: ms(10_000) },
    )
    const signs =
      application === `app${parts.chain.options.applications}` ? application : 'gateway1'
    this.#query = new Query({ rpc: this.#rpc, clock: systemClock })
    const deps = { clock: systemClock, random: Math.random }
    this.gateway = new Gateway(
      {
        chain: gatewayChain(deps, this.#query, this.#rpc),
        curve,
        clock: systemClock,
        randomBytes: (n) => new Uint8Array(randomBytes(n)),
      },
      {
        ...GATEWAY_DEFAULTS,
        application: parts.chain.account(application).address,
        privateKey: parts.chain.account(signs).privateKey,
      },
    )
  }

  static async open(
    t: Host,
    chain: Localnet,
    options: RealSupplierOptions = {},
  ): Promise<RealSupplier> {
    const folder = await mkdtemp(join(tmpdir(), 'pokt-supplier-test-'))
    const relayUrl = `http://127.0.0.1:${await freePort()}`
    const upstream = new FakeUpstream({ contextSize: 4_096 })
    await upstream.open()
    const supplier = new RealSupplier({ chain, folder, relayUrl, upstream }, options)
    t.teardown(() => supplier.close())
    const deps = { randomBytes: (n: number) => new Uint8Array(randomBytes(n)) }
    const secret = secretKey(supplier.operator.privateKey)
    await writeKeyfile(join(folder, 'operator.json'), secret, PASSPHRASE, deps, CHEAP)
    await writeFile(join(folder, 'passphrase'), PASSPHRASE, { mode: 0o600 })
    await supplier.configure()
    return supplier
  }

  /** Writes supplier.yaml. @param stake merged into its section */
  async configure(stake: Record<string, unknown> = {}): Promise<void> {
    const { chain, owner, relayUrl, upstream } = this
    const backend = { kind: 'upstream', url: upstream.url, model: 'their-name', slots: 32 }
    const config = {
      dataDir: 'data',
      chain: {
        rpc: this.#options.rpc ?? [chain.rpcUrl],
        id: chain.options.chainId,
        pollEvery: '500ms',
        timeout: '4s',
      },
      operators: [{ keyFile: 'operator.json', passphraseFile: 'passphrase' }],
      relay: {
        listen: relayUrl.replace('http://', ''),
        drain: '5s',
        ...this.#options.relay,
      },
      services: [{ id: chain.serviceId, backend, deadline: '20s' }],
      stake: {
        amount: STAKE,
        owner: owner.address,
        url: relayUrl,
        ...this.#options.stake,
        ...stake,
      },
      admin: { listen: '127.0.0.1:0' },
      machine: { serve: 'always', onBattery: true, temperatureMax: 120 },
    }
    await writeFile(this.#configPath, stringify(config), { mode: 0o600 })
  }

  /** `pokt-supplier <name> --config … --json`, to its end. */
  cli(name: string, ...args: string[]): Promise<Ran> {
    return command(this.folder, name, '--config', this.#configPath, '--json', ...args)
  }

  /** By the command line. @returns the height from which on it serves */
  async stake(): Promise<number> {
    const ran = await this.cli('stake', '--yes')
    if (ran.status !== 0) throw new Error(`stake ended with ${ran.status}: ${ran.stderr}`)
    return (JSON.parse(ran.stdout) as { suppliers: { activeFrom: number }[] }).suppliers[0]
      ?.activeFrom as number
  }

  /** As the chain has it. */
  staked(): Promise<Supplier | undefined> {
    return this.#query.supplier(this.operator.address)
  }

  /** Starts the daemon and waits until it serves. */
  async start(): Promise<void> {
    const before = this.upstream.chats
    const child = launch(this.folder, ['start', '--config', this.#configPath, ...VERBOSE])
    this.child = child
    const end = () => child.kill('SIGKILL')
    process.once('exit', end)
    child.once('exit', () => process.removeListener('exit', end))
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        this.output += chunk.toString()
      })
    await until(
      async () => {
        if (child.exitCode !== null)
          throw new Error(`ended with ${child.exitCode}:\n${this.output}`)
        const report = await this.report()
        return report !== undefined && report.pid === child.pid && report.chain.planned > 0
      },
      'the daemon serves',
      () => this.output,
    )
    this.upstream.uncounted += this.upstream.chats - before
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
    const runFile = join(this.folder, 'data', 'run.json')
    return await askDaemon(runFile, new AbortController().signal).catch(() => undefined)
  }

  /** Waits until the session that ends there is in one of these states. */
  async reaches(end: number, ...states: string[]): Promise<void> {
    await until(
      async () => {
        const report = await this.report()
        const session = report?.sessions.find(({ sessionEnd }) => sessionEnd === end)
        return session !== undefined && states.includes(session.state)
      },
      `session ${end} is ${states.join(' or ')}`,
      () => this.output,
    )
  }

  /** Waits until no session is in work any more. */
  async idle(): Promise<void> {
    await until(
      async () => (await this.report())?.sessions.length === 0,
      'nothing is in work',
      () => this.output,
    )
  }

  /** One chat, which must be answered well. @throws Error if it is not */
  async relay(prompt = 'hello'): Promise<Relayed> {
    const relayed = await this.gateway.relay(
      this.chain.serviceId,
      chatRequest(prompt),
      new AbortController().signal,
      this.operator.address,
    )
    const { verified, inner, error, fault, request } = relayed
    if (!verified || inner?.status !== 200 || error !== undefined)
      throw new Error(`not answered: ${fault} ${inner?.status} ${error?.description}`)
    const end = Number(request.meta?.sessionHeader?.sessionEndBlockHeight)
    this.answered.set(end, (this.answered.get(end) ?? 0) + 1)
    return relayed
  }

  /** Several at a time. @throws Error if one is not answered well */
  async serve(count: number, streams = 4): Promise<void> {
    let next = 0
    const stream = async () => {
      while (next < count) await this.relay(`question ${next++}`)
    }
    await Promise.all(Array.from({ length: streams }, stream))
  }

  /** The ledger, read from the database; the daemon must be stopped. */
  async ledger(): Promise<LedgerEntry[]> {
    const path = join(this.folder, 'data', 'db')
    await using store = await openStore(path, { log: silentLog(), clock: systemClock })
    const entries: LedgerEntry[] = []
    for await (const entry of store.ledger.entries()) entries.push(entry)
    return entries
  }

  async close(): Promise<void> {
    await this.stop('SIGKILL')
    await this.#rpc.close()
    await this.upstream.close()
    await rm(this.folder, { recursive: true, force: true })
  }

  get #configPath(): string {
    return join(this.folder, 'supplier.yaml')
  }
}

const VERBOSE = ['--log-level', 'debug']
