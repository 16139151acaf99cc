import t from 'tap'
import { hex } from '../../src/base/bytes.ts'
import { Archive } from '../../src/devnet/archive.ts'
import { Simchain } from '../support/simchain.ts'

t.test('blocks, transactions and states are kept for so many heights', async (t) => {
  const chain = new Simchain({}, { keep: 50 })
  const { devnet } = chain
  const sent = await chain.run(chain.owner, [chain.send(chain.owner, chain.stranger, 7n)])
  t.equal(sent.height, 2)
  t.equal(devnet.find(sent.hash)?.block.height, 2)
  const early = hex(devnet.block(2)?.hash ?? new Uint8Array(0))
  t.equal(devnet.lowest, 1)

  await chain.mineTo(51)
  t.equal(devnet.lowest, 2)
  t.equal(devnet.block(1), undefined)
  t.equal(hex(devnet.block(2)?.hash ?? new Uint8Array(0)), early)
  t.equal(devnet.find(sent.hash)?.index, 0)
  t.equal(devnet.contextAt(devnet.lowest).state.balances.get(chain.stranger.address), 7n)

  await devnet.mine()
  t.equal(devnet.block(2), undefined)
  t.equal(devnet.find(sent.hash), undefined)

  await chain.mineTo(160)
  t.equal(devnet.lowest, 111)
  const { state } = devnet.contextAt(devnet.lowest)
  t.equal(state.balances.get(chain.stranger.address), 7n, 'what did not change is still there')
  t.equal(hex(state.blockHashes.get('5') ?? new Uint8Array(0)).length, 64)
})

t.test('a state is read at its height, and trying things on it changes nothing', async (t) => {
  const archive = new Archive(10)
  const first = archive.stateAt(0)
  first.balances.set('a', 1n)
  t.equal(archive.commit(first, 1), 1, 'one value was written')
  const second = archive.stateAt(1)
  second.balances.set('a', 2n)
  t.equal(archive.stateAt(1).balances.get('a'), 1n)
  archive.commit(second, 2)
  t.equal(archive.stateAt(1).balances.get('a'), 1n)
  t.equal(archive.stateAt(2).balances.get('a'), 2n)
})
