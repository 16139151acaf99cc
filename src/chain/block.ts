/**
 * A block as we need it, read from a node's `commit` or `block`.
 *
 * A block's hash is `block_id.hash` of exactly that height (it seeds sessions, proof draws and proof
 * paths). Its header names the block before it, so that a chain of headers can be followed.
 * Source: cometbft rpc/core/blocks.go. Tested by test/chain/blocks.ts.
 */
import { type Height, height, type Ms } from '../base/units.ts'
import { Json } from './json.ts'

export interface Block {
  readonly height: Height
  /** 32 bytes: the header's hash. */
  readonly hash: Uint8Array
  /** Block time, unix milliseconds. */
  readonly time: Ms
}

export interface LinkedBlock extends Block {
  /** The hash of the block before; empty for the first of a chain. */
  readonly parent: Uint8Array
}

/** The answer of `commit` or `block`. @throws ChainError RESPONSE, also for another height's block */
export function readBlock(method: 'commit' | 'block', result: unknown, at: Height): LinkedBlock {
  const answer = new Json(result, 'result')
  const part = answer.get(method === 'commit' ? 'signed_header' : 'block')
  const blockId = (method === 'commit' ? part.get('commit') : answer).get('block_id')
  const header = part.get('header')
  const theirs = header.get('height')
  if (theirs.height() !== at) throw theirs.wrong(String(at))
  const last = header.get('last_block_id').get('hash')
  return {
    height: height(at),
    hash: blockId.get('hash').hash(),
    time: header.get('time').time(),
    parent: last.value === '' ? new Uint8Array(0) : last.hash(),
  }
}
