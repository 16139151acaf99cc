/**
 * The operators' keys, opened: the only place where a passphrase meets a key file. Commands that send
 * something sign as the operator, or as the owner with a key of its own.
 * Tests: test/cli/stake.ts, test/cli/roles.ts.
 */
import { type Command, Option } from 'commander'
import { readSecretFile } from '../base/files.ts'
import type { Address } from '../base/units.ts'
import type { Config } from '../config/schema.ts'
import { address } from '../config/values.ts'
import { KeyError } from '../keys/errors.ts'
import { readKeyfile } from '../keys/keyfile.ts'
import { type Signer, signerOf } from '../keys/keyring.ts'
import { resolvePassphrase } from '../keys/passphrase.ts'
import { parseAddress } from '../protocol/address.ts'
import type { Context } from './context.ts'
import { CliError } from './errors.ts'
import { flag } from './flags.ts'

/** Who signs for whom. */
export interface Roles {
  readonly operator: Address
  /** The operator itself, or the owner. */
  readonly signer: Signer
}

export interface RoleOptions {
  operator?: Address
  signer?: 'operator' | 'owner'
  ownerKey?: string
  ownerPassphraseFile?: string
  json?: boolean
}

export function addRoleOptions(command: Command): Command {
  return command
    .option(
      '--operator <address>',
      'this operator only; by default each one in turn',
      flag(address),
    )
    .addOption(
      new Option('--signer <role>', 'who signs and pays').choices(['operator', 'owner'] as const),
    )
    .option('--owner-key <file>', 'key file of the owner, for --signer owner')
    .option('--owner-passphrase-file <file>', 'its passphrase; else the usual places, or a prompt')
}

/** @throws KeyError, BaseError */
export async function openSigners(context: Context, config: Config): Promise<Signer[]> {
  const signers: Signer[] = []
  for (const { keyFile, passphraseFile } of config.operators) {
    signers.push(await openSigner(context, keyFile, passphraseFile))
  }
  return signers
}

export async function openSigner(
  context: Context,
  keyFile: string,
  passphraseFile: string | undefined,
): Promise<Signer> {
  // A file that is not there is told before a passphrase is asked for.
  await readSecretFile(keyFile)
  const passphrase = await passphraseFor(context, keyFile, passphraseFile)
  return signerOf(await readKeyfile(keyFile, passphrase), context.curve)
}

export async function passphraseFor(
  { ask, environment }: Context,
  keyFile: string,
  passphraseFile: string | undefined,
): Promise<string> {
  return await resolvePassphrase({
    passphraseFile,
    credentialsDirectory: environment.credentialsDirectory,
    environment: environment.passphrase,
    prompt:
      ask === undefined ? undefined : () => ask(`Passphrase of ${keyFile}: `, { hidden: true }),
  })
}

/** `work` for each operator in turn; with `json` what was done is printed, also before a failure. */
export async function eachOperator(
  context: Context,
  config: Config,
  options: RoleOptions,
  work: (roles: Roles) => Promise<unknown>,
): Promise<void> {
  const results: unknown[] = []
  try {
    for (const roles of await rolesOf(context, config, options)) results.push(await work(roles))
  } finally {
    if (options.json === true) context.print(JSON.stringify({ suppliers: results }, null, 2))
  }
}

/** @throws CliError USAGE, KeyError, BaseError */
async function rolesOf(context: Context, config: Config, options: RoleOptions): Promise<Roles[]> {
  const { signer: role = 'operator', ownerKey, ownerPassphraseFile, operator } = options
  if (role === 'operator') {
    if (ownerKey !== undefined || ownerPassphraseFile !== undefined)
      throw new CliError('USAGE', 'a key of the owner is used with --signer owner only')
    const chosen = await chosenOperators(config, operator)
    const signers = await openSigners(context, { ...config, operators: chosen })
    return signers.map((signer) => ({ operator: signer.address, signer }))
  }
  if (ownerKey === undefined)
    throw new CliError('USAGE', '--signer owner needs the key of the owner: add --owner-key')
  // The owner's machine need not have the operators' keys.
  const operators =
    operator === undefined
      ? await Promise.all(config.operators.map(({ keyFile }) => addressIn(keyFile)))
      : [operator]
  const signer = await openSigner(context, ownerKey, ownerPassphraseFile)
  return operators.map((each) => ({ operator: each, signer }))
}

/** The other keys stay closed. */
async function chosenOperators(
  { operators }: Config,
  wanted: Address | undefined,
): Promise<Config['operators']> {
  if (wanted === undefined) return operators
  const addresses: Address[] = []
  for (const operator of operators) {
    const found = await addressIn(operator.keyFile)
    if (found === wanted) return [operator]
    addresses.push(found)
  }
  const text = `no key file of the configuration is that of ${wanted}; there are: ${addresses.join(', ')}`
  throw new CliError('USAGE', text)
}

/** Stands in clear in a key file, and is checked when the file is opened. @throws KeyError, BaseError */
async function addressIn(keyFile: string): Promise<Address> {
  const text = await readSecretFile(keyFile)
  try {
    return parseAddress(String(JSON.parse(text).address))
  } catch {
    throw new KeyError('KEYFILE', `${keyFile} is not a key file`)
  }
}
