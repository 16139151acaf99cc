/**
 * Blocks and results as CometBFT's JSON-RPC shows them: field by field what a real node answers.
 *
 * 64-bit integers are strings, hashes upper-case hex, bytes base64. What the simulated chain does not
 * have (parts, validators' signatures) is filled with values that are well formed and always the same.
 * Source: cometbft rpc/core/types. Tested by test/devnet/rpc.ts against recordings of a real node.
 */
import { base64, concat, hex, sha256, utf8 } from '../base/bytes.ts'
import type { Block } from './archive.ts'
import type { Devnet } from './chain.ts'
import type { Event } from './events.ts'
import type { TxResult } from './machine.ts'
import { isoTime } from './tx.ts'

export function upper(bytes: Uint8Array): string {
  return hex(bytes).toUpperCase()
}

function labelled(label: string, ...parts: Uint8Array[]): Uint8Array {
  return sha256(concat(utf8(label), ...parts))
}

const NOTHING = new Uint8Array(0)
const NOTHING_HASH = upper(sha256(NOTHING))
const VALIDATORS_HASH = upper(labelled('validators'))
const CONSENSUS_HASH = upper(labelled('consensus'))
export const VALIDATOR_ADDRESS = upper(labelled('validator').subarray(0, 20))
const VALIDATOR_KEY = base64(labelled('validator key'))
const POWER = '900000'

export function blockId(hash: Uint8Array) {
  if (hash.length === 0) return { hash: '', parts: { total: 0, hash: '' } }
  return { hash: upper(hash), parts: { total: 1, hash: upper(labelled('parts', hash)) } }
}

export function header(devnet: Devnet, block: Block) {
  const isFirst = block.previous.length === 0
  return {
    version: { block: '11' },
    chain_id: devnet.options.chainId,
    height: String(block.height),
    time: isoTime(block.time),
    last_block_id: blockId(block.previous),
    last_commit_hash: isFirst ? NOTHING_HASH : upper(labelled('commit', block.previous)),
    data_hash: upper(block.dataHash),
    validators_hash: VALIDATORS_HASH,
    next_validators_hash: VALIDATORS_HASH,
    consensus_hash: CONSENSUS_HASH,
    app_hash: upper(block.appHash),
    last_results_hash: NOTHING_HASH,
    evidence_hash: NOTHING_HASH,
    proposer_address: VALIDATOR_ADDRESS,
  }
}

/** The one validator's vote for a block. */
export function commit(at: number, hash: Uint8Array, time: bigint) {
  return {
    height: String(at),
    round: 0,
    block_id: blockId(hash),
    signatures:
      hash.length === 0
        ? []
        : [
            {
              block_id_flag: 2,
              validator_address: VALIDATOR_ADDRESS,
              timestamp: isoTime(time),
              signature: base64(concat(labelled('r', hash), labelled('s', hash))),
            },
          ],
  }
}

export function blockBody(devnet: Devnet, block: Block) {
  return {
    header: header(devnet, block),
    data: { txs: block.transactions.map((tx) => base64(tx.bytes)) },
    evidence: { evidence: [] },
    last_commit: commit(block.height - 1, block.previous, block.time),
  }
}

export function blockAnswer(devnet: Devnet, block: Block) {
  return { block_id: blockId(block.hash), block: blockBody(devnet, block) }
}

export function meta(devnet: Devnet, block: Block) {
  const bytes = block.transactions.reduce((sum, tx) => sum + tx.bytes.length, 0)
  return {
    block_id: blockId(block.hash),
    block_size: String(588 + bytes),
    header: header(devnet, block),
    num_txs: String(block.transactions.length),
  }
}

export function txResult(result: TxResult) {
  return {
    code: result.code,
    data: result.data === undefined ? null : base64(result.data),
    log: result.log,
    info: '',
    gas_wanted: result.gasWanted.toString(),
    gas_used: result.gasUsed.toString(),
    events: result.events,
    codespace: result.codespace,
  }
}

const CONSENSUS_PARAMS = {
  block: { max_bytes: '22020096', max_gas: '-1' },
  evidence: {
    max_age_num_blocks: '100000',
    max_age_duration: '172800000000000',
    max_bytes: '1048576',
  },
  validator: { pub_key_types: ['ed25519'] },
}

export function consensusParams(at: number) {
  return {
    block_height: String(at),
    consensus_params: {
      ...CONSENSUS_PARAMS,
      version: { app: '0' },
      abci: { vote_extensions_enable_height: '0' },
    },
  }
}

const PARAM_UPDATES = { ...CONSENSUS_PARAMS, version: {}, abci: {} }

export function blockResults(block: Block) {
  return {
    height: String(block.height),
    txs_results: block.results.length === 0 ? null : block.results.map(txResult),
    finalize_block_events: block.events,
    validator_updates: null,
    consensus_param_updates: PARAM_UPDATES,
    app_hash: base64(block.nextAppHash),
  }
}

export function validator() {
  return {
    address: VALIDATOR_ADDRESS,
    pub_key: { type: 'tendermint/PubKeyEd25519', value: VALIDATOR_KEY },
    voting_power: POWER,
  }
}

export function nodeInfo(devnet: Devnet, address: string) {
  return {
    protocol_version: { p2p: '8', block: '11', app: '0' },
    id: hex(labelled('node').subarray(0, 20)),
    listen_addr: address,
    network: devnet.options.chainId,
    version: '0.38.22',
    channels: '402021222330386061',
    moniker: 'devnet',
    other: { tx_index: 'on', rpc_address: address },
  }
}

/** What a subscriber is told of a block. */
export function newBlock(devnet: Devnet, block: Block) {
  return {
    type: 'tendermint/event/NewBlock',
    value: {
      ...{ block: blockBody(devnet, block), block_id: blockId(block.hash) },
      result_finalize_block: {
        events: block.events,
        ...(block.results.length > 0 && { tx_results: block.results.map(txResult) }),
        validator_updates: [],
        consensus_param_updates: PARAM_UPDATES,
        app_hash: base64(block.nextAppHash),
      },
    },
  }
}

export function newHeader(devnet: Devnet, block: Block) {
  return { type: 'tendermint/event/NewBlockHeader', value: { header: header(devnet, block) } }
}

/** Zero values are left out here, unlike in `block_results`. */
export function newTx(block: Block, index: number) {
  const result = block.results[index]
  const bytes = block.transactions[index]?.bytes ?? NOTHING
  if (result === undefined) throw new RangeError(`no transaction ${index}`)
  const { code, log, codespace, data } = result
  return {
    type: 'tendermint/event/Tx',
    value: {
      TxResult: {
        height: String(block.height),
        ...(index > 0 && { index }),
        tx: base64(bytes),
        result: {
          ...(code !== 0 && { code }),
          ...(data !== undefined && { data: base64(data) }),
          ...(log !== '' && { log }),
          gas_wanted: result.gasWanted.toString(),
          gas_used: result.gasUsed.toString(),
          events: result.events,
          ...(codespace !== '' && { codespace }),
        },
      },
    },
  }
}

/** Events as a subscription sees them: every value of `type.key`. */
export function eventMap(
  events: readonly Event[],
  more: Readonly<Record<string, string>>,
): Record<string, string[]> {
  const map: Record<string, string[]> = {}
  for (const [key, value] of Object.entries(more)) map[key] = [value]
  for (const { type, attributes } of events)
    for (const { key, value } of attributes) {
      const name = `${type}.${key}`
      map[name] = [...(map[name] ?? []), value]
    }
  return map
}
