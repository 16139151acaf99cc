/**
 * The methods of CometBFT's JSON-RPC that the simulated chain answers, and three of its own.
 *
 * `devnet_mine {blocks}` makes blocks now; `devnet_params {module, params}` and
 * `devnet_fund {address, amount}` change the next one. Source: cometbft rpc/core.
 * Tested by test/devnet/rpc.ts.
 */
import { base64, equal } from '../base/bytes.ts'
import { upokt } from '../base/units.ts'
import type { Block } from './archive.ts'
import { type Arguments, internal, invalidParams } from './arguments.ts'
import type { Devnet } from './chain.ts'
import { DevnetError } from './errors.ts'
import { readChange, readModule } from './orders.ts'
import { answerQuery } from './queries.ts'
import * as render from './render.ts'
import { isoTime } from './tx.ts'

export interface MethodDeps {
  readonly devnet: Devnet
  /** `tcp://host:port` */
  readonly address: string
}

/** @throws RpcFault */
export type Method = (deps: MethodDeps, args: Arguments) => unknown

export const METHODS: ReadonlyMap<string, Method> = new Map(
  Object.entries({
    health: () => ({}),
    status,
    abci_info: ({ devnet }) => ({
      response: {
        data: 'pocket',
        version: '0.1.35',
        last_block_height: String(devnet.head.height),
        last_block_app_hash: base64(devnet.head.nextAppHash),
      },
    }),
    net_info: () => ({ listening: true, listeners: ['Listener(@)'], n_peers: '0', peers: [] }),
    consensus_params: ({ devnet }, args) => render.consensusParams(blockAt(devnet, args).height),
    block: ({ devnet }, args) => render.blockAnswer(devnet, blockAt(devnet, args)),
    block_by_hash: blockByHash,
    header: ({ devnet }, args) => ({ header: render.header(devnet, blockAt(devnet, args)) }),
    commit,
    blockchain,
    block_results: ({ devnet }, args) => render.blockResults(blockAt(devnet, args)),
    validators,
    tx,
    unconfirmed_txs: ({ devnet }) => unconfirmed(devnet, true),
    num_unconfirmed_txs: ({ devnet }) => unconfirmed(devnet, false),
    broadcast_tx_sync: broadcast,
    abci_query: query,
    devnet_mine: mine,
    devnet_params: ({ devnet }, args) => {
      const module = readModule(args.raw('module'))
      return ordered(devnet, () => devnet.setParams(module, readChange(module, args.raw('params'))))
    },
    devnet_fund: ({ devnet }, args) =>
      ordered(devnet, () => devnet.fund(args.text('address'), upokt(args.text('amount')))),
  }),
)

function status({ devnet, address }: MethodDeps) {
  const { head, lowest } = devnet
  const first = devnet.block(lowest) ?? head
  return {
    node_info: render.nodeInfo(devnet, address),
    sync_info: {
      latest_block_hash: render.upper(head.hash),
      latest_app_hash: render.upper(head.appHash),
      latest_block_height: String(head.height),
      latest_block_time: isoTime(head.time),
      earliest_block_hash: render.upper(first.hash),
      earliest_app_hash: render.upper(first.appHash),
      earliest_block_height: String(first.height),
      earliest_block_time: isoTime(first.time),
      catching_up: false,
    },
    validator_info: render.validator(),
  }
}

/** The block of `height`, the latest without it. */
function blockAt(devnet: Devnet, args: Arguments): Block {
  const asked = args.int64('height')
  if (asked === undefined) return devnet.head
  if (asked < 1) throw internal(`height must be greater than 0, but got ${asked}`)
  const latest = devnet.head.height
  if (asked > latest)
    throw internal(
      `height ${asked} must be less than or equal to the current blockchain height ${latest}`,
    )
  const block = devnet.block(asked)
  if (block !== undefined) return block
  throw internal(`height ${asked} is not available, lowest height is ${devnet.lowest}`)
}

function blockByHash({ devnet }: MethodDeps, args: Arguments) {
  const hash = args.bytes('hash')
  for (let at = devnet.head.height as number; at >= devnet.lowest; at--) {
    const block = devnet.block(at)
    if (block !== undefined && equal(block.hash, hash)) return render.blockAnswer(devnet, block)
  }
  return { block_id: render.blockId(new Uint8Array(0)), block: null }
}

function commit({ devnet }: MethodDeps, args: Arguments) {
  const block = blockAt(devnet, args)
  const next = devnet.block(block.height + 1) ?? block
  return {
    signed_header: {
      header: render.header(devnet, block),
      commit: render.commit(block.height, block.hash, next.time),
    },
    canonical: next !== block,
  }
}

const BLOCKCHAIN_MAX = 20

function blockchain({ devnet }: MethodDeps, args: Arguments) {
  const latest = devnet.head.height
  const most = Math.min(args.int64('maxHeight') || latest, latest)
  const least = Math.max(args.int64('minHeight') || 1, devnet.lowest, most - BLOCKCHAIN_MAX + 1)
  if (least > most) throw internal(`min height ${least} can't be greater than max height ${most}`)
  const metas: unknown[] = []
  for (let at = most; at >= least; at--) {
    const block = devnet.block(at)
    if (block !== undefined) metas.push(render.meta(devnet, block))
  }
  return { last_height: String(latest), block_metas: metas }
}

function validators({ devnet }: MethodDeps, args: Arguments) {
  const { height } = blockAt(devnet, args)
  const one = { ...render.validator(), proposer_priority: '0' }
  return { block_height: String(height), validators: [one], count: '1', total: '1' }
}

function tx({ devnet }: MethodDeps, args: Arguments) {
  const hash = render.upper(args.bytes('hash'))
  const found = devnet.find(hash)
  const result = found?.block.results[found.index]
  const bytes = found?.block.transactions[found.index]?.bytes
  if (found === undefined || result === undefined || bytes === undefined)
    throw internal(`tx (${hash}) not found`)
  return {
    hash,
    height: String(found.block.height),
    index: found.index,
    tx_result: render.txResult(result),
    tx: base64(bytes),
  }
}

function unconfirmed({ mempool }: Devnet, isWhole: boolean) {
  const count = String(mempool.waiting.length)
  return {
    n_txs: count,
    total: count,
    total_bytes: String(mempool.bytes),
    txs: isWhole ? mempool.waiting.map(({ bytes }) => base64(bytes)) : null,
  }
}

function broadcast({ devnet }: MethodDeps, args: Arguments) {
  try {
    const { code, log, codespace, hash } = devnet.broadcast(args.bytes('tx'))
    return { code, data: '', log, codespace, hash }
  } catch (error) {
    if (error instanceof DevnetError) throw internal(error.message)
    throw error
  }
}

function query({ devnet }: MethodDeps, args: Arguments) {
  const path = args.text('path')
  const answer = answerQuery(devnet, path, args.hex('data'), args.int64('height') ?? 0)
  const { code, log, codespace, value, height } = answer
  return {
    response: {
      code,
      log,
      info: '',
      index: '0',
      key: null,
      value: value === undefined || value.length === 0 ? null : base64(value),
      proofOps: null,
      height: String(height),
      codespace,
    },
  }
}

const MINE_MAX = 10_000

async function mine({ devnet }: MethodDeps, args: Arguments) {
  const asked = args.raw('blocks')
  const count = asked === undefined ? 1 : Number(asked)
  if (!Number.isInteger(count) || count < 1 || count > MINE_MAX)
    throw invalidParams(`blocks must be 1 to ${MINE_MAX}`)
  for (let i = 0; i < count; i++) await devnet.mine()
  return { height: String(devnet.head.height) }
}

/** Says in which block it happens. */
function ordered(devnet: Devnet, work: () => void) {
  try {
    work()
  } catch (error) {
    if (error instanceof DevnetError || error instanceof RangeError || error instanceof SyntaxError)
      throw invalidParams(error.message)
    throw error
  }
  return { height: String(devnet.head.height + 1) }
}
