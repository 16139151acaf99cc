/** Many operators of one process whose sessions end together: each is claimed, proven and paid once. */
import t from 'tap'
import type { Event } from '../../src/devnet/events.ts'
import { MEMPOOL_DEFAULTS } from '../../src/devnet/mempool.ts'
import type { Actor } from '../support/network.ts'
import { field } from '../support/network.ts'
import { FIRST, Operators } from '../support/operators.ts'

const COUNT = 32
const UNITS = 4_000n
const worth = (count: number) => (BigInt(count) * UNITS * 145_990n) / 1_000_000n
const reward = (settled: bigint) => (((settled * 975n) / 1_000n) * 79n) / 100n

/** Relays of the n-th operator. */
const relaysOf = (n: number) => 1 + (n % 3)

async function serveAll(operators: Operators): Promise<void> {
  const served = operators.actors.flatMap((operator, i) =>
    Array.from({ length: relaysOf(i) }, (_, n) => operators.serve(operator, n)),
  )
  await Promise.all(served)
}

/** Of each operator, in their order: what an event says of it, all of them if there are more. */
function byOperator(operators: Operators, events: readonly Event[], name: string): string[] {
  return operators.actors.map(({ signer }) =>
    events
      .filter((event) => field(event, 'supplier_operator_address') === signer.address)
      .map((event) => field(event, name))
      .join(),
  )
}

/** Heights of the blocks that took messages of this kind, one for each message. */
function heightsOf(operators: Operators, kind: string): number[] {
  const heights: number[] = []
  for (let at = 1; at <= operators.devnet.head.height; at++) {
    for (const { messages } of operators.devnet.block(at)?.transactions ?? [])
      heights.push(...messages.filter(({ typeUrl }) => typeUrl.endsWith(kind)).map(() => at))
  }
  return heights
}

t.test('many operators in one session: each is claimed, proven and settled once', async (t) => {
  const operators = await Operators.open(t, { count: COUNT })
  await serveAll(operators)
  await operators.mineTo(FIRST.settlement + 1)
  const counts = operators.actors.map((_, i) => String(relaysOf(i)))

  const claims = operators.named('ClaimCreated')
  t.strictSame(byOperator(operators, claims, 'num_relays'), counts, 'trees are not shared')
  t.strictSame(operators.named('ClaimUpdated'), [])
  t.strictSame(heightsOf(operators, 'MsgCreateClaim'), Array(COUNT).fill(FIRST.claim[0] + 1))

  const checks = operators.named('ProofValidityChecked')
  t.strictSame(byOperator(operators, checks, 'failure_reason'), Array(COUNT).fill(''))
  t.equal(checks.length, COUNT)
  t.strictSame(operators.named('ProofUpdated'), [])
  t.strictSame(heightsOf(operators, 'MsgSubmitProof'), Array(COUNT).fill(FIRST.proof[0] + 1))

  const settled = operators.named('ClaimSettled')
  const amounts = operators.actors.map((_, i) => worth(relaysOf(i)))
  t.strictSame(
    byOperator(operators, settled, 'settled_upokt'),
    amounts.map((amount) => `${amount}upokt`),
  )

  const ledger = new Map((await operators.ledger()).map((entry) => [entry.key.operator, entry]))
  t.equal(ledger.size, COUNT)
  for (const [i, { signer }] of operators.actors.entries())
    t.match(
      ledger.get(signer.address),
      {
        outcome: 'settled',
        served: relaysOf(i),
        count: BigInt(relaysOf(i)),
        settled: amounts[i],
        rewards: reward(amounts[i] ?? 0n),
        lost: 0n,
      },
      `operator ${i + 1}`,
    )
  t.strictSame(await operators.store.sessions.open(), [])
  const { gate, intake, meter } = operators.miner
  t.equal(gate.size + intake.size + meter.size, 0, 'and nothing is kept in memory')
})

t.test('one application in one session pays each operator by its own meter', async (t) => {
  // Each operator may use a sixth of the stake: of three sessions that it must last for, one half.
  const stake = 6n * (worth(5) + 1n)
  const params = { application: { minStake: { denom: 'upokt', amount: '1' } } }
  const operators = await Operators.open(t, { count: 2, stake, params })
  const [first, second] = operators.actors as [Actor, Actor]
  const served = async (operator: Actor, tries: number) => {
    let count = 0
    for (let n = 0; n < tries; n++) if (await operators.serve(operator, n)) count++
    return count
  }
  t.equal(await served(first, 8), 5, 'what is used up for the first …')
  t.equal(await served(second, 3), 3, '… is there for the second')
  await operators.mineTo(FIRST.settlement + 1)
  const entries = await operators.ledger()
  t.strictSame(
    [first, second].map(({ signer }) => {
      const entry = entries.find(({ key }) => key.operator === signer.address)
      return [entry?.outcome, entry?.served, entry?.count, entry?.settled]
    }),
    [
      ['settled', 5, 5n, worth(5)],
      ['settled', 3, 3n, worth(3)],
    ],
  )
})

t.test(
  'parameters that change between claim and proof change nothing that was served',
  async (t) => {
    const operators = await Operators.open(t, { count: 4 })
    await serveAll(operators)
    await operators.mineTo(FIRST.claim[0] + 1)
    t.equal(operators.named('ClaimCreated').length, 4)
    const { devnet } = operators
    devnet.setParams('shared', {
      computeUnitsToTokensMultiplier: 1n,
      claimWindowOpenOffsetBlocks: 2n,
      proofWindowCloseOffsetBlocks: 3n,
    })
    devnet.setParams('proof', { proofSubmissionFee: { denom: 'upokt', amount: '9' } })
    await operators.mineTo(FIRST.settlement)
    t.equal(operators.named('ProofValidityChecked').length, 4)
    t.strictSame(heightsOf(operators, 'MsgSubmitProof'), Array(4).fill(FIRST.proof[0] + 1))
    const entries = await operators.ledger()
    t.strictSame(
      entries.map(({ outcome, settled }) => [outcome, settled]).sort(),
      operators.actors.map((_, i) => ['settled', worth(relaysOf(i))]).sort(),
      'at the price of the session, in its windows, for the fee of the day',
    )
  },
)

t.test(
  'a proof that is asked for only after the claim is made, and one that no longer is',
  async (t) => {
    const none = { denom: 'upokt', amount: '1000000000' }
    const params = { proof: { proofRequestProbability: 0, proofRequirementThreshold: none } }
    const asked = await Operators.open(t, { count: 2, params })
    await serveAll(asked)
    await asked.mineTo(FIRST.proof[0])
    const unproven = await asked.store.sessions.open()
    t.strictSame(
      unproven.map(({ state }) => state.at),
      ['unproven', 'unproven'],
    )
    asked.devnet.setParams('proof', { proofRequestProbability: 1 })
    await asked.mineTo(FIRST.settlement)
    t.equal(asked.named('ProofValidityChecked').length, 2)
    t.strictSame(
      (await asked.ledger()).map(({ outcome }) => outcome),
      ['settled', 'settled'],
    )

    const spared = await Operators.open(t, { count: 2 })
    await serveAll(spared)
    await spared.mineTo(FIRST.proof[0])
    t.equal(spared.waiting, 2, 'the proofs are on their way')
    spared.devnet.setParams('proof', params.proof)
    await spared.mineTo(FIRST.settlement)
    t.strictSame(spared.named('ProofSubmitted'), [], 'and are refused')
    t.strictSame(
      (await spared.ledger()).map(({ outcome }) => outcome),
      ['settled', 'settled'],
    )
  },
)

t.test('what a full mempool refuses goes in with the next block', async (t) => {
  const mempool = { ...MEMPOOL_DEFAULTS, transactionsMax: 4 }
  const operators = await Operators.open(t, { count: 6, mempool })
  await serveAll(operators)
  await operators.mineTo(FIRST.claim[0])
  t.equal(operators.waiting, 4)
  await operators.mineTo(FIRST.settlement)
  t.strictSame(heightsOf(operators, 'MsgCreateClaim'), [7, 7, 7, 7, 8, 8])
  t.strictSame(heightsOf(operators, 'MsgSubmitProof'), [9, 9, 9, 9, 10, 10])
  const outcomes = (await operators.ledger()).map(({ outcome }) => outcome)
  t.strictSame(outcomes, Array(6).fill('settled'))
})

t.test('a proof of half a megabyte gets through a stock node', async (t) => {
  // CometBFT reads calls of a million bytes; the request is the largest that is mined.
  const operators = await Operators.open(t, { count: 1, rpc: { bodyBytesMax: 1_000_000 } })
  const [operator] = operators.actors as [Actor]
  await operators.serve(operator, 0, 512 * 1_024)
  await operators.mineTo(FIRST.settlement)
  const [tx] = operators.devnet.block(FIRST.proof[0] + 1)?.transactions ?? []
  t.ok((tx?.bytes.length ?? 0) > 512 * 1_024)
  t.match(await operators.ledger(), [{ outcome: 'settled', settled: worth(1) }])
})
