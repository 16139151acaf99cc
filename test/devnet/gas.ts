import t from 'tap'
import { anteGas, GasMeter } from '../../src/devnet/gas.ts'
import { Simchain } from '../support/simchain.ts'

t.test('a meter counts until its limit', async (t) => {
  const meter = new GasMeter(100n)
  meter.use(60n, 'one')
  meter.use(40n, 'two')
  t.equal(meter.used, 100n)
  t.throws(() => meter.use(1n, 'WriteFlat'), {
    codespace: 'sdk',
    number: 11,
    message: 'out of gas in location: WriteFlat; gasWanted: 100, gasUsed: 101: out of gas',
  })
  const endless = new GasMeter(undefined)
  endless.use(10n ** 12n, 'all')
  t.equal(endless.used, 10n ** 12n)
})

t.test('what makes the same transaction dearer', async (t) => {
  const plain = { bytes: 500, isOrdered: false, hasFee: true, storesKey: false }
  const least = anteGas(plain)
  t.ok(anteGas({ ...plain, bytes: 501 }) > least)
  t.ok(anteGas({ ...plain, isOrdered: true }) > least)
  t.ok(anteGas({ ...plain, storesKey: true }) > least)
  t.ok(anteGas({ ...plain, hasFee: false }) < least)
})

t.test(
  'claims cost near what they were seen to cost, each one more as much as the last',
  async (t) => {
    const chain = new Simchain()
    await chain.mineTo(5)
    const header = chain.header()
    const relays = chain.relays(header, 1)
    await chain.mineTo(10)
    const claim = await chain.claim(header, relays)
    const used = (messages: (typeof claim)[], options = {}) =>
      Number(chain.devnet.simulate(chain.tx(chain.operator, messages, options)).gasUsed)
    const [one, two, three] = [used([claim]), used([claim, claim]), used([claim, claim, claim])]
    t.ok(one > 70_000 && one < 110_000, `${one}`)
    t.ok(Math.abs(three - two - (two - one)) < 100, 'linear in the messages')
    t.ok(used([claim], { ordered: true }) > one + 5_000, 'an ordered one is dearer')
    t.ok(used([claim], { fee: 'none' }) < one - 10_000, 'without a fee it looks cheaper than it is')
  },
)

t.test('a transaction that runs out of gas pays its fee and does nothing', async (t) => {
  const chain = new Simchain()
  const { owner, stranger } = chain
  const before = chain.devnet.contextAt(chain.height).state.balances.get(owner.address) ?? 0n
  const result = await chain.run(owner, [chain.send(owner, stranger, 5n)], { gas: 45_000n })
  t.match(result, { code: 11, codespace: 'sdk', gasWanted: 45_000n })
  t.match(result.log, /^out of gas in location: .*; gasWanted: 45000, gasUsed: \d+: out of gas$/)
  const { state } = chain.devnet.contextAt(chain.height)
  t.equal(state.balances.get(stranger.address), undefined)
  t.equal(state.balances.get(owner.address), before - 1n)
})
