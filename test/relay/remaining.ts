import t from 'tap'
import { type Ms, ms } from '../../src/base/units.ts'
import { Remaining } from '../../src/relay/remaining.ts'
import { ManualClock } from '../support/clock.ts'
import { sharedParams } from '../support/params.ts'
import { turn } from '../support/relay-bench.ts'
import { FakeChain } from '../support/relay-chain.ts'
import { keys } from '../support/relay-gateway.ts'

const BLOCK = 30_000
const never = new AbortController().signal

/** Sessions of ten blocks, 11 to 20 and so on; claims open two blocks after the end. */
function setUp(blockTime = BLOCK) {
  const clock = new ManualClock()
  const chain = new FakeChain(undefined)
  const start = clock.now()
  // A header's time is that of the block before.
  chain.timeOf = (at) => ms(start + (at - 101) * blockTime)
  const application = chain.stake(keys.app.publicKey)
  const remaining = new Remaining({ clock, blocks: chain, chain })
  const header = (at: number) => chain.header(application, at)
  const left = (at: number): Promise<Ms | undefined> => remaining.of(header(at), never)
  /** The block comes at its time. */
  const reach = async (at: number) => {
    await clock.advance(Math.max(0, start + (at - 100) * blockTime - clock.now()))
    chain.reach(at)
  }
  return { clock, chain, reach, left, remaining, header }
}

t.test('nothing is told before a second block is known, nor of a chain in a hurry', async (t) => {
  const { chain, reach, left } = setUp()
  t.equal(await left(101), undefined, 'no head')
  await reach(100)
  t.equal(await left(100), undefined, 'one head')
  await turn()
  t.equal(await left(100), 2 * BLOCK, 'one of the past was asked for meanwhile')
  t.equal(chain.asked.filter((line) => line.startsWith('sharedParams')).length, 1)
  const hurried = setUp(4_999)
  await hurried.reach(100)
  await hurried.left(100)
  await turn()
  t.equal(await hurried.left(100), undefined)
})

t.test('blocks that are left are counted to where the claim opens', async (t) => {
  const { clock, reach, left } = setUp()
  await reach(111)
  await left(111)
  await turn()
  // 111 to 120; the claim opens with 122.
  t.equal(await left(111), 11 * BLOCK)
  await clock.advance(10_000)
  t.equal(await left(111), 11 * BLOCK - 10_000, 'a block that was seen grows old')
  await clock.advance(60_000)
  t.equal(await left(111), 10.5 * BLOCK, 'but by no more than half')
  await reach(120)
  t.equal(await left(111), 2 * BLOCK)
  await reach(121)
  t.equal(await left(111), BLOCK, 'in grace')
  t.equal(await left(121), 11 * BLOCK, 'the next session')
  await reach(122)
  t.equal(await left(111), 0)
  await reach(125)
  t.equal(await left(111), 0)
})

t.test('a head that nobody looked at has its age from its header', async (t) => {
  const { clock, reach, left } = setUp()
  await reach(111)
  await left(111)
  await turn()
  await reach(115)
  await clock.advance(12_000)
  t.equal(await left(111), 7 * BLOCK - 12_000)
})

t.test('the time of a block is that of the last ones seen', async (t) => {
  const { chain, reach, left, clock } = setUp()
  await reach(100)
  await left(100)
  await turn()
  const [slow, from] = [2 * BLOCK, chain.timeOf(100)]
  chain.timeOf = (at) => ms(from + (at - 100) * slow)
  for (let at = 101; at <= 119; at++) {
    await clock.advance(slow)
    chain.reach(at)
    await left(at)
  }
  // Twenty heads are known: the block of 30 s before them is not.
  chain.reach(120)
  t.equal(await left(120), 2 * slow)
})

t.test('a chain that falls silent bounds nothing; who leaves is told so', async (t) => {
  const { chain, reach, left, remaining, header } = setUp()
  await reach(111)
  await left(111)
  await turn()
  chain.fall(true)
  t.equal(await left(111), undefined)
  chain.fall(false)
  const gone = AbortSignal.abort(new RangeError('gone'))
  chain.silence = { error: new RangeError('gone') }
  await t.rejects(remaining.of(header(111), gone), new RangeError('gone'))
})

t.test('windows follow the parameters of the end, or of now while it is ahead', async (t) => {
  const { chain, reach, left } = setUp()
  chain.params = sharedParams({ claimWindowOpenOffsetBlocks: 3n })
  await reach(119)
  await left(119)
  await turn()
  t.equal(await left(119), 5 * BLOCK)
  await reach(122)
  chain.asked.length = 0
  t.equal(await left(119), 2 * BLOCK)
  t.strictSame(chain.asked, ['sharedParams 120'])
})
