/** What the sender of a transaction is told when it cannot be, or was not, carried out. */
import type { Height } from '../base/units.ts'
import type { TxResult } from './answer.ts'
import { ChainError } from './errors.ts'
import { plainText } from './simulation.ts'

export function accountMissing(address: string): ChainError {
  const text = `${address} has no account on the chain: it never received anything`
  return new ChainError('ACCOUNT_MISSING', text, { data: { address } })
}

export function tooLate(timeoutHeight: Height, latest: Height): ChainError {
  const text = `the last block that could hold it is ${timeoutHeight}, the chain is at ${latest}`
  return new ChainError('TX_TOO_LATE', text, { data: { timeoutHeight, height: latest } })
}

export function failed(hash: string, { height, code, codespace, log }: TxResult): ChainError {
  const data = { txHash: hash, height, code, codespace, log }
  return new ChainError('TX_FAILED', plainText(log), { data })
}
