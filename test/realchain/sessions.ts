/**
 * The main job on a real chain, end to end and by the command line: staked, asked, claimed, proven by
 * threshold and by lottery, paid, the stake changed and given back. Without a `pocketd` it is skipped.
 */
import t, { type Test } from 'tap'
import { attribute } from '../support/chain-events.ts'
import { RICH } from '../support/localnet-genesis.ts'
import { type RealStage, realChain, reward, sessionEnd, worth } from '../support/real-stage.ts'
import { RealSupplier } from '../support/real-supplier.ts'

const stage = await realChain(t, { threshold: Number(worth(20)), probability: 1 })
if (stage !== undefined) await life(t, stage)

async function life(t: Test, { chain, events }: RealStage): Promise<void> {
  const { address: partner } = chain.account('partner')
  const first = await RealSupplier.open(t, chain, { number: 1, application: 'app1' })
  const second = await RealSupplier.open(t, chain, {
    number: 2,
    application: 'app2',
    stake: {
      revShare: [
        { address: chain.account('owner2').address, percent: 67 },
        { address: partner, percent: 33 },
      ],
    },
  })
  const both = [first, second]
  const of = ({ operator }: RealSupplier) => ({ supplier_operator_address: operator.address })

  await t.test('staked by the command line, in the next session', async (t) => {
    const active = await Promise.all(both.map((supplier) => supplier.stake()))
    t.strictSame(active, [11, 11])
    await Promise.all(both.map((supplier) => supplier.start()))
    await chain.waitFor(11)
    t.equal((await events.named('SupplierStaked')).length, 2)
  })

  await t.test(
    '200 relays in three sessions, to both, signed by gateway and application',
    async (t) => {
      // Well inside each: how many are in which session decides about threshold and lottery.
      for (const from of [11, 21, 31]) {
        await chain.waitFor(from)
        await Promise.all([first.serve(6, 2), second.serve(62)])
      }
      const served = (supplier: RealSupplier) => [...supplier.answered]
      t.strictSame(served(first), [
        [20, 6],
        [30, 6],
        [40, 6],
      ])
      t.strictSame(served(second), [
        [20, 62],
        [30, 62],
        [40, 62],
      ])
    },
  )

  await t.test('each session is claimed, proven and settled as it was served', async (t) => {
    for (const supplier of both) {
      const settled = await events.until(3, 'ClaimSettled', of(supplier), 55)
      const sessions = settled.map((event) => [
        Number(attribute(event, 'session_end_block_height')),
        Number(attribute(event, 'num_relays')),
        attribute(event, 'settled_upokt'),
        attribute(event, 'claim_proof_status_int'),
        attribute(event, 'proof_requirement_int'),
        event.height,
      ])
      const drawn = supplier === first ? '1' : '2'
      t.strictSame(
        sessions,
        [...supplier.answered].map(([end, relays]) => [
          ...[end, relays, `${worth(relays)}upokt`, '1', drawn],
          end + 10,
        ]),
        `${supplier.operator.name}: validated, and required by ${drawn === '1' ? 'lottery' : 'threshold'}`,
      )
    }
    t.strictSame(await events.named('ClaimExpired'), [])
    t.strictSame(await events.named('ClaimUpdated'), [], 'nothing was claimed twice')
    t.strictSame(await events.named('SupplierSlashed'), [])
  })

  await t.test('below the threshold and not drawn: paid without a proof', async (t) => {
    // Nothing is pending: what a claim needs is asked of the parameters of the day.
    const changed = await chain.setParams('proof', { proof_request_probability: 0 })
    const end = sessionEnd(changed + 1)
    await chain.waitFor(end - 9)
    await first.serve(5, 1)
    const [settled] = await events.until(
      1,
      'ClaimSettled',
      { ...of(first), session_end_block_height: String(end) },
      end + 15,
    )
    t.equal(attribute(settled, 'num_relays'), String(first.answered.get(end)))
    t.equal(attribute(settled, 'proof_requirement_int'), '0')
    t.equal(attribute(settled, 'claim_proof_status_int'), '0')
    t.equal((await events.named('ProofSubmitted', of(first))).length, 3, 'no fourth proof')
  })

  await t.test('what the chain has paid is what the ledger says', async (t) => {
    for (const supplier of both) {
      await supplier.idle()
      const status = await supplier.cli('status')
      const amounts = [...supplier.answered.values()].map((relays) => worth(relays))
      const rewards = amounts.map(reward)
      const sum = (list: readonly bigint[]) => list.reduce((a, b) => a + b, 0n)
      t.match(JSON.parse(status.stdout).earnings, {
        sessions: amounts.length,
        claimedUpokt: String(sum(amounts)),
        settledUpokt: String(sum(amounts)),
        rewardsUpokt: String(sum(rewards)),
        lostUpokt: '0',
      })
      const shared = rewards.map((amount) => (amount * 33n) / 100n)
      const share = supplier === second ? sum(shared) : 0n
      const paid = (await chain.balance(supplier.owner.address)) - RICH
      t.equal(paid, sum(rewards) - share, `${supplier.owner.name} has got it`)
      if (supplier === second)
        t.equal((await chain.balance(partner)) - RICH, share, 'and the third')
    }
  })

  await t.test('the stake grows and its shares change', async (t) => {
    const revShare = [
      { address: first.owner.address, percent: 50 },
      { address: partner, percent: 50 },
    ]
    await first.configure({ amount: '60001000000upokt', revShare })
    const activeFrom = await first.stake()
    const staked = await first.staked()
    t.equal(staked?.stake?.amount, '60001000000')
    const next = staked?.serviceConfigHistory.find(
      ({ activationHeight }) => Number(activationHeight) === activeFrom,
    )
    t.strictSame(
      next?.service?.revShare.map(({ address, revSharePercentage }) => [
        address,
        Number(revSharePercentage),
      ]),
      revShare.map(({ address, percent }) => [address, percent]),
      'from the next session on',
    )
  })

  await t.test('unstaked, the stake comes back to the owner', async (t) => {
    t.equal(await second.stop(), 0)
    const before = await chain.balance(second.owner.address)
    const ran = await second.cli('unstake', '--yes')
    t.equal(ran.status, 0, ran.stderr)
    const { returnedAt } = JSON.parse(ran.stdout).suppliers[0]
    await chain.waitFor(returnedAt + 1)
    t.equal((await chain.balance(second.owner.address)) - before, 60_000_000_000n)
    t.equal((await events.named('SupplierUnbondingEnd')).length, 1)
    t.equal(await first.stop(), 0)
  })
}
