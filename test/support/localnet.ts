/**
 * A real chain for oneself: a node of `pocketd` with one validator, made in a folder of its own, on free
 * loopback ports, with everything that a supplier needs around it, and removed again.
 *
 * `scripts/localnet` shows it to people, test/realchain runs the supplier against it.
 */
import type { ChildProcess } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { request } from 'undici'
import { base64, hex, unhex } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { ms } from '../../src/base/units.ts'
import { type LocalAccount, makeAccounts } from './localnet-accounts.ts'
import {
  AUTHORITY,
  editGenesis,
  editSettings,
  LOCALNET_RULES,
  type LocalnetPorts,
  type LocalnetRules,
  RICH,
} from './localnet-genesis.ts'
import { Pocketd } from './pocketd.ts'

export interface LocalnetOptions extends LocalnetRules {
  /** The program. */
  readonly pocketd: string
  /** A new or empty folder; by default a temporary one. */
  readonly home?: string | undefined
  /** Leave the home behind. */
  readonly keep: boolean
  /** 0: any free port. */
  readonly rpcPort: number
  /** Funded operators and owners, not staked; the applications. */
  readonly suppliers: number
  readonly applications: number
}

export const LOCALNET_DEFAULTS = {
  ...LOCALNET_RULES,
  keep: false,
  rpcPort: 0,
  suppliers: 3,
  applications: 2,
} satisfies Partial<LocalnetOptions>

const VALIDATOR_STAKE = '900000000000upokt'
const POLL = ms(100)
/** A node takes some seconds to its first block, and a block may take one or two. */
const START_TRIES = 900
const KEYRING = ['--keyring-backend', 'test']

export class Localnet {
  readonly options: LocalnetOptions
  readonly pocketd: Pocketd
  readonly ports: LocalnetPorts
  readonly accounts: Readonly<Record<string, LocalAccount>>
  readonly #imported = new Set<string>()
  #node: ChildProcess | undefined
  #end: () => void = () => {}
  /** Resolves when the node has ended by itself. */
  readonly ended = new Promise<void>((resolve) => {
    this.#end = resolve
  })

  private constructor(
    options: LocalnetOptions,
    pocketd: Pocketd,
    ports: LocalnetPorts,
    accounts: Readonly<Record<string, LocalAccount>>,
  ) {
    this.options = options
    this.pocketd = pocketd
    this.ports = ports
    this.accounts = accounts
  }

  /** A chain with at least two blocks. Whatever was begun is ended again when it does not come. */
  static async start(
    { pocketd, ...options }: Partial<LocalnetOptions> & Pick<LocalnetOptions, 'pocketd'>,
    signal = new AbortController().signal,
  ): Promise<Localnet> {
    const all = { ...LOCALNET_DEFAULTS, ...options, pocketd }
    const home = await emptyHome(all.home)
    const ports = await choosePorts(all.rpcPort)
    const chain = new Localnet(all, new Pocketd(pocketd, home), ports, makeAccounts(all))
    try {
      await chain.#init()
      await chain.startNode(signal)
      return chain
    } catch (error) {
      await chain.close()
      throw error
    }
  }

  get home(): string {
    return this.pocketd.home
  }

  get rpcUrl(): string {
    return `http://127.0.0.1:${this.ports.rpc}`
  }

  get grpc(): string {
    return `127.0.0.1:${this.ports.grpc}`
  }

  get nodeLog(): string {
    return join(this.home, 'node.log')
  }

  get node(): string {
    return `tcp://127.0.0.1:${this.ports.rpc}`
  }

  get serviceId(): string {
    return this.options.services[0]?.id ?? ''
  }

  /** @throws RangeError for a name that is none of `accounts` */
  account(name: string): LocalAccount {
    const account = this.accounts[name]
    if (account === undefined) throw new RangeError(`no account ${name}`)
    return account
  }

  /** Starts the node, again if it was stopped, and waits for a block of its. */
  async startNode(signal = new AbortController().signal): Promise<void> {
    const before = await this.height().catch(() => 1)
    const args = ['start', '--log_level', 'error', '--log_no_color']
    const child = this.pocketd.launch(args, this.nodeLog)
    this.#node = child
    child.once('exit', () => {
      if (this.#node === child) this.#end()
    })
    for (let tries = 0; tries < START_TRIES; tries++) {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`the node has ended: ${await lastLines(this.nodeLog)}`)
      if ((await this.height().catch(() => 0)) > before) return
      await systemClock.sleep(POLL, signal)
    }
    throw new Error(`the node makes no blocks: ${await lastLines(this.nodeLog)}`)
  }

  async stopNode(how: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#node
    this.#node = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill(how)
    const late = systemClock.sleep(ms(10_000)).then(() => child.kill('SIGKILL'))
    await Promise.race([gone, late.then(() => gone)])
  }

  /** Ends the node and removes its home, unless it is to be kept. */
  async close(): Promise<void> {
    await this.stopNode()
    if (!this.options.keep) await rm(this.home, { recursive: true, force: true })
  }

  /** One JSON-RPC call. @throws Error with the node's error object */
  async call<T>(method: string, params: Readonly<Record<string, unknown>> = {}): Promise<T> {
    const { body } = await request(this.rpcUrl, {
      method: 'POST',
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
      headersTimeout: 5_000,
    })
    const { result, error } = (await body.json()) as { result: T; error?: unknown }
    if (error !== undefined) throw new Error(`${method}: ${JSON.stringify(error)}`)
    return result
  }

  async height(): Promise<number> {
    const { sync_info } = await this.call<{ sync_info: { latest_block_height: string } }>('status')
    return Number(sync_info.latest_block_height)
  }

  /** @returns the height it is then at */
  async waitFor(height: number, signal?: AbortSignal): Promise<number> {
    for (;;) {
      const now = await this.height()
      if (now >= height) return now
      await systemClock.sleep(POLL, signal)
    }
  }

  async balance(address: string): Promise<bigint> {
    const { balances } = await this.#query<{ balances: { amount: string }[] }>([
      ...['bank', 'balances'],
      address,
    ])
    return BigInt(balances[0]?.amount ?? 0)
  }

  /** Puts a key into the keyring of `pocketd`, under its name. */
  async importKey(name: string): Promise<void> {
    if (this.#imported.has(name)) return
    this.#imported.add(name)
    const key = hex(this.account(name).privateKey)
    await this.pocketd.run(['keys', 'import-hex', name, key, ...KEYRING])
  }

  /** A transaction by the command line: `['bank', 'send', …]`. @returns the height of its block */
  async send(from: string, args: readonly string[]): Promise<number> {
    await this.importKey(from)
    const { chainId } = this.options
    const gas = ['--gas', '1000000', '--fees', '2000upokt', '--yes', '--output', 'json']
    const where = ['--chain-id', chainId, '--node', this.node, ...KEYRING]
    const out = await this.pocketd.run(['tx', ...args, '--from', from, ...where, ...gas])
    const sent = JSON.parse(out.trim().split('\n').at(-1) ?? '')
    if (sent.code !== 0) throw new Error(`refused: ${out}`)
    const hash = base64(unhex(sent.txhash))
    for (let tries = 0; tries < 200; tries++) {
      const tx = await this.call<Tx>('tx', { hash }).catch(() => undefined)
      if (tx?.tx_result.code === 0) return Number(tx.height)
      if (tx !== undefined) throw new Error(`failed: ${tx.tx_result.log}`)
      await systemClock.sleep(POLL)
    }
    throw new Error(`never in a block: ${sent.txhash}`)
  }

  /** Changes parameters of a module, as governance does. @returns the height of the block */
  async setParams(module: string, changes: Readonly<Record<string, unknown>>): Promise<number> {
    const { params } = await this.#query<{ params: Record<string, unknown> }>([module, 'params'])
    const message = {
      '@type': `/pocket.${module}.MsgUpdateParams`,
      authority: AUTHORITY,
      params: { ...params, ...changes },
    }
    const body = { messages: [message], memo: '', timeout_height: '0' }
    const fee = { amount: [], gas_limit: '0', payer: '', granter: '' }
    const path = join(this.home, 'params.json')
    const auth = { signer_infos: [], fee }
    await writeFile(path, JSON.stringify({ body, auth_info: auth, signatures: [] }))
    return await this.send('dao', ['authz', 'exec', path])
  }

  async #query<T>(args: readonly string[]): Promise<T> {
    const where = ['--node', this.node, '--output', 'json']
    return JSON.parse(await this.pocketd.run(['query', ...args, ...where])) as T
  }

  async #init(): Promise<void> {
    const { pocketd, home, options } = this
    const chain = ['--chain-id', options.chainId]
    await pocketd.run(['init', 'localnet', ...chain, '--default-denom', 'upokt'])
    const coins = [{ denom: 'upokt', amount: String(RICH) }]
    const rich = Object.values(this.accounts).map(({ address }) => ({ address, coins }))
    const list = join(home, 'accounts.json')
    await writeFile(list, JSON.stringify(rich))
    await pocketd.run(['genesis', 'bulk-add-genesis-account', list])
    await editGenesis(home, this.accounts, options)
    await editSettings(home, this.ports, options)
    await this.importKey('validator')
    const stake = ['validator', VALIDATOR_STAKE, '--fees', '10upokt']
    await pocketd.run(['genesis', 'gentx', ...stake, ...chain, ...KEYRING])
    await pocketd.run(['genesis', 'collect-gentxs'])
  }
}

interface Tx {
  readonly height: string
  readonly tx_result: { readonly code: number; readonly log: string }
}

async function emptyHome(home: string | undefined): Promise<string> {
  if (home === undefined) return await mkdtemp(join(tmpdir(), 'pokt-localnet-'))
  await mkdir(home, { recursive: true })
  if ((await readdir(home)).length > 0) throw new Error(`${home} is not empty`)
  return home
}

async function choosePorts(rpc: number): Promise<LocalnetPorts> {
  const servers = Array.from({ length: 4 }, () => createServer())
  const free: number[] = []
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    free.push(typeof address === 'object' && address !== null ? address.port : 0)
  }
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  const [first = 0, p2p = 0, grpc = 0, rest = 0] = free
  return { rpc: rpc === 0 ? first : rpc, p2p, grpc, rest }
}

async function lastLines(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => 'it said nothing')
  return text.trim().split('\n').slice(-5).join('\n')
}
