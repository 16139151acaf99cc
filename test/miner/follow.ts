import t from 'tap'
import { height, ms } from '../../src/base/units.ts'
import type { SendResult } from '../../src/chain/broadcast.ts'
import { ChainError } from '../../src/chain/errors.ts'
import { progress } from '../../src/miner/submit.ts'
import type { Submission } from '../../src/store/sessions.ts'
import {
  block,
  claiming,
  item,
  Node,
  options,
  rejected,
  renews,
  sentOf,
  signal,
  signer,
  silent,
} from '../support/miner-node.ts'
import { submission } from '../support/sessions.ts'

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

t.test('what a node refuses for good is renewed at the next look', async (t) => {
  for (const code of [11, 13, 18, 30, 42]) {
    const node = new Node()
    node.answer = () => rejected(code)
    const a = item('a')
    const submit = node.submit()
    await submit.sendAll(signer, [a], options(), signal)
    const sent = sentOf(node.of(a))
    t.equal(await renews(submit, sent, block(12)), true, `code ${code}`)
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
    t.equal(await renews(submit, sent, block(13)), false, name)
    t.equal(node.steps.at(-1), 'resend', name)
    t.equal(await renews(submit, sent, block(13)), false, name)
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
  await renews(submit, sent, block(13))
  t.strictSame(node.steps, [])
  await renews(
    submit,
    { ...sent, state: { ...sent.state, tx: { ...sent.state.tx, timeoutHeight: height(30) } } },
    block(14),
  )
  t.strictSame(node.steps, ['resend', 'put claiming'])
  t.match(node.of(a)?.state, { tx: { resent: 1 } })
})

t.test('after a restart what was written down is sent at once, and does not count', async (t) => {
  const node = new Node()
  const sent = claiming({ sentAt: height(12), timeoutHeight: height(30) })
  t.equal(await renews(node.submit(), sent, block(12)), false)
  t.strictSame(node.steps, ['resend'], 'nothing is written: it may still be lost later on')
})

t.test('a resend that every node refuses leads to a new transaction', async (t) => {
  const node = new Node()
  node.answer = () => rejected(42)
  const submit = node.submit()
  const sent = claiming({ timeoutHeight: height(30) })
  t.equal(await renews(submit, sent, block(12)), false)
  t.equal(await renews(submit, sentOf([...node.records.values()][0]), block(12)), true)
})

t.test('what a block took tells more than waiting does', async (t) => {
  const node = new Node()
  const submit = node.submit()
  const sent = claiming({ timeoutHeight: height(30) })
  node.result = async () => ({ height: height(12), code: 11, log: 'out of gas' })
  t.equal(await renews(submit, sent, block(13)), true, 'it failed: a new one')
  node.result = async () => ({ height: height(18), code: 0, log: '' })
  t.equal(await renews(submit, sent, block(17)), false, 'a node ahead of us has it')
  node.result = async () => ({ height: height(12), code: 0, log: '' })
  t.equal(await renews(submit, sent, block(17)), true, 'and yet its effect is gone')
  t.strictSame(node.steps, [])
})

t.test('a node that keeps no index of transactions does not stop the rest', async (t) => {
  const node = new Node()
  node.result = () =>
    Promise.reject(new ChainError('RPC_ERROR', 'transaction indexing is disabled'))
  t.equal(await renews(node.submit(), claiming(), block(16)), true)
})
