/**
 * A real chain whose parameters change while a session runs: what a relay costs is decided by the start
 * of its session, when it is claimed and proven by its end. Without a `pocketd` it is skipped.
 */
import t, { type Test } from 'tap'
import { attribute } from '../support/chain-events.ts'
import { freshSession, type RealStage, realChain, worth } from '../support/real-stage.ts'
import { RealSupplier } from '../support/real-supplier.ts'

/** Compute units of a relay and their price, one after the other. */
const PRICES = [
  [4_000n, 145_990n],
  [6_000n, 200_000n],
  [5_000n, 180_000n],
] as const

/** Offsets from a session's end. */
interface Windows {
  readonly claim: readonly [from: number, to: number]
  readonly proof: readonly [from: number, to: number]
}
const OLD: Windows = { claim: [2, 6], proof: [6, 10] }
/** Opens a block later, is a block longer; proofs have a block less. */
const NEW: Windows = { claim: [3, 8], proof: [8, 11] }

const stage = await realChain(t)
if (stage !== undefined) await changes(t, stage)

async function changes(t: Test, stage: RealStage): Promise<void> {
  const { chain } = stage
  const supplier = await RealSupplier.open(t, chain)
  await supplier.stake()
  await supplier.start()
  const first = await freshSession(chain)
  await supplier.serve(5)
  await reprice(stage, 1)
  await supplier.serve(5)

  const second = await freshSession(chain)
  // Before the first relay: what the next session has must not be taken for this one's.
  await reprice(stage, 2)
  await supplier.serve(5)
  await chain.setParams('shared', {
    claim_window_open_offset_blocks: '2',
    claim_window_close_offset_blocks: '5',
    proof_window_close_offset_blocks: '3',
  })
  await supplier.serve(2)

  const third = await freshSession(chain)
  await supplier.serve(5)
  await chain.setParams('shared', {
    num_blocks_per_session: '8',
    supplier_unbonding_period_sessions: '2',
    application_unbonding_period_sessions: '2',
    gateway_unbonding_period_sessions: '2',
  })
  await chain.waitFor(third + 1)
  await supplier.serve(5)
  const fourth = third + 8

  t.strictSame(
    [...supplier.answered],
    [
      [first, 10],
      [second, 7],
      [third, 5],
      [fourth, 5],
    ],
    'each relay is of the session that it was sent in; the last is of eight blocks',
  )

  const amounts = [worth(10, ...PRICES[0]), worth(7, ...PRICES[1]), worth(5, ...PRICES[2])] as const
  await t.test('compute units and price are those of the first block', (t) =>
    paid(t, stage, supplier, first, { amount: amounts[0], windows: OLD }),
  )
  await t.test('the next session has the new ones, and the old windows', (t) =>
    paid(t, stage, supplier, second, { amount: amounts[1], windows: OLD }),
  )
  await t.test('the next has the new windows', (t) =>
    paid(t, stage, supplier, third, { amount: amounts[2], windows: NEW }),
  )
  await t.test('the next is shorter', (t) =>
    paid(t, stage, supplier, fourth, { amount: amounts[2], windows: NEW }),
  )
  await t.test('and so says the ledger', async (t) => {
    await supplier.idle()
    t.match((await supplier.report())?.earnings, {
      sessions: 4,
      settledUpokt: String(amounts[0] + amounts[1] + 2n * amounts[2]),
      lostUpokt: '0',
    })
  })
}

/** The service's owner and governance change what a relay costs, both in this session. */
async function reprice({ chain }: RealStage, to: 1 | 2): Promise<void> {
  const [units, multiplier] = PRICES[to]
  const service = ['service', 'add-service', chain.serviceId, 'Text generation', String(units)]
  await Promise.all([
    chain.send('service_owner', service),
    chain.setParams('shared', { compute_units_to_tokens_multiplier: String(multiplier) }),
  ])
}

async function paid(
  t: Test,
  { events }: RealStage,
  supplier: RealSupplier,
  end: number,
  { amount, windows }: { amount: bigint; windows: Windows },
): Promise<void> {
  const where = {
    supplier_operator_address: supplier.operator.address,
    session_end_block_height: String(end),
  }
  const settledAt = end + windows.proof[1]
  const [settled] = await events.until(1, 'ClaimSettled', where, settledAt + 2)
  t.equal(attribute(settled, 'settled_upokt'), `${amount}upokt`)
  t.equal(attribute(settled, 'claimed_upokt'), `${amount}upokt`)
  t.equal(attribute(settled, 'claim_proof_status_int'), '1', 'proven')
  t.equal(settled?.height, settledAt)
  const inside = async (name: string, [from, to]: readonly [number, number]) => {
    const found = await events.named(name, where)
    const heights = found.map(({ height }) => height - end)
    t.equal(heights.length, 1, name)
    t.ok(
      heights.every((at) => at >= from && at <= to),
      `${name}: ${heights} in ${from} … ${to}`,
    )
  }
  await inside('ClaimCreated', windows.claim)
  await inside('ProofSubmitted', windows.proof)
}
