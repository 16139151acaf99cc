/**
 * Two chain nodes, of which the preferred one is away, stuck, boastful, wrong about a block or without
 * results, and then the other one away, each time across the edges of a session's windows: every
 * session settles in full.
 */
import t, { type Test } from 'tap'
import { LyingProxy, type Manner } from '../support/lying-proxy.ts'
import { CHAIN_ID, field, Network, until } from '../support/network.ts'
import { RpcProxy } from '../support/rpc-proxy.ts'

async function open(t: Test): Promise<{ network: Network; first: LyingProxy; second: RpcProxy }> {
  const proxies: { first?: LyingProxy; second?: RpcProxy } = {}
  const config: Record<string, unknown> = {}
  const network = await Network.open(t, {
    config,
    through: async (url) => {
      const first = new LyingProxy(url)
      const second = new RpcProxy(url)
      const rpc = [await first.open(), await second.open()]
      config['chain'] = { rpc, id: CHAIN_ID, pollEvery: '250ms', timeout: '5s' }
      Object.assign(proxies, { first, second })
      return url
    },
  })
  const { first, second } = proxies
  if (first === undefined || second === undefined) throw new Error('no proxies')
  t.teardown(() => Promise.all([first.close(), second.close()]))
  return { network, first, second }
}

/** Of the session `4 n + 1 … 4 n + 4`: what the first node does from the session's end on. */
const TROUBLE: readonly ((end: number) => Manner)[] = [
  () => ({ is: 'away' }),
  (end) => ({ is: 'stuck', at: end }),
  () => ({ is: 'boastful', by: 1_000 }),
  (end) => ({ is: 'wrong', at: end + 3 }),
  () => ({ is: 'forgetful' }),
]

t.test('every session settles, whatever the first of two nodes does', async (t) => {
  const { network, first, second } = await open(t)
  first.manner = { is: 'foreign' }
  await network.start()
  const stateOf = async () => (await network.report())?.chain.endpoints?.[0]?.state
  t.equal(await stateOf(), 'other-chain', 'which is no reason not to start')
  t.ok(first.methods.every((method) => method === 'status'))
  first.manner = { is: 'honest' }
  await network.mineTo(2)
  await until(async () => (await stateOf()) === 'ok', 'it is believed once it is of our chain')
  const seen = new Set<string | undefined>()
  for (const [n, manner] of TROUBLE.entries()) {
    const end = 4 * (n + 1)
    for (let relay = 0; relay < n + 1; relay++) {
      const relayed = await network.relay(`question ${n} ${relay}`)
      t.equal(relayed.verified && relayed.inner?.status, 200, `${n}: ${relayed.fault}`)
    }
    await network.mineTo(end)
    first.manner = manner(end)
    // The windows of the session before this one end here, too.
    for (let at = end + 1; at <= end + 4; at++) {
      await network.mineTo(at)
      seen.add(await stateOf())
    }
  }
  t.ok(
    ['no-answer', 'ahead', 'ok'].every((state) => seen.has(state)),
    `seen: ${[...seen].join()}`,
  )
  first.manner = { is: 'honest' }
  await network.relay('the last question')
  second.cut()
  await network.mineTo(29)
  second.mend()
  await network.mineTo(34)
  t.strictSame(
    network.named('ClaimSettled').map((event) => field(event, 'num_relays')),
    ['1', '2', '3', '4', '5', '1'],
  )
  await until(async () => (await stateOf()) === 'ok', 'the first node is used again')
  const report = await network.report()
  t.match(report?.earnings, { sessions: 6, served: 16, lostUpokt: '0', losses: [] })
  t.strictSame(
    report?.chain.endpoints?.map(({ state, height, lag }) => ({ state, height, lag })),
    [1, 2].map(() => ({ state: 'ok', height: 34, lag: 0 })),
  )
  t.match(network.output, /chain endpoint is not believed/)
  await network.stop()
  for (const { outcome } of await network.ledger()) t.equal(outcome, 'settled')
})
