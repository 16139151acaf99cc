/** A node for `Submit` that answers as a test says, and the records that were written, in order. */
import { utf8 } from '../../src/base/bytes.ts'
import { height, ms } from '../../src/base/units.ts'
import type { Block } from '../../src/chain/blocks.ts'
import type { SendResult } from '../../src/chain/broadcast.ts'
import { ChainError } from '../../src/chain/errors.ts'
import type { Signer } from '../../src/keys/keyring.ts'
import type { Item } from '../../src/miner/batch.ts'
import type { SentSession } from '../../src/miner/split.ts'
import { Submit, type TxDeps } from '../../src/miner/submit.ts'
import type { SessionRecord, SessionState, Submission } from '../../src/store/sessions.ts'
import { recordingLog } from './miner-world.ts'
import { OPERATOR, root, session, submission } from './sessions.ts'

export const R = root(5000n, 5n)
export const signal: AbortSignal = new AbortController().signal
export const signer: Signer = {
  address: OPERATOR,
  publicKey: new Uint8Array(33),
  sign: () => new Uint8Array(64),
}
export const block = (at: number, time = 1_000_000): Block => ({
  height: height(at),
  hash: new Uint8Array(32),
  time: ms(time),
})
export const rejected = (code: number, retryable = false): SendResult => {
  return { kind: 'rejected', code, codespace: 'sdk', log: '', retryable }
}
export const silent = () => new ChainError('RPC_UNREACHABLE', 'silent', { retryable: true })

export class Node {
  readonly steps: string[] = []
  readonly records = new Map<string, SessionRecord>()
  readonly prepared: { names: string[]; feeFactor?: number; fallbackGas?: bigint }[] = []
  readonly log = recordingLog()
  prepare: (names: readonly string[]) => void = () => {}
  answer: (how: 'send' | 'resend') => SendResult = () => ({ kind: 'accepted' })
  result: TxDeps['broadcaster']['result'] = async () => undefined
  put: (record: SessionRecord) => void = () => {}
  nodeHeight = 12

  submit(): Submit {
    const give = (how: 'send' | 'resend') => async () => {
      this.steps.push(how)
      return this.answer(how)
    }
    return new Submit({
      broadcaster: {
        prepare: async (_, messages, { timeoutHeight, attempt = 1, feeFactor, fallbackGas }) => {
          const names = messages.map(({ value }) => new TextDecoder().decode(value))
          this.prepared.push({
            names,
            ...(feeFactor === undefined ? {} : { feeFactor }),
            ...(fallbackGas === undefined ? {} : { fallbackGas }),
          })
          this.prepare(names)
          const txHash = `TX${this.prepared.length}`
          const sentAt = height(this.nodeHeight)
          return submission({ txHash, sentAt, timeoutHeight, attempt })
        },
        send: give('send'),
        resend: give('resend'),
        result: (hash, signal) => this.result(hash, signal),
      },
      sessions: {
        putAll: async (records) => {
          for (const record of records) this.put(record)
          if (records.length > 0)
            this.steps.push(`put ${records.map(({ state }) => state.at).join()}`)
          for (const record of records) this.records.set(record.key.sessionId, record)
        },
      },
      log: this.log.log,
    })
  }

  of(item: Item): SessionRecord | undefined {
    return this.records.get(item.session.key.sessionId)
  }
}

export function item(name: string): Item {
  const record = session({ at: 'sealed', root: R }, { name })
  return { session: record, message: { typeUrl: '/m', value: utf8(name) } }
}

export const options = (over: { attempt?: number; at?: number } = {}) => ({
  block: block(over.at ?? 12),
  timeoutHeight: height(16),
  attempt: over.attempt ?? 1,
  next: (tx: Submission): SessionState => ({ at: 'claiming', root: R, tx }),
})

export function claiming(tx: Partial<Submission> = {}) {
  const state = { at: 'claiming' as const, root: R, tx: submission(tx) }
  return { ...session(state), state }
}

/** The record with a transaction in it. */
export function sentOf(record: SessionRecord | undefined) {
  if (record?.state.at !== 'claiming') throw new TypeError('not sent')
  return { ...record, state: record.state }
}

/** @returns whether a new transaction is due */
export async function renews(submit: Submit, sent: SentSession, at: Block): Promise<boolean> {
  return (await submit.follow([sent], at, signal)).length > 0
}
