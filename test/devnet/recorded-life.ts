/**
 * Seventy blocks of a real chain, run again: stakes, delegations and parameters that change, seen through
 * what blocks emit and what queries answer after each. Nothing is served on it.
 */
import t from 'tap'
import { hex, unhex } from '../../src/base/bytes.ts'
import { height, upokt } from '../../src/base/units.ts'
import { RingVerifier } from '../../src/crypto/ring.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import { Archive } from '../../src/devnet/archive.ts'
import { Refusal } from '../../src/devnet/errors.ts'
import type { Event } from '../../src/devnet/events.ts'
import { devnetGenesis, writeGenesis } from '../../src/devnet/genesis.ts'
import {
  beginBlock,
  drained,
  endBlock,
  execute,
  type MachineDeps,
} from '../../src/devnet/machine.ts'
import { changeParams, type ModuleName } from '../../src/devnet/params.ts'
import { POCKET_ROUTES } from '../../src/devnet/queries-pocket.ts'
import type { Context, State } from '../../src/devnet/state.ts'
import { readTransaction } from '../../src/devnet/tx.ts'
import { json } from '../support/vectors.ts'

interface Emitted {
  readonly type: string
  readonly attributes: Readonly<Record<string, string>>
}

interface Life {
  readonly accounts: Readonly<
    Record<string, { address: string; public_key: string; number: string }>
  >
  readonly paths: readonly string[]
  readonly values: readonly string[]
  readonly blocks: readonly {
    readonly height: number
    readonly hash: string
    readonly params?: readonly { module: ModuleName; change: Record<string, string> }[]
    readonly txs?: readonly { tx: string; code: number; gas_used: number; events: Emitted[] }[]
    readonly events?: readonly Emitted[]
    /** Path, request, index of the answer or what was said instead. */
    readonly queries: readonly [number, string, number | { code: number; log: string }][]
  }[]
}

const life = json<Life>('chain/life.json')
const POKT = 1_000_000n
const SERVICE = 'text-generation'

function address(name: string): string {
  return life.accounts[name]?.address ?? ''
}

/** As the chain began. */
function beginning(): State {
  const state = new Archive(1_000).stateAt(0)
  const owner = address('service_owner')
  const apps = ['app1', 'app2', 'app3']
  const windows = { claimWindowCloseOffsetBlocks: 4n, proofWindowCloseOffsetBlocks: 4n }
  const genesis = devnetGenesis({
    accounts: Object.entries(life.accounts).map(([name, { address, public_key: key }]) => ({
      address,
      balance: upokt(1_000_000_000n * POKT),
      ...(/^(app|gateway)/.test(name) ? { publicKey: unhex(key) } : {}),
    })),
    services: [
      { id: SERVICE, name: 'Text generation', computeUnitsPerRelay: 4_000n, owner },
      { id: `${SERVICE}-2`, name: 'Another model', computeUnitsPerRelay: 100n, owner },
    ],
    gateways: [{ address: address('gateway1'), stake: upokt(10_000n * POKT) }],
    applications: apps.map((name) => ({
      address: address(name),
      serviceId: SERVICE,
      stake: upokt(1_000_000n * POKT),
      gateways: name === 'app3' ? [] : [address('gateway1')],
    })),
    params: {
      shared: {
        ...windows,
        numBlocksPerSession: 10n,
        supplierUnbondingPeriodSessions: 1n,
        applicationUnbondingPeriodSessions: 1n,
        gatewayUnbondingPeriodSessions: 1n,
      },
      tokenomics: { daoRewardAddress: address('dao') },
    },
  })
  writeGenesis(state, genesis)
  for (const { address, number } of Object.values(life.accounts)) {
    const account = state.accounts.get(address)
    if (account !== undefined) state.accounts.set(address, { ...account, number: BigInt(number) })
  }
  return state
}

const camel = (name: string) => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())

function emitted(events: readonly Event[]): Emitted[] {
  return events
    .filter(({ type }) => type.startsWith('pocket.'))
    .map(({ type, attributes }) => ({
      type,
      attributes: Object.fromEntries(attributes.map(({ key, value }) => [key, value])),
    }))
}

function asked(
  context: Context,
  path: string,
  data: string,
): string | { code: number; log: string } {
  try {
    return hex(POCKET_ROUTES[path]?.(context, unhex(data)) ?? new Uint8Array(0))
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { code: error.number, log: error.message }
  }
}

t.test('stakes, delegations and parameters change as on the chain', async (t) => {
  const curve = loadCurve()
  const chainId = 'pocket-localnet'
  const deps: MachineDeps = { curve, rings: new RingVerifier({ curve }), chainId }
  const state = beginning()
  for (const block of life.blocks) {
    const context: Context = { state, height: height(block.height), time: 0n, events: [] }
    beginBlock(context)
    const events = drained(context, 'BeginBlock')
    for (const { module, change } of block.params ?? []) {
      const fields = Object.entries(change).map(([name, value]) => [camel(name), BigInt(value)])
      changeParams(context, module, Object.fromEntries(fields))
    }
    for (const { tx, code, events, gas_used: gas } of block.txs ?? []) {
      const read = readTransaction(unhex(tx))
      const time = (read.timeout ?? 0n) - 60_000_000_000n
      const result = execute({ ...context, time }, read, 'deliver', deps)
      t.equal(result.code, code, `${block.height}: ${result.log}`)
      t.strictSame(emitted(result.events), events, `${block.height}: of a transaction`)
      // What a supplier's messages cost goes by what is stored of it: the devnet's price is one for all.
      if (read.messages.some(({ module }) => module === 'supplier')) continue
      const share = Number(result.gasUsed) / gas
      t.ok(share > 0.85 && share < 1.15, `${block.height}: gas ${result.gasUsed} of ${gas}`)
    }
    endBlock(context, unhex(block.hash), deps)
    events.push(...drained(context, 'EndBlock'))
    t.strictSame(emitted(events), block.events ?? [], `${block.height}: of the block`)
    for (const [path, data, answer] of block.queries) {
      const name = life.paths[path] ?? ''
      const expected = typeof answer === 'number' ? life.values[answer] : answer
      t.same(asked(context, name, data), expected, `${block.height}: ${name} ${data}`)
    }
  }
})
