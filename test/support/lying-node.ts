/**
 * A node over real HTTP and a real WebSocket whose chain a test makes longer, and which may lie: about
 * its height, about the hash of a block, or by following a fork of its own.
 */
import { createHash } from 'node:crypto'
import { hex } from '../../src/base/bytes.ts'
import { RecordedNode, RpcFailure } from './recorded-node.ts'

const START = Date.parse('2026-11-24T22:00:00Z')

export const hashOf = (at: number, fork = '') =>
  createHash('sha256').update(`${fork}block ${at}`).digest()
export const timeOf = (at: number) => new Date(START + at * 1_000).toISOString()
/** Unix milliseconds. */
export const momentOf = (at: number) => START + at * 1_000

export class LyingNode {
  height: number
  chainId = 'pocket'
  catchingUp = false
  /** Heights for which the node has no block at the moment. */
  readonly missing = new Set<number>()
  /** From this height on its blocks are others, each naming the one before. */
  forkedFrom = Number.POSITIVE_INFINITY
  /** Blocks whose hash alone is another; the next one names the true one. */
  readonly lies = new Set<number>()
  /** Heights for which its status alone has another hash. */
  readonly slips = new Set<number>()
  readonly node: RecordedNode

  constructor(node: RecordedNode, start: number) {
    this.node = node
    this.height = start
    node.on('status', () => this.#status())
    node.on('commit', ({ height: at }) => this.commit(Number(at)))
  }

  static async start(height = 100): Promise<LyingNode> {
    return new LyingNode(await RecordedNode.start(), height)
  }

  announce(at = this.height): void {
    const header = { header: { height: String(at) } }
    const data = { type: 'tendermint/event/NewBlockHeader', value: header }
    this.node.push({ jsonrpc: '2.0', id: 1, result: { query: '', data } })
  }

  commit(at: number) {
    if (at > this.height || this.missing.has(at))
      throw new RpcFailure(
        `height ${at} must be less than or equal to the current blockchain height ${this.height}`,
      )
    const header = {
      height: String(at),
      time: timeOf(at),
      last_block_id: { hash: at === 1 ? '' : hex(this.#trueHash(at - 1)) },
    }
    return { signed_header: { header, commit: { block_id: { hash: hex(this.hash(at)) } } } }
  }

  hash(at: number): Uint8Array {
    return this.lies.has(at) ? hashOf(at, 'lie ') : this.#trueHash(at)
  }

  #trueHash(at: number): Uint8Array {
    return hashOf(at, at >= this.forkedFrom ? 'fork ' : '')
  }

  #status() {
    return {
      node_info: { network: this.chainId, version: '0.38.22' },
      sync_info: {
        latest_block_hash: hex(
          this.slips.has(this.height) ? hashOf(this.height, 'slip ') : this.hash(this.height),
        ),
        latest_block_height: String(this.height),
        latest_block_time: timeOf(this.height),
        earliest_block_height: '1',
        catching_up: this.catchingUp,
      },
    }
  }
}
