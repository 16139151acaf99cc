import t, { type Test } from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { height, ms } from '../../src/base/units.ts'
import type { Block } from '../../src/chain/blocks.ts'
import type { SendResult } from '../../src/chain/broadcast.ts'
import { ChainError } from '../../src/chain/errors.ts'
import { simulationError } from '../../src/chain/simulation.ts'
import type { Signer } from '../../src/keys/keyring.ts'
import { batches, gasFor, type Item } from '../../src/miner/batch.ts'
import { progress, Submit, type TxDeps } from '../../src/miner/submit.ts'
import type { SessionRecord, SessionState, Submission } from '../../src/store/sessions.ts'
import { recordingLog } from '../support/miner-world.ts'
import { OPERATOR, root, session, submission } from '../support/sessions.ts'

const R = root(5000n, 5n)
const { signal } = new AbortController()
const signer: Signer = {
  address: OPERATOR,
  publicKey: new Uint8Array(33),
  sign: () => new Uint8Array(64),
}
const block = (at: number, time = 1_000_000): Block => ({
  height: height(at),
  hash: new Uint8Array(32),
  time: ms(time),
})
const rejected = (code: number, retryable = false): SendResult => {
  return { kind: 'rejected', code, codespace: 'sdk', log: '', retryable }
}
const silent = () => new ChainError('RPC_UNREACHABLE', 'silent', { retryable: true })

/** A node that answers as a test says, and the records that were written, in order. */
class Node {
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
        put: async (record) => {
          this.put(record)
          this.steps.push(`put ${record.state.at}`)
          this.records.set(record.key.sessionId, record)
        },
      },
      log: this.log.log,
    })
  }

  of(item: Item): SessionRecord | undefined {
    return this.records.get(item.session.key.sessionId)
  }
}

function item(name: string): Item {
  const record = session({ at: 'sealed', root: R }, { name })
  return { session: record, message: { typeUrl: '/m', value: utf8(name) } }
}

const options = (over: { attempt?: number; at?: number } = {}) => ({
  block: block(over.at ?? 12),
  timeoutHeight: height(16),
  attempt: over.attempt ?? 1,
  next: (tx: Submission): SessionState => ({ at: 'claiming', root: R, tx }),
})

function claiming(tx: Partial<Submission> = {}) {
  const state = { at: 'claiming' as const, root: R, tx: submission(tx) }
  return { ...session(state), state }
}

/** The record with a transaction in it. */
function sentOf(record: SessionRecord | undefined) {
  if (record?.state.at !== 'claiming') throw new TypeError('not sent')
  return { ...record, state: record.state }
}

t.test('a transaction that is not seen is waited for, sent again, renewed', async (t) => {
  const tx = submission({ sentAt: height(12), timeoutHeight: height(30), timeoutAt: ms(1_000) })
  const at = (now: number, over: Partial<Submission> = {}, time = 500) =>
    progress({ ...tx, ...over }, { height: height(now), time: ms(time) })
  t.equal(at(12), 'wait')
  t.equal(at(13), 'wait')
  t.equal(at(14), 'resend')
  t.equal(at(14, { resent: 1 }), 'wait', 'once is enough')
  t.equal(at(15), 'resend', 'later too, if it was not')
  t.equal(at(16), 'renew')
  t.equal(at(13, {}, 1_001), 'renew', 'no block takes it after its time')
  t.equal(at(13, {}, 1_000), 'wait')
  t.equal(at(14, { timeoutHeight: height(14) }), 'renew', 'nor above its height')
  t.equal(at(13, { timeoutHeight: height(14) }), 'resend', 'the last block that can still help')
  t.equal(at(12, { timeoutHeight: height(13) }), 'wait', 'it was only just sent')
  t.equal(at(10), 'wait', 'sent by a node that is ahead')
})

t.test('the bytes are written down before they are sent', async (t) => {
  const node = new Node()
  const [a, b] = [item('a'), item('b')]
  await node.submit().sendAll(signer, [a, b], options(), signal)
  t.strictSame(node.steps, ['put claiming', 'put claiming', 'send'])
  t.strictSame(node.prepared[0]?.names, ['a', 'b'], 'in one transaction')
  t.match(node.of(a)?.state, { at: 'claiming', tx: { txHash: 'TX1', attempt: 1, resent: 0 } })
  t.strictSame(node.of(a)?.state, node.of(b)?.state)
  t.equal(node.of(a)?.since, 12)
})

t.test('a transaction counts from the later of our height and the node’s', async (t) => {
  for (const [nodeHeight, sentAt] of [
    [11, 12],
    [12, 12],
    [14, 14],
  ] as const) {
    const node = new Node()
    node.nodeHeight = nodeHeight
    const a = item('a')
    await node.submit().sendAll(signer, [a], options(), signal)
    t.match(node.of(a)?.state, { tx: { sentAt } }, `the node at ${nodeHeight}`)
  }
})

t.test('the message that the chain complains of is left out', async (t) => {
  const node = new Node()
  const items = ['a', 'b', 'bad', 'c'].map(item)
  node.prepare = (names) => {
    const at = names.indexOf('bad')
    if (at >= 0)
      throw simulationError(`failed to execute message; message index: ${at}: mismatch`, undefined)
  }
  await node.submit().sendAll(signer, items, options(), signal)
  t.strictSame(node.prepared.at(-1)?.names, ['a', 'b', 'c'], 'the others go together')
  t.strictSame(
    items.map((each) => node.of(each)?.state.at),
    ['claiming', 'claiming', 'sealed', 'claiming'],
  )
  t.match(node.of(items[2] ?? item('')), { reason: /^SIMULATION: mismatch/ })
})

t.test('without a word which message is bad they go one by one', async (t) => {
  const node = new Node()
  const items = ['a', 'bad', 'c'].map(item)
  node.prepare = (names) => {
    if (names.includes('bad')) throw simulationError('out of everything', undefined)
  }
  await node.submit().sendAll(signer, items, options(), signal)
  t.strictSame(
    node.prepared.map(({ names }) => names.join()),
    ['a,bad,c', 'a', 'bad', 'c'],
  )
  t.equal(node.steps.filter((step) => step === 'send').length, 2)
})

t.test('when nothing could be sent for now, the caller hears of it', async (t) => {
  const node = new Node()
  node.prepare = () => {
    throw silent()
  }
  const items = [item('a'), item('b')]
  const submit = node.submit()
  await t.rejects(submit.sendAll(signer, items, options(), signal), { code: 'RPC_UNREACHABLE' })
  t.equal(node.prepared.length, 1, 'and it is not tried message by message')
  t.strictSame(node.steps, ['put sealed', 'put sealed'], 'the reason is kept')
  t.match(node.of(items[0] ?? item('')), { reason: 'RPC_UNREACHABLE: silent' })
  const again = [...node.records.values()].map((session) => ({ ...item('a'), session }))
  await t.rejects(submit.sendAll(signer, again, options(), signal))
  t.equal(node.steps.length, 2, 'once')
})

t.test('a batch that fails does not hold up the next', async (t) => {
  const node = new Node()
  const big = (name: string): Item => ({
    ...item(name),
    message: { typeUrl: '/m', value: utf8(name.padEnd(500_000)) },
  })
  const items = [big('a'), big('b')]
  node.prepare = ([name]) => {
    if (name?.startsWith('a')) throw silent()
  }
  await t.rejects(node.submit().sendAll(signer, items, options(), signal))
  t.match(node.of(items[1] ?? item(''))?.state, { at: 'claiming' })
})

t.test('without the key nothing is sent, and it is said each time', async (t) => {
  const node = new Node()
  const a = item('a')
  const submit = node.submit()
  for (const _ of [1, 2]) await submit.sendAll(undefined, [a], options(), signal)
  t.match(node.of(a), { state: { at: 'sealed' }, reason: /^KEY_MISSING/ })
  t.strictSame(node.prepared, [])
  t.strictSame(
    node.log.lines.map(({ level }) => level),
    ['error', 'error'],
  )
})

t.test('what a node refuses for good is renewed at the next look', async (t) => {
  for (const code of [11, 13, 18, 30, 42]) {
    const node = new Node()
    node.answer = () => rejected(code)
    const a = item('a')
    const submit = node.submit()
    await submit.sendAll(signer, [a], options(), signal)
    const sent = sentOf(node.of(a))
    t.equal(await submit.follow(sent, block(12), signal), true, `code ${code}`)
    t.equal(node.steps.includes('resend'), false, `code ${code}: the same bytes would not help`)
  }
})

t.test('what may not have reached a node is sent again at the next block', async (t) => {
  const answers: Record<string, () => SendResult> = {
    'a full mempool': () => rejected(20, true),
    'no answer': () => {
      throw silent()
    },
  }
  for (const [name, answer] of Object.entries(answers)) {
    const node = new Node()
    node.answer = answer
    const a = item('a')
    const submit = node.submit()
    await submit.sendAll(signer, [a], options(), signal)
    const sent = sentOf(node.of(a))
    node.answer = () => ({ kind: 'in-mempool' })
    t.equal(await submit.follow(sent, block(13), signal), false, name)
    t.equal(node.steps.at(-1), 'resend', name)
    t.equal(await submit.follow(sent, block(13), signal), false, name)
    t.equal(node.steps.filter((step) => step === 'resend').length, 1, `${name}: once it is known`)
  }
})

t.test('what a node has is left alone for two blocks', async (t) => {
  const node = new Node()
  const a = item('a')
  const submit = node.submit()
  await submit.sendAll(signer, [a], options(), signal)
  const sent = sentOf(node.of(a))
  node.steps.length = 0
  await submit.follow(sent, block(13), signal)
  t.strictSame(node.steps, [])
  await submit.follow(
    { ...sent, state: { ...sent.state, tx: { ...sent.state.tx, timeoutHeight: height(30) } } },
    block(14),
    signal,
  )
  t.strictSame(node.steps, ['resend', 'put claiming'])
  t.match(node.of(a)?.state, { tx: { resent: 1 } })
})

t.test('after a restart what was written down is sent at once, and does not count', async (t) => {
  const node = new Node()
  const sent = claiming({ sentAt: height(12), timeoutHeight: height(30) })
  t.equal(await node.submit().follow(sent, block(12), signal), false)
  t.strictSame(node.steps, ['resend'], 'nothing is written: it may still be lost later on')
})

t.test('a resend that every node refuses leads to a new transaction', async (t) => {
  const node = new Node()
  node.answer = () => rejected(42)
  const submit = node.submit()
  const sent = claiming({ timeoutHeight: height(30) })
  t.equal(await submit.follow(sent, block(12), signal), false)
  t.equal(await submit.follow(sentOf([...node.records.values()][0]), block(12), signal), true)
})

t.test('what a block took tells more than waiting does', async (t) => {
  const node = new Node()
  const submit = node.submit()
  const sent = claiming({ timeoutHeight: height(30) })
  node.result = async () => ({ height: height(12), code: 11, log: 'out of gas' })
  t.equal(await submit.follow(sent, block(13), signal), true, 'it failed: a new one')
  node.result = async () => ({ height: height(18), code: 0, log: '' })
  t.equal(await submit.follow(sent, block(17), signal), false, 'a node ahead of us has it')
  node.result = async () => ({ height: height(12), code: 0, log: '' })
  t.equal(await submit.follow(sent, block(17), signal), true, 'and yet its effect is gone')
  t.strictSame(node.steps, [])
})

t.test('a node that keeps no index of transactions does not stop the rest', async (t) => {
  const node = new Node()
  node.result = () =>
    Promise.reject(new ChainError('RPC_ERROR', 'transaction indexing is disabled'))
  t.equal(await node.submit().follow(claiming(), block(16), signal), true)
})

t.test('the fee of a new transaction grows, up to a limit', async (t) => {
  const factors = [1, 2, 3, 9, 10, 5_000].map(async (attempt) => {
    const node = new Node()
    await node.submit().sendAll(signer, [item('a')], options({ attempt }), signal)
    return node.prepared[0]?.feeFactor
  })
  t.strictSame(await Promise.all(factors), [1, 1.5, 2.25, 1.5 ** 8, 1.5 ** 8, 1.5 ** 8])
})

t.test('a disk that fails before the sending leaves nothing half forgotten', async (t) => {
  const node = new Node()
  const items = [item('a'), item('b')]
  node.put = ({ key }) => {
    if (key.sessionId === items[1]?.session.key.sessionId) throw new Error('disk full')
  }
  await t.rejects(node.submit().sendAll(signer, items, options(), signal), { message: 'disk full' })
  t.strictSame(node.steps, ['put claiming'], 'nothing is sent, nothing is taken back')
})

t.test('being stopped is not a refusal', async (t) => {
  const stopped = new AbortController()
  const node = new Node()
  node.prepare = () => {
    stopped.abort(new Error('stopped'))
    throw silent()
  }
  await t.rejects(node.submit().sendAll(signer, [item('a')], options(), stopped.signal), {
    message: 'stopped',
  })
  t.strictSame(node.steps, [])
})

t.test('transactions are as few as fit', async (t: Test) => {
  const of = (size: number, count: number) =>
    Array.from({ length: count }, (_, n) => ({
      ...item(`${n}`),
      message: { typeUrl: '/m', value: new Uint8Array(size) },
    }))
  const sizes = (items: Item[]) => batches(items).map((batch) => batch.length)
  t.strictSame(sizes([]), [])
  t.strictSame(sizes(of(10, 100)), [100])
  t.strictSame(sizes(of(10, 201)), [100, 100, 1], 'no more than a hundred messages')
  t.strictSame(sizes(of(450_000, 5)), [2, 2, 1], 'nor more bytes than a node takes')
  t.strictSame(sizes(of(2_000_000, 2)), [1, 1], 'what fits nowhere goes alone')
  const gas = of(3_000, 2)
  t.ok(gasFor(gas) > 600_000n, 'and gas for all of them')
  t.ok(gasFor(gas) > gasFor(gas.slice(1)))
})
