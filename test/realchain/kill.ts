/**
 * The supplier is killed, or told to stop, in every state of a session, while a real chain goes on. What
 * was answered is claimed once, proven and paid. Without a `pocketd` it is skipped.
 */
import t, { type Test } from 'tap'
import { attribute } from '../support/chain-events.ts'
import { freshSession, type RealStage, realChain, worth } from '../support/real-stage.ts'
import { RealSupplier } from '../support/real-supplier.ts'
import { type Held, isBroadcast, RpcProxy } from '../support/rpc-proxy.ts'

/** Room for a daemon that starts on a machine that starts three others. */
const WINDOWS = { claimClose: 9, proofClose: 9 }
const SETTLED_AFTER = 20
const STATES = ['serving', 'claiming', 'claimed', 'proving'] as const

const stage = await realChain(t, { ...WINDOWS, suppliers: STATES.length })
if (stage !== undefined) await everyState(t, stage)

interface Actor {
  readonly state: (typeof STATES)[number]
  readonly supplier: RealSupplier
  readonly proxy: RpcProxy
}

async function everyState(t: Test, stage: RealStage): Promise<void> {
  const { chain } = stage
  const actors: Actor[] = []
  for (const [i, state] of STATES.entries()) {
    const proxy = new RpcProxy(chain.rpcUrl)
    t.teardown(() => proxy.close())
    const supplier = await RealSupplier.open(t, chain, { number: i + 1, rpc: [await proxy.open()] })
    actors.push({ state, supplier, proxy })
  }
  await Promise.all(actors.map(({ supplier }) => supplier.stake()))
  await Promise.all(actors.map(({ supplier }) => supplier.start()))
  await t.test('killed', (t) => round(t, stage, actors, 'SIGKILL', 'request'))
  await t.test('told to stop', (t) => round(t, stage, actors, 'SIGTERM', 'answer'))

  await t.test('the ledgers agree', async (t) => {
    for (const { supplier, state } of actors) {
      await supplier.idle()
      t.equal(await supplier.stop(), 0, state)
      t.strictSame(
        (await supplier.ledger()).map(({ key, outcome, count, settled, lost }) => [
          ...[Number(key.end), outcome, count, settled, lost],
        ]),
        [...supplier.answered].map(([end, relays]) => [
          ...[end, 'settled', BigInt(relays), worth(relays), 0n],
        ]),
        state,
      )
    }
  })
}

/** @param side where broadcasts are held: they never reach the node, or their answer never us */
async function round(
  t: Test,
  { chain, events }: RealStage,
  actors: readonly Actor[],
  signal: NodeJS.Signals,
  side: 'request' | 'answer',
): Promise<void> {
  const end = await freshSession(chain)
  await Promise.all(
    actors.map(async (actor) => {
      const { supplier, proxy, state } = actor
      await supplier.serve(6, 2)
      if (state === 'claiming') await interrupted(supplier, proxy.hold(side, isBroadcast), signal)
      if (state === 'serving') await again(supplier, signal)
      if (state === 'serving') await supplier.serve(6, 2)
      if (state !== 'claimed' && state !== 'proving') return
      await supplier.reaches(end, 'claimed')
      if (state === 'claimed') await again(supplier, signal)
      else await interrupted(supplier, proxy.hold(side, isBroadcast), signal)
    }),
  )
  for (const { supplier, state } of actors) {
    const where = {
      supplier_operator_address: supplier.operator.address,
      session_end_block_height: String(end),
    }
    const settled = await events.until(1, 'ClaimSettled', where, end + SETTLED_AFTER + 3)
    const relays = supplier.answered.get(end)
    t.strictSame(
      settled.map((event) => [attribute(event, 'num_relays'), attribute(event, 'settled_upokt')]),
      [[String(relays), `${worth(relays ?? 0)}upokt`]],
      `${state}: ${relays} relays settled`,
    )
    const proofs = await events.named('ProofSubmitted', where)
    t.equal(proofs.length, 1, `${state}: one proof`)
    t.strictSame(await events.named('ClaimUpdated', where), [], `${state}: one claim`)
    t.strictSame(await events.named('ClaimExpired', where), [], `${state}: nothing expired`)
  }
}

async function again(supplier: RealSupplier, signal: NodeJS.Signals): Promise<void> {
  await supplier.stop(signal)
  await supplier.start()
}

/** Ended while a transaction is on its way. */
async function interrupted(
  supplier: RealSupplier,
  held: Held,
  signal: NodeJS.Signals,
): Promise<void> {
  await held.caught
  await again(supplier, signal)
}
