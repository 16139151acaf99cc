/**
 * A real chain that goes on while the supplier's node is away over the edge of a window, its subscription
 * is silent, the preferred of two nodes boasts or is stuck; and a node that is stopped or killed itself.
 * Nothing of it costs a relay. Without a `pocketd` it is skipped.
 */
import t, { type Test } from 'tap'
import { attribute } from '../support/chain-events.ts'
import { freshSession, type RealStage, realChain, worth } from '../support/real-stage.ts'
import { RealSupplier } from '../support/real-supplier.ts'
import { boasting, stuck } from '../support/rpc-characters.ts'
import { RpcProxy } from '../support/rpc-proxy.ts'

/** Claims from the session's end + 2 to + 8, proofs to + 14, settled then. */
const WINDOWS = { claimClose: 6, proofClose: 6 }
const CLAIM = 2
const PROOF = 8
const SETTLED = 15
const NAMES = ['away', 'silent', 'boasting', 'stuck'] as const
type Name = (typeof NAMES)[number]

const stage = await realChain(t, { ...WINDOWS, suppliers: NAMES.length })
if (stage !== undefined) await nodes(t, stage)

async function nodes(t: Test, stage: RealStage): Promise<void> {
  const { chain } = stage
  const proxies = new Map<Name, RpcProxy>()
  const suppliers = new Map<Name, RealSupplier>()
  for (const [i, name] of NAMES.entries()) {
    const proxy = new RpcProxy(chain.rpcUrl)
    t.teardown(() => proxy.close())
    const first = await proxy.open()
    const rpc = name === 'boasting' || name === 'stuck' ? [first, chain.rpcUrl] : [first]
    proxies.set(name, proxy)
    suppliers.set(name, await RealSupplier.open(t, chain, { number: i + 1, rpc }))
  }
  const all = [...suppliers.values()]
  await Promise.all(all.map((supplier) => supplier.stake()))
  await Promise.all(all.map((supplier) => supplier.start()))

  await t.test('the node of each supplier is unreliable', async (t) => {
    const end = await freshSession(chain)
    await Promise.all(all.map((supplier) => supplier.serve(6, 2)))
    proxies.get('silent')?.mute()
    proxies.get('boasting')?.become(boasting(1_000))
    proxies.get('stuck')?.become(stuck())
    for (const edge of [CLAIM, PROOF]) {
      await chain.waitFor(end + edge - 2)
      proxies.get('away')?.cut()
      await chain.waitFor(end + edge + 2)
      proxies.get('away')?.mend()
    }
    await settled(t, stage, suppliers, end)
  })

  await t.test('the node is stopped in mid-session and killed when claims are due', async (t) => {
    const end = await freshSession(chain)
    await Promise.all(all.map((supplier) => supplier.serve(3, 1)))
    await chain.stopNode()
    await chain.startNode()
    await Promise.all(all.map((supplier) => supplier.serve(3, 1)))
    await chain.waitFor(end + 1)
    await chain.stopNode('SIGKILL')
    await chain.startNode()
    await settled(t, stage, suppliers, end)
  })

  await t.test('nothing is lost', async (t) => {
    for (const [name, supplier] of suppliers) {
      await supplier.idle()
      const { earnings } = (await supplier.report()) ?? {}
      const relays = [...supplier.answered.values()]
      const amount = relays.reduce((sum, count) => sum + worth(count), 0n)
      t.match(earnings, { settledUpokt: String(amount), lostUpokt: '0' }, name)
      t.equal(await supplier.stop(), 0, name)
    }
  })
}

async function settled(
  t: Test,
  { events }: RealStage,
  suppliers: ReadonlyMap<Name, RealSupplier>,
  end: number,
): Promise<void> {
  for (const [name, supplier] of suppliers) {
    const where = {
      supplier_operator_address: supplier.operator.address,
      session_end_block_height: String(end),
    }
    const [event] = await events.until(1, 'ClaimSettled', where, end + SETTLED + 2)
    const relays = supplier.answered.get(end) ?? 0
    t.equal(attribute(event, 'num_relays'), String(relays), `${name}: ${relays} relays settled`)
    t.equal(attribute(event, 'settled_upokt'), `${worth(relays)}upokt`, name)
    t.equal(attribute(event, 'claim_proof_status_int'), '1', `${name}: the proof is good`)
    t.equal((await events.named('ProofSubmitted', where)).length, 1, `${name}: one proof`)
    t.strictSame(await events.named('ClaimUpdated', where), [], `${name}: one claim`)
  }
}
