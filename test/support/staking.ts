/** A devnet with blocks by hand, one operator's key file, and configurations that commands may use. */
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { upokt } from '../../src/base/units.ts'
import { Devnet } from '../../src/devnet/chain.ts'
import { devnetGenesis, type GenesisInput } from '../../src/devnet/genesis.ts'
import { DevnetRpc } from '../../src/devnet/rpc.ts'
import { writeKeyfile } from '../../src/keys/keyfile.ts'
import type { FakeTerminal } from './command.ts'
import { actor, CHAIN_ID, curve, SERVICE } from './network.ts'

const POKT = 1_000_000n
const CHEAP = { n: 2 ** 10, r: 8, p: 1 }
export const PASSPHRASE = 'of the operator'
export const OPERATOR = actor('operator 1')
export const OWNER = actor('owner 1').signer.address
export const STAKE = 60_000n * POKT

export class Staking {
  readonly folder: string
  readonly devnet: Devnet
  readonly rpcUrl: string
  readonly #base: Record<string, unknown>

  private constructor(folder: string, devnet: Devnet, rpcUrl: string) {
    this.folder = folder
    this.devnet = devnet
    this.rpcUrl = rpcUrl
    this.#base = {
      dataDir: 'data',
      chain: { rpc: [rpcUrl], id: devnet.options.chainId, timeout: '4s' },
      operators: [{ keyFile: 'operator.json', passphraseFile: 'passphrase' }],
      services: [{ id: SERVICE, backend: { kind: 'llamacpp', model: 'tiny' } }],
      stake: { amount: `${STAKE}upokt`, owner: OWNER, url: 'http://127.0.0.1:8545' },
    }
  }

  static async open(
    t: Test,
    genesis: Partial<GenesisInput> = {},
    chainId: string = CHAIN_ID,
  ): Promise<Staking> {
    const folder = t.testdir()
    const { signer, secret } = OPERATOR
    const application = actor('application').signer
    const devnet = new Devnet(
      { clock: systemClock, curve, log: silentLog() },
      {
        chainId,
        genesis: devnetGenesis({
          accounts: [
            { address: signer.address, balance: upokt(60_100n * POKT) },
            { address: application.address, balance: upokt(POKT) },
          ],
          services: [{ id: SERVICE, computeUnitsPerRelay: 4_000n }],
          applications: [{ address: application.address, serviceId: SERVICE }],
          ...genesis,
        }),
      },
    )
    const rpc = new DevnetRpc({ devnet, clock: systemClock, log: silentLog() })
    const staking = new Staking(folder, devnet, await rpc.start())
    t.teardown(() => rpc.stop())
    const deps = { randomBytes: (n: number) => new Uint8Array(randomBytes(n)) }
    await writeFile(join(folder, 'passphrase'), PASSPHRASE, { mode: 0o600 })
    await writeKeyfile(join(folder, 'operator.json'), secret, PASSPHRASE, deps, CHEAP)
    return staking
  }

  /** Writes a configuration. @param change replaces whole sections; undefined leaves one out */
  async config(change: Record<string, unknown> = {}): Promise<string> {
    const path = join(this.folder, `${randomBytes(4).toString('hex')}.yaml`)
    const all = Object.entries({ ...this.#base, ...change })
    const kept = Object.fromEntries(all.filter(([, value]) => value !== undefined))
    await writeFile(path, stringify(kept))
    return path
  }

  get supplier() {
    const { state } = this.devnet.contextAt(this.devnet.head.height)
    return state.suppliers.get(OPERATOR.signer.address)
  }

  /** To be called with what a command says: a block for each transaction that is sent. */
  readonly mineWhenSent = (text: string, _terminal?: FakeTerminal): void => {
    if (/^sent /.test(text)) void this.devnet.mine()
  }
}
