/**
 * `scripts/localnet`: a real chain for as long as this runs, and what one needs to use it.
 * The chain itself is test/support/localnet.ts; tests: test/realchain/localnet.ts.
 */
import { Command, InvalidArgumentError } from 'commander'
import { hex } from '../src/base/bytes.ts'
import { type Ms, ms } from '../src/base/units.ts'
import { LOCALNET_DEFAULTS, Localnet } from '../test/support/localnet.ts'
import type { LocalService } from '../test/support/localnet-genesis.ts'
import { findPocketd, NO_POCKETD } from '../test/support/pocketd.ts'

interface Options {
  home?: string
  keep: boolean
  json?: boolean
  chainId: string
  rpcPort: number
  blockTime: Ms
  session: number
  grace: number
  claimOpen: number
  claimClose: number
  proofOpen: number
  proofClose: number
  threshold: number
  probability: number
  multiplier: number
  targetRelays: number
  suppliers: number
  applications: number
  service: LocalService[]
}

const defaults = LOCALNET_DEFAULTS

function program(): Command {
  return new Command('scripts/localnet')
    .description('run a real chain of one node on this machine, with a pocketd of your own')
    .option('--home <folder>', 'a new or empty one (default: a temporary folder)')
    .option('--keep', 'leave the home behind at the end', defaults.keep)
    .option('--json', 'everything as one JSON object on stdout, private keys included')
    .option('--chain-id <id>', 'what the chain calls itself', defaults.chainId)
    .option('--rpc-port <port>', 'of the CometBFT RPC; 0 for any free port', count, 0)
    .option('--block-time <time>', 'such as 500ms or 2s', time, defaults.blockTime)
    .option('--session <blocks>', 'length of a session', count, defaults.session)
    .option('--grace <blocks>', 'that relays of an ended session are taken', count, defaults.grace)
    .option('--claim-open <blocks>', 'from session end', count, defaults.claimOpen)
    .option('--claim-close <blocks>', 'from the opening', count, defaults.claimClose)
    .option('--proof-open <blocks>', 'from the close of claims', count, defaults.proofOpen)
    .option('--proof-close <blocks>', 'from the opening', count, defaults.proofClose)
    .option('--threshold <upokt>', 'claims from here on need a proof', count, defaults.threshold)
    .option('--probability <share>', 'of others that are drawn', share, defaults.probability)
    .option('--multiplier <n>', 'upokt for a million compute units', count, defaults.multiplier)
    .option('--target-relays <n>', 'above it relays get harder', count, defaults.targetRelays)
    .option('--suppliers <n>', 'operators and owners, funded, not staked', count, 3)
    .option('--applications <n>', 'staked; the last of several has no gateway', count, 2)
    .option('--service <id:units>', 'instead of the built-in ones; may be repeated', service, [])
    .addHelpText(
      'after',
      `
The program of the node is \`pocketd\` on the PATH, or $POCKETD. Everything listens on loopback only.
Ctrl-C ends the node and removes its home. Keys are the same each time and guard nothing.

Examples:
  POCKETD=~/pocketd scripts/localnet
  scripts/localnet --session 20 --threshold 1000000 --probability 0.5
  scripts/localnet --json >net.json`,
    )
}

async function main(): Promise<void> {
  const { service: services, ...options } = program().parse().opts<Options>()
  const pocketd = await findPocketd()
  if (pocketd === undefined) throw new Error(NO_POCKETD)
  const stop = new AbortController()
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.on(signal, () => {
        stop.abort(new Error('stopped'))
        resolve()
      })
  })
  process.stderr.write('starting\n')
  const chosen = services.length === 0 ? {} : { services }
  const chain = await Localnet.start({ ...options, ...chosen, pocketd }, stop.signal)
  try {
    for (const name of Object.keys(chain.accounts)) await chain.importKey(name)
    const shown = options.json === true ? JSON.stringify(describe(chain), null, 2) : text(chain)
    process.stdout.write(`${shown}\n`)
    await Promise.race([stopped, chain.ended])
  } finally {
    await chain.close()
    const left = options.keep ? `left behind: ${chain.home}` : `removed ${chain.home}`
    process.stderr.write(`ended, ${left}\n`)
  }
  if (!stop.signal.aborted) throw new Error(`the node has ended; see ${chain.nodeLog}`)
}

/** Field names stay: scripts rely on them. */
function describe(chain: Localnet) {
  const { options, accounts } = chain
  const { services, ...rules } = options
  return {
    ...rules,
    home: chain.home,
    rpc: chain.rpcUrl,
    node: chain.node,
    grpc: chain.grpc,
    rest: `http://127.0.0.1:${chain.ports.rest}`,
    log: chain.nodeLog,
    services,
    accounts: Object.fromEntries(
      Object.values(accounts).map(({ name, address, privateKey, publicKey }) => [
        name,
        { address, privateKey: hex(privateKey), publicKey: hex(publicKey) },
      ]),
    ),
  }
}

function text(chain: Localnet): string {
  const { options, accounts } = chain
  const lines = [
    `chain      ${options.chainId}, a block every ${options.blockTime} ms, sessions of ${options.session}`,
    `rpc        ${chain.rpcUrl}`,
    `grpc       ${chain.grpc}`,
    `home       ${chain.home} (also a keyring: --keyring-backend test)`,
    ...options.services.map(
      ({ id, computeUnitsPerRelay }) => `service    ${id}, ${computeUnitsPerRelay} compute units`,
    ),
    `staked     gateway1; app1 … app${options.applications} for ${chain.serviceId}, the last of several without it`,
    '',
    ...Object.values(accounts).map(
      ({ name, address, privateKey }) => `${name.padEnd(14)} ${address}  ${hex(privateKey)}`,
    ),
    '',
    `look       ${options.pocketd} status --node ${chain.node} --home ${chain.home}`,
    'a supplier pokt-supplier keys import (a private key from above), chain.rpc and chain.id in supplier.yaml',
    'end        Ctrl-C',
  ]
  return lines.join('\n')
}

function count(value: string): number {
  const number = Number(value)
  if (value.trim() !== '' && Number.isSafeInteger(number) && number >= 0) return number
  throw new InvalidArgumentError('a whole number is needed')
}

function share(value: string): number {
  const number = Number(value)
  if (value.trim() !== '' && number >= 0 && number <= 1) return number
  throw new InvalidArgumentError('a number from 0 to 1 is needed')
}

function time(value: string): Ms {
  const match = /^(\d+)(ms|s)$/.exec(value)
  const number = Number(match?.[1]) * (match?.[2] === 's' ? 1_000 : 1)
  if (number >= 100 && number <= 600_000) return ms(number)
  throw new InvalidArgumentError('write a time from 100ms to 600s')
}

function service(value: string, before: LocalService[]): LocalService[] {
  const match = /^([\w-]{1,42}):(\d+)$/.exec(value)
  if (match?.[1] === undefined) throw new InvalidArgumentError('write an id and compute units: a:1')
  return [...before, { id: match[1], name: match[1], computeUnitsPerRelay: Number(match[2]) }]
}

main().catch((error: unknown) => {
  process.stderr.write(`localnet: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
})
