/**
 * The state of the chain that was recorded, rebuilt from its constants, so that recorded transactions
 * can be run again and their answers compared with the recorded ones.
 */
import { sha256, unhex } from '../../src/base/bytes.ts'
import { height, upokt } from '../../src/base/units.ts'
import { RingVerifier } from '../../src/crypto/ring.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import { Archive } from '../../src/devnet/archive.ts'
import type { Event } from '../../src/devnet/events.ts'
import { devnetGenesis, writeGenesis } from '../../src/devnet/genesis.ts'
import { endBlock, execute, type MachineDeps, type TxResult } from '../../src/devnet/machine.ts'
import type { Context, State } from '../../src/devnet/state.ts'
import { readTransaction } from '../../src/devnet/tx.ts'
import { VALIDATOR, VALIDATOR_OPERATOR } from '../../src/devnet/validators.ts'
import { json } from './vectors.ts'

interface Keys {
  readonly accounts: Readonly<Record<string, { address: string; public_key_hex: string }>>
}

export interface RecordedSession {
  readonly tag: string
  readonly session_start: number
  readonly session_start_block_hash: string
  readonly seed_block: { readonly height: number; readonly hash: string }
}

/** As CometBFT writes them. */
export interface RecordedEvent {
  readonly type: string
  readonly attributes: readonly { key: string; value: string; index: boolean }[]
}

export interface RecordedResult {
  readonly code: number
  readonly data: string | null
  readonly log: string
  readonly gas_wanted: string
  readonly gas_used: string
  readonly codespace: string
  readonly events: readonly RecordedEvent[]
}

const POKT = 1_000_000n
const VALIDATOR_NAME = 'pokt1elyrld7lgcmfqs7svynge0pldpp7d2pj0wxwjl'
const VALIDATOR_OPERATOR_NAME = 'poktvaloper1elyrld7lgcmfqs7svynge0pldpp7d2pjda4ve8'

export class RecordedChain {
  readonly curve = loadCurve()
  readonly state: State
  readonly #keys = json<Keys>('chain/keys.json')
  readonly deps: MachineDeps

  constructor() {
    this.deps = {
      curve: this.curve,
      rings: new RingVerifier({ curve: this.curve }),
      chainId: 'pocket',
    }
    this.state = new Archive(10).stateAt(0)
    const of = (name: string) => this.address(name)
    const accounts = Object.entries(this.#keys.accounts)
      .filter(([name]) => name !== 'fresh')
      .map(([name, { address, public_key_hex }]) => ({
        address,
        balance: upokt(name === 'poor1' ? 1n : 1_000_000_000n * POKT),
        publicKey: unhex(public_key_hex),
      }))
    const apps = [
      { name: 'app1', service: 'text-gen', gateways: [of('gateway1')] },
      { name: 'app2', service: 'text-gen', gateways: [] },
    ]
    const owner = of('service_owner')
    writeGenesis(
      this.state,
      devnetGenesis({
        accounts,
        services: [
          { id: 'text-gen', name: 'Text generation', computeUnitsPerRelay: 4_000n, owner },
          { id: 'anvil', name: 'EVM test', computeUnitsPerRelay: 100n, owner },
          { id: 'static', name: 'Static', computeUnitsPerRelay: 1n, owner },
        ],
        gateways: [{ address: of('gateway1'), stake: upokt(10_000n * POKT) }],
        applications: apps.map(({ name, service, gateways }) => ({
          address: of(name),
          serviceId: service,
          stake: upokt(1_000_000n * POKT),
          gateways,
        })),
        params: {
          shared: {
            numBlocksPerSession: 10n,
            claimWindowCloseOffsetBlocks: 4n,
            proofWindowCloseOffsetBlocks: 4n,
            supplierUnbondingPeriodSessions: 1n,
            applicationUnbondingPeriodSessions: 1n,
            gatewayUnbondingPeriodSessions: 1n,
          },
          service: { targetNumRelays: 8n },
          tokenomics: { daoRewardAddress: of('dao') },
        },
      }),
    )
    for (const session of json<RecordedSession[]>('chain/sessions.json')) {
      const { session_start: start, session_start_block_hash: hash, seed_block: seed } = session
      this.state.blockHashes.set(String(start), unhex(hash))
      this.state.blockHashes.set(String(seed.height), unhex(seed.hash))
    }
  }

  address(name: string): string {
    return this.#keys.accounts[name]?.address ?? ''
  }

  /** Active from `since` on, as staked by hand. */
  supplier(name: string, owner: string, since: bigint, url: string): void {
    const [operatorAddress, ownerAddress] = [this.address(name), this.address(owner)]
    const revShare = [{ address: ownerAddress, revSharePercentage: 100n }]
    this.state.suppliers.set(operatorAddress, {
      operatorAddress,
      ownerAddress,
      stake: { denom: 'upokt', amount: (60_000n * POKT).toString() },
      services: [],
      unstakeSessionEndHeight: 0n,
      serviceConfigHistory: [
        {
          operatorAddress,
          service: {
            serviceId: 'text-gen',
            endpoints: [{ url, rpcType: 3, configs: [] }],
            revShare,
          },
          activationHeight: since,
          deactivationHeight: 0n,
        },
      ],
    })
    const pool = 'pokt1j40dzzmn6cn9kxku7a5tjnud6hv37vesr5ccaa'
    this.state.balances.set(pool, (this.state.balances.get(pool) ?? 0n) + 60_000n * POKT)
  }

  context(at: number, time: bigint): Context {
    return { state: this.state, height: height(at), time, events: [] }
  }

  /** Runs a recorded transaction as one of block `at`; its sender's sequence is what it says. */
  deliver(at: number, bytes: Uint8Array): TxResult {
    const tx = readTransaction(bytes)
    const time = (tx.timeout ?? 1_795_557_628_000_000_000n) - 60_000_000_000n
    if (!tx.body.unordered)
      this.expectSequence(tx.signers[0] ?? '', tx.authInfo.signerInfos[0]?.sequence ?? 0n)
    return execute(this.context(at, time), tx, 'deliver', this.deps)
  }

  expectSequence(address: string, sequence: bigint): void {
    const account = this.state.accounts.get(address)
    if (account !== undefined) this.state.accounts.set(address, { ...account, sequence })
  }

  /** The end of block `at`, as events of `EndBlock`. */
  end(at: number): RecordedEvent[] {
    const context = this.context(at, 0n)
    const hash = this.state.blockHashes.get(String(at)) ?? sha256(new Uint8Array([at]))
    endBlock(context, hash, this.deps)
    return context.events.map((event) =>
      named(event, { key: 'mode', value: 'EndBlock', index: true }),
    )
  }
}

function named(event: Event, last: Event['attributes'][number]): RecordedEvent {
  const text = JSON.stringify({ ...event, attributes: [...event.attributes, last] })
  return JSON.parse(
    text
      .replaceAll(VALIDATOR_OPERATOR, VALIDATOR_OPERATOR_NAME)
      .replaceAll(VALIDATOR, VALIDATOR_NAME),
  ) as RecordedEvent
}

/** Of a recorded block, what its end emitted. */
export function ended(events: readonly RecordedEvent[]): RecordedEvent[] {
  return events.filter(({ attributes }) =>
    attributes.some(({ key, value }) => key === 'mode' && value === 'EndBlock'),
  )
}
