/** A broadcaster over recorded nodes that tell of a chain at a height, and take what they are scripted to. */
import type { Test } from 'tap'
import { base64, unhex } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { type Address, ms } from '../../src/base/units.ts'
import { Broadcaster, type BroadcasterOptions } from '../../src/chain/broadcast.ts'
import { METHODS } from '../../src/chain/methods.ts'
import { Query } from '../../src/chain/query.ts'
import { Rpc } from '../../src/chain/rpc.ts'
import { sendMessage } from '../../src/chain/stake.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import type { Signer } from '../../src/keys/keyring.ts'
import {
  AuthInfo,
  SimulateRequest,
  SimulateResponse,
  TxBody,
  TxRaw,
} from '../../src/protocol/gen/cosmos/tx/tx.ts'
import { RecordedNode, type Recording, recordings } from './recorded-node.ts'
import { WatchedClock } from './watched-clock.ts'

export interface SentRecording extends Recording {
  readonly tx_base64: string
  readonly hash: string
  readonly then_tx?: Recording | null
}
export interface SimulatedRecording extends Recording {
  readonly tx_base64: string
  readonly gas_info?: { gas_used: number } | null
}

export const SENT = recordings<SentRecording>('broadcast')
export const SIMULATED = recordings<SimulatedRecording>('simulate')
export const BLOCK_TIME = Date.parse('2026-11-24T22:00:00.500Z')

export const curve = loadCurve()
const SECRET = unhex('f281f5a3e1e377768c0c5c3ecf93f05d83ca484291a172cb624f7d6734a07e47')
export const SUPPLIER1: Signer = {
  address: 'pokt1unuuu9ysz4ehvmx6ga26xqyhezqkr3eel2xx08' as Address,
  publicKey: curve.publicKey(SECRET),
  sign: (digest) => curve.sign(digest, SECRET),
}
export const MESSAGE = sendMessage(SUPPLIER1.address, SUPPLIER1.address, 1n as never)

export async function setUp(t: Test, nodeCount = 1, options: Partial<BroadcasterOptions> = {}) {
  const clock = new WatchedClock()
  const nodes: RecordedNode[] = []
  for (let i = 0; i < nodeCount; i++) nodes.push(await RecordedNode.start())
  const [node, other = node] = nodes
  if (node === undefined || other === undefined) throw new Error('no node')
  const endpoints = nodes.map(({ url }) => url)
  const rpc = new Rpc(
    { clock, random: () => 0, log: silentLog() },
    { endpoints, timeout: ms(60_000) },
  )
  const query = new Query({ rpc, clock })
  const randomBytes = (length: number) => new Uint8Array(length).fill(0xff)
  const deps = { rpc, query, clock, randomBytes }
  const broadcaster = new Broadcaster(deps, { chainId: 'pocket', ...options })
  t.teardown(async () => {
    await rpc.close()
    for (const each of nodes) await each.close()
  })
  const world = {
    clock,
    rpc,
    node,
    other,
    broadcaster,
    deps,
    height: 100,
    simulated: [] as Uint8Array[],
  }
  for (const each of nodes) script(each, world)
  return world
}

/** A chain at `world.height` on which supplier1 is account 9 and everything uses 150,001 gas. */
function script(node: RecordedNode, world: { height: number; simulated: Uint8Array[] }): void {
  const account = recordings('abci_query').find(({ name }) => name === 'account_supplier')
  node.on('status', () => ({
    node_info: { network: 'pocket', version: '0.38.22' },
    sync_info: {
      latest_block_hash: 'AB'.repeat(32),
      latest_block_height: String(world.height),
      latest_block_time: new Date(BLOCK_TIME).toISOString(),
      earliest_block_height: '1',
      catching_up: false,
    },
  }))
  node.on('abci_query', ({ path, data }) => {
    if (path === METHODS.account.path) return account?.response.result
    world.simulated.push(SimulateRequest.decode(unhex(String(data))).txBytes)
    const gasInfo = { gasWanted: 2n ** 64n - 1n, gasUsed: 150_001n }
    const value = base64(SimulateResponse.encode({ gasInfo }).finish())
    return { response: { code: 0, log: '', codespace: '', value } }
  })
}

export function refuseSimulation(node: RecordedNode, name: string): void {
  const refused = SIMULATED.find((one) => one.name === name)?.response.result
  const account = recordings('abci_query').find((one) => one.name === 'account_supplier')
  node.on('abci_query', ({ path }) =>
    path === METHODS.account.path ? account?.response.result : refused,
  )
}

export function open(bytes: Uint8Array) {
  const raw = TxRaw.decode(bytes)
  return { raw, body: TxBody.decode(raw.bodyBytes), auth: AuthInfo.decode(raw.authInfoBytes) }
}
