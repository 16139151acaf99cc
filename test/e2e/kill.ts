/**
 * The supplier is killed, or told to stop, in every state of a session. After the restart each
 * answered relay is in the claim, once, and the claim is proven and paid.
 */
import t, { type Test } from 'tap'
import type { Event } from '../../src/devnet/events.ts'
import { Network, type NetworkOptions, until } from '../support/network.ts'
import { type Held, isBroadcast, isSimulation, RpcProxy } from '../support/rpc-proxy.ts'

const RELAYS = 6

interface Stage {
  readonly network: Network
  readonly proxy: RpcProxy
  readonly events: Event[]
}

async function stage(t: Test, options: NetworkOptions = {}): Promise<Stage> {
  let proxy: RpcProxy | undefined
  const network = await Network.open(t, {
    ...options,
    through: async (url) => {
      proxy = new RpcProxy(url)
      return await proxy.open()
    },
  })
  if (proxy === undefined) throw new Error('no proxy')
  const made = proxy
  t.teardown(() => made.close())
  const events: Event[] = []
  network.devnet.watch((block) =>
    events.push(...block.results.flatMap((r) => r.events), ...block.events),
  )
  await network.start()
  return { network, proxy, events }
}

async function serve(t: Test, network: Network, count = RELAYS): Promise<void> {
  for (let n = 0; n < count; n++) {
    const relayed = await network.relay(`question ${n}`)
    t.equal(relayed.verified && relayed.inner?.status, 200, `relay ${n}: ${relayed.fault}`)
  }
}

/** Goes on to the settlement and looks at what the chain paid for. */
async function paidFor(
  t: Test,
  { network, events }: Stage,
  relays: number,
  name: string,
): Promise<void> {
  await network.mineTo(10)
  const settled = events.filter(({ type }) => type === 'pocket.tokenomics.EventClaimSettled')
  t.strictSame(
    settled.map((event) => field(event, 'num_relays')),
    [String(relays)],
    `${name}: one claim of ${relays} relays was settled`,
  )
  t.equal(
    events.some(({ type }) => type === 'pocket.tokenomics.EventClaimExpired'),
    false,
    `${name}: nothing expired`,
  )
  t.equal(
    events.filter(({ type }) => type === 'pocket.proof.EventProofSubmitted').length,
    1,
    `${name}: one proof`,
  )
  const report = await network.report()
  t.strictSame(report?.sessions, [], `${name}: nothing is left in work`)
  t.equal(report?.earnings.lostUpokt, '0', `${name}: nothing is lost`)
}

function field(event: Event, name: string): string {
  return String(JSON.parse(event.attributes.find(({ key }) => key === name)?.value ?? 'null'))
}

/** Makes a block and waits, not for the daemon, but until it is held. */
async function mineInto(network: Network, held: Held): Promise<void> {
  await network.devnet.mine()
  await held.caught
}

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  t.test(`${signal} in mid-session: what was answered before and after is claimed`, async (t) => {
    const scene = await stage(t)
    const { network } = scene
    await serve(t, network)
    await network.stop(signal)
    await network.start()
    await serve(t, network)
    await paidFor(t, scene, 2 * RELAYS, signal)
  })

  t.test(`${signal} after the seal, before anything is sent`, async (t) => {
    const scene = await stage(t)
    const { network, proxy } = scene
    await serve(t, network)
    await network.mineTo(5)
    const held = proxy.hold('request', isSimulation)
    await mineInto(network, held)
    t.equal((await network.report())?.sessions[0]?.state, 'sealed')
    const gone = network.stop(signal)
    held.release()
    await gone
    await network.start()
    await paidFor(t, scene, RELAYS, signal)
  })

  for (const side of ['request', 'answer'] as const) {
    t.test(`${signal} while the claim's broadcast is held on its ${side}`, async (t) => {
      const scene = await stage(t)
      const { network, proxy } = scene
      await serve(t, network)
      await network.mineTo(5)
      const held = proxy.hold(side, isBroadcast)
      await mineInto(network, held)
      t.equal((await network.report())?.sessions[0]?.state, 'claiming')
      // Killed before the held call is let go: it never reaches the node, or its answer never us.
      await network.stop('SIGKILL')
      if (side === 'answer') held.release()
      await network.start()
      await paidFor(t, scene, RELAYS, `${signal} ${side}`)
    })

    t.test(`${signal} while the proof's broadcast is held on its ${side}`, async (t) => {
      const scene = await stage(t)
      const { network, proxy } = scene
      await serve(t, network)
      await network.mineTo(7)
      t.equal((await network.report())?.sessions[0]?.state, 'claimed')
      const held = proxy.hold(side, isBroadcast)
      await mineInto(network, held)
      t.equal((await network.report())?.sessions[0]?.state, 'proving')
      await network.stop('SIGKILL')
      if (side === 'answer') held.release()
      await network.start()
      await paidFor(t, scene, RELAYS, `${signal} ${side}`)
    })
  }

  t.test(`${signal} when claimed, and again when proven`, async (t) => {
    const scene = await stage(t)
    const { network } = scene
    await serve(t, network)
    await network.mineTo(7)
    t.equal((await network.report())?.sessions[0]?.state, 'claimed')
    await network.stop(signal)
    await network.start()
    await network.mineTo(9)
    t.equal((await network.report())?.sessions[0]?.state, 'proven')
    await network.stop(signal)
    await network.start()
    await paidFor(t, scene, RELAYS, signal)
  })
}

t.test('killed while relays come in: no answered relay is missing from the claim', async (t) => {
  const scene = await stage(t)
  const { network, events } = scene
  let answered = 0
  let sent = 0
  const client = async () => {
    for (let n = 0; n < 30; n++) {
      sent++
      const relayed = await network.relay(`question ${n}`).catch(() => undefined)
      if (relayed?.verified === true && relayed.inner?.status === 200) answered++
      if (network.child === undefined) return
    }
  }
  const clients = [client(), client(), client(), client()]
  await until(() => answered > 20, 'twenty relays are answered')
  await network.stop('SIGKILL')
  await Promise.all(clients)
  await network.start()
  await network.mineTo(10)
  const settled = events.filter(({ type }) => type === 'pocket.tokenomics.EventClaimSettled')
  const count = Number(field(settled[0] ?? { type: '', attributes: [] }, 'num_relays'))
  t.ok(count >= answered, `${count} were settled, ${answered} of ${sent} answered`)
  t.ok(count <= sent, `${count} were settled, ${sent} sent`)
})
