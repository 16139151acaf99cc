/**
 * What makes a chain of one's own out of the genesis and the settings that `pocketd init` wrote:
 * funded accounts, services, a gateway, applications that delegated to it, short sessions and windows.
 * Where it is about money the parameters are the main network's, unless told otherwise.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { base64 } from '../../src/base/bytes.ts'
import type { Ms } from '../../src/base/units.ts'
import { moduleAddress } from '../../src/devnet/bank.ts'
import type { LocalAccount } from './localnet-accounts.ts'

export interface LocalService {
  readonly id: string
  readonly name: string
  readonly computeUnitsPerRelay: number
}

export interface LocalnetRules {
  readonly chainId: string
  readonly blockTime: Ms
  /** Blocks of a session. */
  readonly session: number
  /** Offsets in blocks: how long relays of an ended session are taken, and the windows one by one. */
  readonly grace: number
  readonly claimOpen: number
  readonly claimClose: number
  readonly proofOpen: number
  readonly proofClose: number
  /** Compute units to tokens, in millionths of upokt. */
  readonly multiplier: number
  /** Claims of so many upokt need a proof, others are drawn with this probability. */
  readonly threshold: number
  readonly probability: number
  /** Relays of a service above which the chain makes them harder. */
  readonly targetRelays: number
  /** The first is the one that applications are staked for. */
  readonly services: readonly LocalService[]
}

/** A session is claimed, proven and settled within twice its length. */
export const LOCALNET_RULES: LocalnetRules = {
  chainId: 'pocket-localnet',
  blockTime: 1_000 as Ms,
  session: 10,
  grace: 1,
  claimOpen: 1,
  claimClose: 4,
  proofOpen: 0,
  proofClose: 4,
  multiplier: 145_990,
  threshold: 100,
  probability: 0.01,
  targetRelays: 100_000,
  services: [
    { id: 'text-generation', name: 'Text generation', computeUnitsPerRelay: 4_000 },
    { id: 'text-generation-2', name: 'Another model', computeUnitsPerRelay: 100 },
  ],
}

/** Of the governance module: whom the network's parameters obey. */
export const AUTHORITY = 'pokt10d07y265gmmuvt4z0w9aw880jnsr700j8yv32t'
const POKT = 1_000_000n
export const RICH = 1_000_000_000n * POKT
const APPLICATION_STAKE = 1_000_000n * POKT
const GATEWAY_STAKE = 10_000n * POKT
const GOVERNED = [
  ['shared', 'proof', 'tokenomics', 'service'],
  ['supplier', 'application', 'gateway', 'session'],
].flat()

const coin = (amount: bigint | number) => ({ denom: 'upokt', amount: String(amount) })

/** Parts of a genesis that are read and written; the rest stays as `pocketd` made it. */
interface Genesis {
  // biome-ignore lint/suspicious/noExplicitAny: somebody else's JSON, edited in place
  app_state: Record<string, any>
  // biome-ignore lint/suspicious/noExplicitAny: see above
  consensus: any
}

export async function editGenesis(
  home: string,
  accounts: Readonly<Record<string, LocalAccount>>,
  rules: LocalnetRules,
): Promise<void> {
  const path = join(home, 'config', 'genesis.json')
  const genesis = JSON.parse(await readFile(path, 'utf8')) as Genesis
  const { app_state: state, consensus } = genesis
  publishKeys(state, accounts)
  stakeOthers(state, accounts, rules)
  setParams(state, accounts, rules)
  consensus.params.block.max_gas = '-1'
  await writeFile(path, JSON.stringify(genesis, null, 1))
}

/** Rings are made of keys that the chain knows. Suppliers bring theirs by staking, as in life. */
function publishKeys(
  state: Genesis['app_state'],
  accounts: Readonly<Record<string, LocalAccount>>,
): void {
  const known = Object.entries(accounts).filter(([name]) => /^(app|gateway)/.test(name))
  const keys = new Map(known.map(([, account]) => [String(account.address), account.publicKey]))
  for (const account of state['auth'].accounts) {
    const key = keys.get(account.address)
    if (key !== undefined)
      account.pub_key = { '@type': '/cosmos.crypto.secp256k1.PubKey', key: base64(key) }
  }
}

function stakeOthers(
  state: Genesis['app_state'],
  accounts: Readonly<Record<string, LocalAccount>>,
  { services }: LocalnetRules,
): void {
  const of = (name: string) => accounts[name]?.address ?? ''
  const applications = Object.keys(accounts).filter((name) => name.startsWith('app'))
  state['service'].service_list = services.map(({ id, name, computeUnitsPerRelay }) => ({
    id,
    name,
    compute_units_per_relay: String(computeUnitsPerRelay),
    owner_address: of('service_owner'),
  }))
  state['gateway'].gateway_list = [{ address: of('gateway1'), stake: coin(GATEWAY_STAKE) }]
  state['application'].application_list = applications.map((name) => ({
    address: of(name),
    stake: coin(APPLICATION_STAKE),
    service_configs: [{ service_id: services[0]?.id }],
    // The last of several signs for itself.
    delegatee_gateway_addresses:
      applications.length > 1 && name === applications.at(-1) ? [] : [of('gateway1')],
    pending_undelegations: {},
    unstake_session_end_height: '0',
  }))
  const pools = [
    ['application', APPLICATION_STAKE * BigInt(applications.length)],
    ['gateway', GATEWAY_STAKE],
  ] as const
  for (const [module, amount] of pools)
    state['bank'].balances.push({ address: moduleAddress(module), coins: [coin(amount)] })
  // Counted by the node when there is none.
  state['bank'].supply = []
}

function setParams(
  state: Genesis['app_state'],
  accounts: Readonly<Record<string, LocalAccount>>,
  rules: LocalnetRules,
): void {
  const offsets = rules.claimOpen + rules.claimClose + rules.proofOpen + rules.proofClose
  const unbonding = String(Math.max(1, Math.ceil(offsets / rules.session)))
  const dao = accounts['dao']?.address ?? ''
  Object.assign(state['shared'].params, {
    num_blocks_per_session: String(rules.session),
    grace_period_end_offset_blocks: String(rules.grace),
    claim_window_open_offset_blocks: String(rules.claimOpen),
    claim_window_close_offset_blocks: String(rules.claimClose),
    proof_window_open_offset_blocks: String(rules.proofOpen),
    proof_window_close_offset_blocks: String(rules.proofClose),
    compute_units_to_tokens_multiplier: String(rules.multiplier),
    compute_unit_cost_granularity: '1000000',
    supplier_unbonding_period_sessions: unbonding,
    application_unbonding_period_sessions: unbonding,
    gateway_unbonding_period_sessions: unbonding,
  })
  state['session'].params = { num_suppliers_per_session: '15' }
  state['proof'].params = {
    proof_request_probability: rules.probability,
    proof_requirement_threshold: coin(rules.threshold),
    proof_missing_penalty: coin(1),
    proof_submission_fee: coin(1),
  }
  state['service'].params = {
    add_service_fee: coin(3_500n * POKT),
    target_num_relays: String(rules.targetRelays),
  }
  state['supplier'].params = { min_stake: coin(59_500n * POKT), staking_fee: coin(1) }
  state['application'].params = { max_delegated_gateways: '7', min_stake: coin(1_000n * POKT) }
  state['gateway'].params = { min_stake: coin(5_000n * POKT) }
  Object.assign(state['tokenomics'].params, {
    dao_reward_address: dao,
    global_inflation_per_claim: 0.000001,
    mint_allocation_percentages: shares(0.1, 0, 0.8, 0.1),
    mint_equals_burn_claim_distribution: shares(0.045, 0.14, 0.79, 0.025),
    mint_ratio: 0.975,
  })
  const still = { inflation_rate_change: '0.0', inflation_max: '0.0', inflation_min: '0.0' }
  Object.assign(state['mint'].params, still)
  state['mint'].minter.inflation = '0.0'
  state['staking'].params.max_validators = 1
  // Far cheaper than the SDK's defaults, as on the main network.
  const gas = { tx_size_cost_per_byte: '1', sig_verify_cost_secp256k1: '1' }
  Object.assign(state['auth'].params, gas)
  state['authz'].authorization = GOVERNED.flatMap((module) =>
    ['', 's'].map((suffix) => ({
      granter: AUTHORITY,
      grantee: dao,
      expiration: '2500-01-01T00:00:00Z',
      authorization: {
        '@type': '/cosmos.authz.v1beta1.GenericAuthorization',
        msg: `/pocket.${module}.MsgUpdateParam${suffix}`,
      },
    })),
  )
}

function shares(dao: number, proposer: number, supplier: number, owner: number) {
  return { dao, proposer, supplier, source_owner: owner, application: 0 }
}

export interface LocalnetPorts {
  readonly rpc: number
  readonly p2p: number
  readonly grpc: number
  readonly rest: number
}

/** Everything on loopback, blocks at their time, nobody else to talk to. */
export async function editSettings(
  home: string,
  ports: LocalnetPorts,
  { blockTime }: LocalnetRules,
): Promise<void> {
  const at = (port: number, scheme = 'tcp://') => `"${scheme}127.0.0.1:${port}"`
  await editToml(join(home, 'config', 'config.toml'), {
    'rpc/laddr': at(ports.rpc),
    'rpc/pprof_laddr': '""',
    'rpc/max_subscriptions_per_client': '100',
    'p2p/laddr': at(ports.p2p),
    'p2p/pex': 'false',
    'p2p/addr_book_strict': 'false',
    'mempool/max_tx_bytes': '100000000',
    'consensus/timeout_commit': `"${blockTime}ms"`,
    'consensus/timeout_propose': '"1s"',
    'consensus/timeout_prevote': '"1s"',
    'consensus/timeout_precommit': '"1s"',
  })
  await editToml(join(home, 'config', 'app.toml'), {
    '/minimum-gas-prices': '"0.000001upokt"',
    'api/enable': 'true',
    'api/address': at(ports.rest),
    'grpc/address': at(ports.grpc, ''),
    'telemetry/enabled': 'false',
  })
}

/** @param changes by `section/key`, in TOML. @throws Error for a key that is not there */
async function editToml(path: string, changes: Readonly<Record<string, string>>): Promise<void> {
  const left = new Map(Object.entries(changes))
  let section = ''
  const lines = (await readFile(path, 'utf8')).split('\n').map((line) => {
    const key = /^\s*([\w-]+)\s*=/.exec(line)?.[1]
    section = /^\s*\[([\w.-]+)\]/.exec(line)?.[1] ?? section
    const value = left.get(`${section}/${key}`)
    if (key === undefined || value === undefined) return line
    left.delete(`${section}/${key}`)
    return `${key} = ${value}`
  })
  if (left.size > 0) throw new Error(`${path} has no ${[...left.keys()].join(', ')}`)
  await writeFile(path, lines.join('\n'))
}
