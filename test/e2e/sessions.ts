/** Whole sessions with two operators: every answered relay is claimed, proven where asked, and paid. */
import t from 'tap'
import type { Event } from '../../src/devnet/events.ts'
import { actor, Network } from '../support/network.ts'

const UNITS = 4_000n
/** floor(count × units × 145,990 / 10^6): the devnet's price is the main network's. */
const worth = (count: number) => (BigInt(count) * UNITS * 145_990n) / 1_000_000n
/** Of a settled amount: 97.5 % is minted, 79 % of that goes to the supplier's owner. */
const reward = (settled: bigint) => (((settled * 975n) / 1_000n) * 79n) / 100n

function attribute(event: Event, name: string): string {
  const found = event.attributes.find(({ key }) => key === name)
  return String(JSON.parse(found?.value ?? 'null'))
}

t.test(
  '50 relays, three sessions, two operators: below the threshold, above it, drawn',
  async (t) => {
    const network = await Network.open(t, {
      operators: 2,
      params: {
        proof: {
          proofRequestProbability: 0,
          proofRequirementThreshold: { denom: 'upokt', amount: String(worth(10)) },
        },
      },
    })
    const events: Event[] = []
    network.devnet.watch((block) =>
      events.push(...block.results.flatMap((r) => r.events), ...block.events),
    )
    const named = (type: string) => events.filter((event) => event.type === type)
    await network.start()
    const [first, second] = network.operators
    const send = async (counts: readonly [number, number]) => {
      for (const [i, operator] of [first, second].entries()) {
        for (let n = 0; n < (counts[i] ?? 0); n++) {
          const relayed = await network.relay(`question ${n}`, operator)
          t.equal(relayed.verified, true, `relay ${n} of operator ${i + 1}: ${relayed.fault}`)
          t.equal(relayed.inner?.status, 200, `relay ${n} of operator ${i + 1}`)
          t.equal(relayed.error, undefined, `relay ${n} of operator ${i + 1}`)
        }
      }
    }
    t.equal(network.devnet.head.height, 1)
    await send([3, 5])
    await network.mineTo(5)
    await send([10, 12])
    await network.mineTo(9)
    await send([9, 11])
    await network.mineTo(14)
    network.devnet.setParams('proof', { proofRequestProbability: 1 })
    await network.mineTo(20)

    const claims = named('pocket.proof.EventClaimCreated')
    const relaysOf = (list: readonly Event[]) =>
      list.map((event) => Number(attribute(event, 'num_relays'))).sort((a, b) => a - b)
    t.strictSame(relaysOf(claims), [3, 5, 9, 10, 11, 12], 'each claim has the answered relays')
    t.strictSame(named('pocket.proof.EventClaimUpdated'), [], 'and nothing is claimed twice')

    const checks = named('pocket.proof.EventProofValidityChecked')
    t.equal(checks.length, 4, 'two above the threshold and two drawn')
    for (const check of checks)
      t.equal(
        attribute(check, 'failure_reason'),
        '',
        `proof of ${attribute(check, 'session_end_block_height')}`,
      )

    const settled = named('pocket.tokenomics.EventClaimSettled')
    t.strictSame(
      settled
        .map((event) => [
          Number(attribute(event, 'num_relays')),
          attribute(event, 'proof_requirement_int'),
          attribute(event, 'settled_upokt'),
        ])
        .sort((a, b) => Number(a[0]) - Number(b[0])),
      [
        [3, '0', `${worth(3)}upokt`],
        [5, '0', `${worth(5)}upokt`],
        [9, '1', `${worth(9)}upokt`],
        [10, '2', `${worth(10)}upokt`],
        [11, '2', `${worth(11)}upokt`],
        [12, '2', `${worth(12)}upokt`],
      ],
      'settled at the formula, to the last upokt',
    )
    const paid = (counts: readonly number[]) =>
      counts.reduce((sum, count) => sum + reward(worth(count)), 0n)
    t.equal(
      network.balance(actor('owner 1').signer.address),
      paid([3, 10, 9]),
      'the first owner was paid',
    )
    t.equal(
      network.balance(actor('owner 2').signer.address),
      paid([5, 12, 11]),
      'the second owner was paid',
    )

    const report = await network.report()
    t.strictSame(report?.sessions, [], 'nothing is left in work')
    t.equal(
      report?.earnings.settledUpokt,
      String([3, 5, 9, 10, 11, 12].reduce((sum, n) => sum + worth(n), 0n)),
    )
    t.equal(report?.earnings.lostUpokt, '0')
    t.equal(report?.relays['mined'], 50)
    t.equal(await network.stop(), 0)
    for (const entry of await network.ledger()) {
      t.equal(entry.outcome, 'settled', entry.key.sessionId)
      t.equal(BigInt(entry.served), entry.count, entry.key.sessionId)
      t.equal(entry.rewards, reward(entry.settled), entry.key.sessionId)
    }
  },
)
