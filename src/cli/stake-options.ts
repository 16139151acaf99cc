/**
 * What to stake: the section `stake` of the configuration, over it the flags, over both what somebody
 * answers. What cannot be is refused before any key is opened or any node asked.
 *
 * Who may do what: the operator everything but change the owner; the owner everything but change
 * services. Source: poktroll x/supplier/module/tx_stake_supplier.go, x/supplier/keeper. Tests: test/cli/roles.ts.
 */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { type Address, formatPokt, type Upokt, upokt } from '../base/units.ts'
import type { SupplierStake } from '../chain/concern.ts'
import { ConfigError } from '../config/load.ts'
import type { Config, RpcTypeName } from '../config/schema.ts'
import { address, amount, httpUrl } from '../config/values.ts'
import type { Signer } from '../keys/keyring.ts'
import {
  RPCType,
  type ServiceRevenueShare,
  type Supplier,
  type SupplierServiceConfig,
} from '../protocol/gen/pocket/shared/shared.ts'
import { validServiceId } from '../protocol/session.ts'
import type { Context } from './context.ts'
import { CliError } from './errors.ts'
import { type Form, faultOf, flag } from './flags.ts'
import type { RoleOptions } from './signers.ts'

export interface StakeOptions extends RoleOptions {
  config?: string
  amount?: Upokt
  owner?: Address
  url?: string
  service?: string[]
  revShare?: ServiceRevenueShare[]
  stakeOnly?: boolean
  servicesOnly?: boolean
  /** False with --no-check. */
  check: boolean
  waitFunds?: boolean
  yes?: boolean
  dryRun?: boolean
}

/** Which parts of a stake message are sent; the chain keeps what is left out. */
export type Part = 'all' | 'stake' | 'services'

/** What is wanted, as far as it is said. */
export interface Wanted {
  readonly part: Part
  readonly amount: Upokt | undefined
  readonly owner: Address | undefined
  readonly url: string | undefined
  readonly services: readonly string[]
  readonly revShare: readonly ServiceRevenueShare[] | undefined
  readonly rpcTypes: readonly RpcTypeName[]
}

/** What the chain knows, for defaults. */
export interface Known {
  readonly supplier: Supplier | undefined
  /** Enough to stay staked after some missed proofs. */
  readonly amount: Upokt
}

export function addStakeOptions(command: Command): Command {
  return command
    .option('--amount <amount>', 'the new total stake, such as 60005POKT', flag(amount))
    .option('--owner <address>', 'who gets stake and rewards', flag(address))
    .option('--url <url>', 'the public URL of the relay port', flag(httpUrl))
    .option('--service <id>', 'a service; may stand several times', service)
    .option(
      '--rev-share <address=percent>',
      'who shares the rewards; may stand several times',
      share,
    )
    .addOption(
      new Option('--stake-only', 'amount and owner; services stay as they are').conflicts([
        'servicesOnly',
        'service',
        'url',
        'revShare',
      ]),
    )
    .addOption(
      new Option('--services-only', 'services, URL and shares; the stake stays').conflicts([
        'amount',
        'owner',
      ]),
    )
    .option('--no-check', "do not ask the engine what the service's card asks")
    .option('--wait-funds', 'wait until the signer has what it takes, then go on')
}

function service(text: string, before: string[] = []): string[] {
  if (!validServiceId(text))
    throw new InvalidArgumentError('a service id has 1 to 42 letters, digits, - or _')
  if (before.includes(text)) throw new InvalidArgumentError('this one stands there already')
  return [...before, text]
}

function share(text: string, before: ServiceRevenueShare[] = []): ServiceRevenueShare[] {
  const [who = '', percent = ''] = text.split('=')
  const read = address.safeParse(who)
  const isShare = /^\d{1,3}$/.test(percent) && Number(percent) >= 1 && Number(percent) <= 100
  if (!read.success || !isShare || text.split('=').length !== 2)
    throw new InvalidArgumentError('write pokt1…=80, with a whole number from 1 to 100')
  if (before.some((one) => one.address === read.data))
    throw new InvalidArgumentError('this address has a share already')
  return [...before, { address: read.data, revSharePercentage: BigInt(percent) }]
}

/** @throws CliError USAGE for what no chain would take, whoever signs */
export function wantedOf(config: Config, options: StakeOptions): Wanted {
  const { stake } = config
  const part: Part = options.stakeOnly ? 'stake' : options.servicesOnly ? 'services' : 'all'
  const sum = options.revShare?.reduce((total, one) => total + one.revSharePercentage, 0n)
  if (sum !== undefined && sum !== 100n)
    throw new CliError('USAGE', `the shares of --rev-share add up to ${sum}, not to 100`)
  if (options.waitFunds === true && options.dryRun === true)
    throw new CliError('USAGE', '--dry-run waits for nothing: leave out --wait-funds')
  if (options.signer === 'owner' && part === 'services')
    throw new CliError('USAGE', 'services are set by the operator only: leave out --signer owner')
  return {
    part,
    amount: part === 'services' ? undefined : (options.amount ?? stake?.amount),
    owner: part === 'services' ? undefined : (options.owner ?? stake?.owner),
    url: options.url ?? stake?.url,
    services: options.service ?? config.services.map(({ id }) => id),
    revShare: options.revShare ?? sharesOf(config),
    rpcTypes: stake?.rpcTypes ?? ['json_rpc', 'rest', 'websocket'],
  }
}

function sharesOf({ stake }: Config): ServiceRevenueShare[] | undefined {
  return stake?.revShare?.map((one) => ({
    address: one.address,
    revSharePercentage: BigInt(one.percent),
  }))
}

/**
 * Asks for what is missing, where somebody can be asked and `--yes` was not given.
 * @throws CliError USAGE with what is missing, ANSWER
 */
export async function completed(
  context: Context,
  wanted: Wanted,
  known: Known,
  yes: boolean,
): Promise<Wanted> {
  const needsAmount = wanted.part !== 'services' && wanted.amount === undefined
  const needsUrl = wanted.part !== 'stake' && wanted.url === undefined
  if (!needsAmount && !needsUrl) return wanted
  if (context.ask === undefined || yes) throw missing(needsAmount, needsUrl)
  const ask = async (question: string, byDefault: string) => {
    const shown = byDefault === '' ? '' : ` [${byDefault}]`
    const answer = await context.ask?.(`${question}${shown}: `)
    return answer?.trim() || byDefault
  }
  const total = upokt(known.supplier?.stake?.amount ?? known.amount)
  const amountText = needsAmount ? await ask('New total stake', formatPokt(total)) : ''
  const owner = known.supplier?.ownerAddress ?? 'the operator'
  const ownerText =
    needsAmount && wanted.owner === undefined ? await ask('Owner (pokt1…)', owner) : owner
  const urlText = needsUrl ? await ask('Public URL of the relay port', '') : ''
  return {
    ...wanted,
    amount: needsAmount ? answered(amount, amountText) : wanted.amount,
    owner: ownerText === owner ? wanted.owner : answered(address, ownerText),
    url: needsUrl ? answered(httpUrl, urlText) : wanted.url,
  }
}

function answered<T>(form: Form<T>, text: string): T {
  const read = form.safeParse(text)
  if (read.success) return read.data
  throw new CliError('ANSWER', faultOf(read.error))
}

function missing(needsAmount: boolean, needsUrl: boolean): CliError {
  const names = [...(needsAmount ? ['amount'] : []), ...(needsUrl ? ['url'] : [])]
  const flags = names.map((name) => `--${name}`).join(' and ')
  const settings = names.map((name) => `stake.${name}`).join(' and ')
  return new CliError('USAGE', `what to stake is not said: add ${flags}, or write ${settings}`)
}

/**
 * The stake message's content. The owner is, in this order: who was named, who owns it already, the
 * signer if it signs as the owner, the operator. @throws CliError USAGE
 */
export function stakeOf(
  wanted: Wanted,
  known: Pick<Known, 'supplier'>,
  roles: { readonly operator: Address; readonly signer: Pick<Signer, 'address'> },
): SupplierStake {
  const { operator, signer } = roles
  const existing = known.supplier?.ownerAddress as Address | undefined
  const owner = wanted.owner ?? existing ?? signer.address
  if (existing === undefined && signer.address !== operator && signer.address !== owner)
    throw new CliError('USAGE', `the owner's key is that of ${signer.address}, not of ${owner}`)
  if (wanted.part !== 'stake' && signer.address !== operator)
    throw new CliError('USAGE', 'services are set by the operator only: add --stake-only')
  return {
    signer: signer.address,
    owner,
    operator,
    stake: wanted.amount,
    services: wanted.part === 'stake' ? [] : servicesOf(wanted, owner),
  }
}

function servicesOf(
  { url = '', services, revShare, rpcTypes }: Wanted,
  owner: Address,
): SupplierServiceConfig[] {
  const shares = revShare ?? [{ address: owner, revSharePercentage: 100n }]
  const endpoints = rpcTypes.map((type) => ({
    // Clients of WebSockets take no other scheme.
    url: type === 'websocket' ? url.replace(/^http/i, 'ws') : url,
    rpcType: TYPES[type],
    configs: [],
  }))
  return services.map((serviceId) => ({ serviceId, endpoints, revShare: [...shares] }))
}

const TYPES: Readonly<Record<RpcTypeName, RPCType>> = {
  json_rpc: RPCType.JSON_RPC,
  rest: RPCType.REST,
  websocket: RPCType.WEBSOCKET,
}

/** What a configuration alone says, without flags and without the chain. @throws ConfigError CONFIG_INVALID */
export function supplierStake(config: Config, signer: Pick<Signer, 'address'>): SupplierStake {
  if (config.stake?.amount === undefined)
    throw new ConfigError('CONFIG_INVALID', 'stake.amount: is missing; it says what to stake')
  const roles = { operator: signer.address, signer }
  return stakeOf(wantedOf(config, { check: false }), { supplier: undefined }, roles)
}
