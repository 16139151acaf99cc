/**
 * Two hundred operators of one process whose sessions end in the same block: how long after the block
 * that opens a window everything is with the node, and that each is claimed, proven and settled once.
 * The simulated chain runs in the same process and takes its share of the time, shown beside it.
 * Run: npx tsc && node dist/scripts/bench/operators.js [operators]
 */
import { loadavg } from 'node:os'
import { systemClock } from '../../src/base/clock.ts'
import { ms } from '../../src/base/units.ts'
import { FIRST, Operators } from '../../test/support/operators.ts'
import { root, session } from '../../test/support/sessions.ts'
import { host, row } from './measure.ts'

const OPERATORS = Number(process.argv[2] ?? 200)
const RELAYS = 3
/** Done sessions of each operator that are still kept: a hundred blocks of four. */
const DONE = 25
const LIMIT_S = 10

/** What lies in the database of a supplier that has run for a while. */
async function fill({ store, actors }: Operators): Promise<void> {
  const records = actors.flatMap(({ signer }) =>
    Array.from({ length: DONE }, (_, n) => {
      const done = session(
        { at: 'done', outcome: 'settled', root: root(5_000n, 5n) },
        { name: `${n}` },
      )
      return { ...done, key: { ...done.key, operator: signer.address } }
    }),
  )
  await store.sessions.putAll(records)
}

/** How long `work` takes, and how much processor time of this process, chain included. */
async function timed(work: () => Promise<unknown>): Promise<{ wall: number; text: string }> {
  const [start, cpu] = [performance.now(), process.cpuUsage()]
  await work()
  const wall = (performance.now() - start) / 1_000
  const { user, system } = process.cpuUsage(cpu)
  const used = (user + system) / 1e6
  return { wall, text: `${wall.toFixed(2)} s, processor ${used.toFixed(2)} s` }
}

/** Until all messages wait for a block. */
async function sent(operators: Operators): Promise<void> {
  for (let tries = 0; operators.waiting < OPERATORS && tries < 20_000; tries++)
    await systemClock.sleep(ms(5))
}

const bench = host()
try {
  const operators = await Operators.open(bench, { count: OPERATORS })
  await fill(operators)
  for (let n = 0; n < RELAYS; n++)
    await Promise.all(operators.actors.map((operator) => operators.serve(operator, n)))
  row('load of the machine, operators', `${(loadavg()[0] ?? 0).toFixed(1)}, ${OPERATORS}`)

  await operators.mineTo(FIRST.claim[0] - 1)
  await operators.devnet.mine()
  const claims = await timed(() => sent(operators))
  row("claims: from the window's first block to all broadcast", claims.text)
  await operators.settleDown()
  row('  the chain makes a block of them', (await timed(() => operators.devnet.mine())).text)
  row('  each looked up and found', (await timed(() => operators.settleDown())).text)

  await operators.mineTo(FIRST.proof[0] - 1)
  await operators.devnet.mine()
  const proofs = await timed(() => sent(operators))
  row("proofs: from the window's first block to all broadcast", proofs.text)
  await operators.settleDown()
  row('  the chain judges them', (await timed(() => operators.devnet.mine())).text)
  row('  each looked up and found valid', (await timed(() => operators.settleDown())).text)

  await operators.mineTo(FIRST.settlement - 1)
  row('settlement: the chain settles', (await timed(() => operators.devnet.mine())).text)
  row('  all booked, relays dropped', (await timed(() => operators.settleDown())).text)
  const entries = await operators.ledger()
  const paid = entries.filter(({ outcome }) => outcome === 'settled').length
  row('settled, of how many', `${paid} of ${entries.length}`)
  const good = paid === OPERATORS && Math.max(claims.wall, proofs.wall) <= LIMIT_S
  row(`all settled, and broadcast within ${LIMIT_S} s`, good ? 'yes' : 'no')
} finally {
  await bench.close()
}
