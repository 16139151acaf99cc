/**
 * What a node says about itself. Source: cometbft rpc/core/status.go. Tested by test/chain/rpc.ts.
 */
import type { Height, Ms } from '../base/units.ts'
import { Json } from './json.ts'

export interface NodeStatus {
  readonly chainId: string
  /** The latest block the node has. Its state may still be one block behind. */
  readonly height: Height
  readonly hash: Uint8Array
  /** The latest block's time, unix milliseconds. */
  readonly time: Ms
  /** True while the node replays old blocks: nothing it says is about now. */
  readonly catchingUp: boolean
  /** The oldest block the node still has. */
  readonly earliest: Height
  /** CometBFT's release, for people. */
  readonly version: string
}

/** @throws ChainError RESPONSE */
export function readStatus(result: unknown): NodeStatus {
  const status = new Json(result, 'result')
  const node = status.get('node_info')
  const sync = status.get('sync_info')
  return {
    chainId: node.get('network').text(),
    height: sync.get('latest_block_height').height(),
    hash: sync.get('latest_block_hash').hash(),
    time: sync.get('latest_block_time').time(),
    catchingUp: sync.get('catching_up').boolean(),
    earliest: sync.get('earliest_block_height').height(),
    version: node.get('version').text(),
  }
}
