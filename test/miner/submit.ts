import t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { ChainError } from '../../src/chain/errors.ts'
import { simulationError } from '../../src/chain/simulation.ts'
import type { Item } from '../../src/miner/batch.ts'
import { item, Node, options, sentOf, signal, signer, silent } from '../support/miner-node.ts'

t.test('the bytes are written down before they are sent', async (t) => {
  const node = new Node()
  const [a, b] = [item('a'), item('b')]
  await node.submit().sendAll(signer, [a, b], options(), signal)
  t.strictSame(node.steps, ['put claiming,claiming', 'send'])
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

t.test('without a word which message is bad the batch is halved', async (t) => {
  const node = new Node()
  const items = ['a', 'bad', 'c'].map(item)
  node.prepare = (names) => {
    if (names.includes('bad')) throw simulationError('out of everything', undefined)
  }
  await node.submit().sendAll(signer, items, options(), signal)
  t.strictSame(
    node.prepared.map(({ names }) => names.join()),
    ['a,bad,c', 'a,bad', 'a', 'bad', 'c'],
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
  t.strictSame(node.steps, ['put sealed,sealed'], 'the reason is kept')
  t.match(node.of(items[0] ?? item('')), { reason: 'RPC_UNREACHABLE: silent' })
  const again = [...node.records.values()].map((session) => ({ ...item('a'), session }))
  await t.rejects(submit.sendAll(signer, again, options(), signal))
  t.equal(node.steps.length, 1, 'once')
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
  t.strictSame(node.steps, [], 'all or none, and nothing is sent')
})

t.test('one bad message among forty costs the others nothing', async (t) => {
  const node = new Node()
  const items = Array.from({ length: 40 }, (_, n) => item(n === 23 ? 'bad' : `${n}`))
  node.prepare = (names) => {
    const at = names.indexOf('bad')
    if (at >= 0)
      throw simulationError(`failed to execute message; message index: ${at}: mismatch`, undefined)
  }
  await node.submit().sendAll(signer, items, options(), signal)
  t.equal(node.prepared.length, 2)
  t.equal(node.prepared.at(-1)?.names.length, 39)
  t.equal(items.filter((each) => node.of(each)?.state.at === 'claiming').length, 39)
})

t.test('money that does not reach for all messages reaches for the first', async (t) => {
  const node = new Node()
  const items = Array.from({ length: 40 }, (_, n) => item(`${n}`))
  node.prepare = (names) => {
    if (names.length > 3)
      throw simulationError(
        'failed to execute message; message index: 3: spendable balance 5upokt: insufficient funds',
        undefined,
      )
  }
  await node.submit().sendAll(signer, items, options(), signal)
  t.equal(node.prepared.length, 2, 'without a simulation for each that is too dear')
  t.strictSame(node.prepared.at(-1)?.names, ['0', '1', '2'])
  t.match(node.of(items[39] ?? item('')), { state: { at: 'sealed' }, reason: /insufficient/ })
})

t.test('what concerns the whole transaction is not tried with fewer messages', async (t) => {
  for (const code of ['ACCOUNT_MISSING', 'TX_TOO_LATE', 'CHAIN_ID'] as const) {
    const node = new Node()
    node.prepare = () => {
      throw new ChainError(code, 'no')
    }
    const items = ['a', 'b', 'c'].map(item)
    await node.submit().sendAll(signer, items, options(), signal)
    t.equal(node.prepared.length, 1, code)
    t.match(node.of(items[2] ?? item('')), { reason: `${code}: no` }, code)
  }
})

t.test('a transaction that is too large for the node goes in halves', async (t) => {
  const node = new Node()
  const items = ['a', 'b', 'c', 'd', 'e'].map(item)
  node.answer = () => {
    if ((node.prepared.at(-1)?.names.length ?? 0) <= 2) return { kind: 'accepted' }
    const log = 'Tx too large. Max size is 100, but got 300'
    return { kind: 'rejected', code: -32603, codespace: 'rpc', log, retryable: false }
  }
  await node.submit().sendAll(signer, items, options(), signal)
  t.strictSame(
    node.prepared.map(({ names }) => names.join('')),
    ['abcde', 'abc', 'ab', 'c', 'de'],
  )
  t.strictSame(
    items.map((each) => sentOf(node.of(each)).state.tx.txHash),
    ['TX3', 'TX3', 'TX4', 'TX5', 'TX5'],
  )
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
