/**
 * A network in one folder and one process: simulated chain, gateway, keys and a configuration, for the
 * real supplier to stake, serve, claim and prove on. Tests: test/cli/devnet.ts.
 */
import { access, mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { assert } from '../base/errors.ts'
import type { Lifetime } from '../base/lifetime.ts'
import type { Log } from '../base/log.ts'
import { type Address, type Ms, upokt } from '../base/units.ts'
import { parseConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { Devnet } from '../devnet/chain.ts'
import { GATEWAY_DEFAULTS, Gateway } from '../devnet/gateway.ts'
import { GatewayServer } from '../devnet/gateway-server.ts'
import { devnetGenesis } from '../devnet/genesis.ts'
import { DevnetRpc } from '../devnet/rpc.ts'
import { hydrate } from '../devnet/session.ts'
import { writeKeyfile } from '../keys/keyfile.ts'
import {
  createMnemonic,
  type SecretKey,
  type Signer,
  secretFromMnemonic,
  signerOf,
} from '../keys/keyring.ts'
import type { Context } from './context.ts'
import { CliError } from './errors.ts'

export const CHAIN_ID = 'pocket-devnet'
export const SERVICE_ID = 'text-generation'
/** Of one relay: high enough that a session of a few relays is worth its fees. */
const COMPUTE_UNITS_PER_RELAY = 4_000n
const POKT = 1_000_000n
const PASSPHRASE = 'devnet'
/** The passphrase lies beside the key: a costly one would only make the start slower. */
const CHEAP = { n: 2 ** 10, r: 8, p: 1 }

export interface SiteOptions {
  readonly folder: string
  readonly blockTime: Ms | 'manual'
  readonly rpcPort: number
  readonly gatewayPort: number
  readonly relayPort: number
  readonly adminPort: number
  readonly slots: number
}

export interface Site {
  readonly devnet: Devnet
  readonly gateway: Gateway
  readonly rpcUrl: string
  readonly gatewayUrl: string
  readonly application: Address
  readonly operator: Signer
  readonly owner: Address
  readonly config: Config
  readonly configPath: string
}

interface Actor {
  readonly secret: SecretKey
  readonly signer: Signer
}

/** What a devnet leaves in its folder, and what must not be there before: others may have made it. */
const LEFT = ['supplier.yaml', 'passphrase', 'operator.json', 'gateway.json', 'application.json']

/**
 * Chain, gateway and a configuration for a supplier; everything is owned by `life`.
 * @throws CliError FOLDER_USED; DevnetError LISTEN, GatewayError GATEWAY_LISTEN
 */
export async function openSite(
  context: Context,
  options: SiteOptions,
  life: Lifetime,
  log: Log,
): Promise<Site> {
  await refuseUsed(options.folder)
  await mkdir(options.folder, { recursive: true, mode: 0o700 })
  const actor = (): Actor => {
    const secret = secretFromMnemonic(createMnemonic(context.randomBytes(32)))
    return { secret, signer: signerOf(secret, context.curve) }
  }
  const [application, gatewayKey, operator, owner] = [actor(), actor(), actor(), actor()]
  const devnet = openChain(
    context,
    options,
    log,
    application.signer,
    gatewayKey.signer,
    operator.signer,
  )
  const rpc = new DevnetRpc({ devnet, clock: context.clock, log }, { port: options.rpcPort })
  const rpcUrl = await life.own(rpc, (part) => part.stop()).start()
  life.run(
    (signal) => devnet.run(signal),
    (error) => void life.stop(error).catch(() => {}),
  )
  const gateway = openGateway(context, devnet, application.signer.address, gatewayKey.secret)
  const front = new GatewayServer(
    { gateway, log },
    { host: '127.0.0.1', port: options.gatewayPort, serviceId: SERVICE_ID, bodyMax: 1 << 20 },
  )
  const gatewayUrl = await life.own(front, (part) => part.stop()).listen()
  await writeKeys(context, options.folder, { operator, gateway: gatewayKey, application })
  const relayPort = options.relayPort === 0 ? await freePort() : options.relayPort
  const { config, configPath } = await writeConfig(
    { ...options, relayPort },
    rpcUrl,
    owner.signer.address,
  )
  return {
    devnet,
    gateway,
    rpcUrl,
    gatewayUrl,
    application: application.signer.address,
    operator: operator.signer,
    owner: owner.signer.address,
    config,
    configPath,
  }
}

/** @throws CliError FOLDER_USED */
async function refuseUsed(folder: string): Promise<void> {
  for (const name of [...LEFT, join('data', 'db')]) {
    const isThere = await access(join(folder, name)).then(
      () => true,
      () => false,
    )
    if (isThere) throw new CliError('FOLDER_USED', `${join(folder, name)} is there already`)
  }
}

function openChain(
  { clock, curve }: Context,
  { blockTime }: SiteOptions,
  log: Log,
  application: Signer,
  gateway: Signer,
  operator: Signer,
): Devnet {
  const genesis = devnetGenesis({
    accounts: [
      {
        address: application.address,
        balance: upokt(10n * POKT),
        publicKey: application.publicKey,
      },
      { address: gateway.address, balance: upokt(10n * POKT), publicKey: gateway.publicKey },
      { address: operator.address, balance: upokt(60_100n * POKT) },
    ],
    services: [
      { id: SERVICE_ID, name: 'Text generation', computeUnitsPerRelay: COMPUTE_UNITS_PER_RELAY },
    ],
    gateways: [{ address: gateway.address }],
    applications: [
      { address: application.address, serviceId: SERVICE_ID, gateways: [gateway.address] },
    ],
    params: {
      shared: {
        numBlocksPerSession: 6n,
        claimWindowCloseOffsetBlocks: 4n,
        proofWindowCloseOffsetBlocks: 4n,
        supplierUnbondingPeriodSessions: 3n,
        applicationUnbondingPeriodSessions: 3n,
        gatewayUnbondingPeriodSessions: 3n,
      },
    },
  })
  return new Devnet({ clock, curve, log }, { chainId: CHAIN_ID, genesis, blockTime })
}

function openGateway(
  { clock, curve, randomBytes }: Context,
  devnet: Devnet,
  application: Address,
  secret: SecretKey,
): Gateway {
  const chain = {
    session: async (app: string, serviceId: string) => {
      const at = devnet.head.height
      return hydrate(devnet.contextAt(at), { application: app, serviceId, at })
    },
    publicKey: async (address: string) =>
      devnet.contextAt(devnet.head.height).state.accounts.get(address)?.publicKey,
  }
  const options = { ...GATEWAY_DEFAULTS, application, privateKey: secret.privateKey }
  return new Gateway({ chain, curve, clock, randomBytes }, options)
}

async function writeKeys(
  context: Context,
  folder: string,
  actors: Readonly<Record<string, Actor>>,
): Promise<void> {
  await writeFile(join(folder, 'passphrase'), `${PASSPHRASE}\n`, { mode: 0o600, flag: 'wx' })
  for (const [name, { secret }] of Object.entries(actors)) {
    await writeKeyfile(join(folder, `${name}.json`), secret, PASSPHRASE, context, CHEAP)
  }
}

async function writeConfig(
  options: SiteOptions,
  rpcUrl: string,
  owner: Address,
): Promise<{ config: Config; configPath: string }> {
  const text = stringify({
    dataDir: 'data',
    chain: { rpc: [rpcUrl], id: CHAIN_ID, pollEvery: '500ms' },
    operators: [{ keyFile: 'operator.json', passphraseFile: 'passphrase' }],
    relay: { listen: `127.0.0.1:${options.relayPort}` },
    services: [
      {
        id: SERVICE_ID,
        backend: {
          kind: 'llamacpp',
          model: 'tiny',
          gpu: 'off',
          slots: options.slots,
          contextSize: 256,
          maxThreads: 1,
        },
      },
    ],
    stake: { amount: '60000000000upokt', owner, url: `http://127.0.0.1:${options.relayPort}` },
    admin: { listen: `127.0.0.1:${options.adminPort}` },
    // Whoever tries it sits at the machine.
    machine: { serve: 'always', onBattery: true, temperatureMax: 120 },
    log: { level: 'info' },
  })
  const configPath = join(options.folder, 'supplier.yaml')
  await writeFile(configPath, text, { mode: 0o600, flag: 'wx' })
  return { config: parseConfig(text, options.folder), configPath }
}

/** The staked URL names the relay port, so that it must be known before anything listens. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  assert(typeof address === 'object' && address !== null, 'a listening server has a port')
  return address.port
}
