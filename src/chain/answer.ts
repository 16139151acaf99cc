/**
 * What a node says to a transaction, read once: taken, known, refused, executed.
 *
 * A full mempool, a too large transaction and bytes seen before are JSON-RPC errors and no CheckTx
 * codes; what they mean is in the text. Source: cometbft mempool/errors.go, rpc/core/{mempool,tx}.go;
 * cosmos-sdk types/errors/errors.go. Tested by test/chain/broadcast.ts.
 */
import type { Height } from '../base/units.ts'
import { ChainError } from './errors.ts'
import type { Json } from './json.ts'

/** A node's answer to a transaction. Not one of them says that a block will hold it. */
export type SendResult =
  | { readonly kind: 'accepted' }
  /** The node has seen these bytes, or their timeout of this sender: pending or included, who knows. */
  | { readonly kind: 'in-mempool' }
  | {
      readonly kind: 'rejected'
      /** CheckTx code, or the JSON-RPC code with codespace `rpc`. */
      readonly code: number
      readonly codespace: string
      readonly log: string
      /** True when the same bytes may be taken later. */
      readonly retryable: boolean
    }

/** How execution ended. */
export interface TxResult {
  readonly height: Height
  /** 0 is success; a claim's or proof's failure is 1 of codespace `undefined`. */
  readonly code: number
  readonly codespace: string
  readonly log: string
  readonly gasUsed: bigint
}

const NONCE_USED = /failed to add unordered nonce: sender \S+ has already used timeout/
const SDK = { IN_MEMPOOL: 19, MEMPOOL_FULL: 20 } as const

export function readCheck(result: Json): SendResult {
  const code = result.get('code').integer()
  if (code === 0) return { kind: 'accepted' }
  const codespace = result.get('codespace').text()
  const log = result.get('log').text()
  const known = codespace === 'sdk' && (code === SDK.IN_MEMPOOL || NONCE_USED.test(log))
  if (known) return { kind: 'in-mempool' }
  const retryable = codespace === 'sdk' && code === SDK.MEMPOOL_FULL
  return { kind: 'rejected', code, codespace, log, retryable }
}

/** What the mempool refuses before CheckTx comes as an error object. */
export function readRefusal(error: unknown): SendResult {
  if (!(error instanceof ChainError) || error.code !== 'RPC_ERROR') throw error
  const { code, detail } = error.data
  if (code !== -32603 || typeof detail !== 'string') throw error
  if (detail.includes('tx already exists in cache')) return { kind: 'in-mempool' }
  const retryable = !/too large/i.test(detail)
  return { kind: 'rejected', code, codespace: 'rpc', log: detail, retryable }
}

export function rank(result: SendResult): number {
  if (result.kind === 'rejected') return result.retryable ? 1 : 0
  return result.kind === 'accepted' ? 3 : 2
}

export function readResult(result: Json): TxResult {
  const outcome = result.get('tx_result')
  return {
    height: result.get('height').height(),
    code: outcome.get('code').integer(),
    codespace: outcome.get('codespace').text(),
    log: outcome.get('log').text(),
    gasUsed: outcome.get('gas_used').big(),
  }
}

/** True where the node answers that no block it knows holds the transaction. */
export function isUnknownTx(error: unknown): boolean {
  if (!(error instanceof ChainError) || error.code !== 'RPC_ERROR') return false
  return /^tx \([0-9A-F]+\) not found/.test(String(error.data['detail']))
}
