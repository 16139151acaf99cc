import t from 'tap'
import { MEMPOOL_DEFAULTS, Mempool } from '../../src/devnet/mempool.ts'
import { readTransaction } from '../../src/devnet/tx.ts'
import { Simchain } from '../support/simchain.ts'
import { json } from '../support/vectors.ts'

interface Recording {
  readonly name: string
  readonly response: { readonly error?: { readonly data: string } }
}

const recorded = (name: string) =>
  json<Recording[]>('chain/broadcast.json').find((row) => row.name === name)?.response.error?.data

const chain = new Simchain()
const some = (amount: bigint) =>
  readTransaction(chain.tx(chain.owner, [chain.send(chain.owner, chain.rival, amount)]))

t.test('what is known is refused, whether it waits or was taken', async (t) => {
  const mempool = new Mempool()
  const tx = some(1n)
  const expected = { code: 'REFUSED', message: recorded('same_bytes_while_pending') }
  t.equal(expected.message, 'tx already exists in cache')
  mempool.receive(tx.hash, tx.bytes.length)
  mempool.add(tx)
  t.throws(() => mempool.receive(tx.hash, tx.bytes.length), expected)
  mempool.taken(tx.hash)
  t.same(mempool.waiting, [])
  t.throws(() => mempool.receive(tx.hash, tx.bytes.length), expected)
  mempool.forget(tx.hash)
  mempool.receive(tx.hash, tx.bytes.length)
})

t.test('a full one says how full, before it looks at anything else', async (t) => {
  const mempool = new Mempool({ ...MEMPOOL_DEFAULTS, transactionsMax: 1 })
  const message = recorded('mempool_full') ?? ''
  const [, length] = /total txs bytes (\d+)/.exec(message) ?? []
  const waiting = { ...some(1n), bytes: new Uint8Array(Number(length)) }
  mempool.receive(waiting.hash, waiting.bytes.length)
  mempool.add(waiting)
  t.equal(mempool.bytes, Number(length))
  t.throws(() => mempool.receive(waiting.hash, waiting.bytes.length), { message })
})

t.test('a transaction that is too long is not even remembered', async (t) => {
  const mempool = new Mempool()
  const message = recorded('tx_too_large') ?? ''
  const tx = some(1n)
  const [, length] = /but got (\d+)/.exec(message) ?? []
  t.throws(() => mempool.receive(tx.hash, Number(length)), { message })
  t.throws(() => mempool.receive(tx.hash, 1_048_577), { code: 'REFUSED' })
  mempool.receive(tx.hash, 1_048_576)
})

t.test('the memory has a limit', async (t) => {
  const mempool = new Mempool({ ...MEMPOOL_DEFAULTS, cacheMax: 2 })
  for (const hash of ['a', 'b', 'c']) mempool.receive(hash, 1)
  mempool.receive('a', 1)
  t.throws(() => mempool.receive('c', 1), { code: 'REFUSED' })
})

t.test('a chain takes what waits in order, and forgets what fails', async (t) => {
  const { devnet, owner, rival } = chain
  const good = chain.tx(owner, [chain.send(owner, rival, 1n)])
  const poor = chain.tx(owner, [chain.send(owner, rival, 10n ** 15n)])
  const last = chain.tx(rival, [chain.send(rival, owner, 1n)])
  for (const bytes of [good, poor, last]) t.equal(devnet.broadcast(bytes).code, 0)
  t.equal(devnet.mempool.waiting.length, 3)
  const block = await devnet.mine()
  t.same(
    block.results.map(({ code }) => code),
    [0, 5, 0],
  )
  t.same(devnet.mempool.waiting, [])
  t.throws(() => devnet.broadcast(good), { message: 'tx already exists in cache' })
  t.match(devnet.broadcast(poor), { code: 18 }, 'known no more, but its nonce is used')
})
