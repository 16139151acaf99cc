/**
 * Sessions at their edges: relays that run over the end, news that comes late, a node that is away,
 * applications and operators without money, and relays that are too easy to count.
 */
import t, { type Test } from 'tap'
import { coin, upokt } from '../../src/base/units.ts'
import { difficultyAt } from '../../src/devnet/difficulty.ts'
import { GatewayError } from '../../src/devnet/gateway.ts'
import { dehydrate, relayHash } from '../../src/protocol/relay.ts'
import { BASE_TARGET, claimedUpokt, isApplicable } from '../../src/protocol/rewards.ts'
import {
  chatRequest,
  field,
  Network,
  type NetworkOptions,
  SERVICE,
  until,
} from '../support/network.ts'
import { RpcProxy } from '../support/rpc-proxy.ts'

const UNITS = 4_000n
const PRICE = { computeUnitsToTokensMultiplier: 145_990n, computeUnitCostGranularity: 1_000_000n }
const worth = (count: number) => claimedUpokt(BigInt(count) * UNITS, BASE_TARGET, PRICE)

/** Good, signed and mined. */
async function serve(t: Test, network: Network, count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const relayed = await network.relay(`question ${n}`)
    t.equal(relayed.verified && relayed.inner?.status, 200, `relay ${n}: ${relayed.fault}`)
    t.equal(relayed.error, undefined, `relay ${n}`)
  }
}

async function stateOf(network: Network, end: number): Promise<string | undefined> {
  const report = await network.report()
  return report?.sessions.find(({ sessionEnd }) => sessionEnd === end)?.state
}

const claimed = (network: Network) =>
  network.named('ClaimCreated').map((event) => field(event, 'num_relays'))

/** Claims of the first session at 6 … 12, sealed at 10 at the latest, proofs and settlement until 14. */
const LONG_CLAIM_WINDOW: NetworkOptions = {
  params: {
    shared: {
      claimWindowCloseOffsetBlocks: 6n,
      supplierUnbondingPeriodSessions: 3n,
      applicationUnbondingPeriodSessions: 3n,
      gatewayUnbondingPeriodSessions: 3n,
    },
  },
  deadline: '90s',
}

t.test('relays that run on, news that comes late, a node that is away', async (t) => {
  let proxy: RpcProxy | undefined
  const network = await Network.open(t, {
    ...LONG_CLAIM_WINDOW,
    through: (url) => {
      proxy = new RpcProxy(url)
      return proxy.open()
    },
  })
  t.teardown(() => proxy?.close())
  const { devnet, upstream } = network
  await network.start()

  await t.test('who hangs up or asks for too much is not served, and not mined', async (t) => {
    const held = upstream.hold()
    const hungUp = new AbortController()
    const gone = network.gateway.relay(SERVICE, chatRequest('never mind'), hungUp.signal)
    await held.caught
    hungUp.abort(new GatewayError('RELAY', 'hung up'))
    await t.rejects(gone, { message: 'hung up' })
    await until(async () => (await network.report())?.relays['gone'] === 1, 'it is noticed')
    const large = await network.relay('x'.repeat(600 * 1024))
    t.equal(large.verified && large.inner?.status, 413, large.fault)
    t.match(large.error, { codespace: 'relayer_proxy', code: 10 })
    t.equal(upstream.chats, 1)
  })

  await t.test('a relay in flight when the claim window opens is waited for', async (t) => {
    await serve(t, network, 2)
    const held = upstream.hold()
    const running = network.relay('a long one')
    await held.caught
    await network.mineTo(8)
    t.equal(await stateOf(network, 4), 'serving', 'two blocks into the window')
    t.strictSame(devnet.mempool.waiting, [], 'nothing is claimed yet')
    held.release()
    const relayed = await running
    t.equal(relayed.verified && relayed.inner?.status, 200, relayed.fault)
    await network.mineTo(10)
    t.strictSame(claimed(network), ['3'], 'the claim has it')
  })

  await t.test('one that runs past the last height for a seal is cut off', async (t) => {
    await network.mineTo(12)
    const held = upstream.hold()
    const running = network.relay('an endless one')
    await held.caught
    await serve(t, network, 1)
    await network.mineTo(17)
    t.equal(await stateOf(network, 12), 'serving', 'three blocks into the window')
    await network.mineTo(18)
    const relayed = await running
    t.equal(relayed.verified && relayed.inner?.status, 504, 'a signed inner 504')
    t.match(relayed.error, { codespace: 'relayer_proxy', code: 10 })
    t.equal(await stateOf(network, 12), 'claiming')
    await network.mineTo(19)
    t.strictSame(claimed(network), ['3', '1'], 'claimed in time, without the one that was cut off')
    held.release()
  })

  await t.test('a relay of the next session waits for its first block', async (t) => {
    await network.mineTo(20)
    const end = proxy?.hush() ?? (() => {})
    await devnet.mine()
    const before = upstream.chats
    const early = network.relay('from the future')
    await until(
      async () => (await network.report())?.relays.inFlight === 1,
      'the relay is with the supplier',
    )
    t.equal((await network.report())?.chain.height, 20, 'which has not seen the block')
    t.equal(upstream.chats, before, 'nothing is served on trust')
    end()
    const relayed = await early
    t.equal(relayed.verified && relayed.inner?.status, 200, relayed.fault)
    t.equal(relayed.response.meta?.sessionHeader?.sessionStartBlockHeight, 21n)
  })

  await t.test('a node that is away when the window opens costs nothing', async (t) => {
    await network.mineTo(25)
    proxy?.cut()
    while (devnet.head.height < 29) await devnet.mine()
    proxy?.mend()
    await network.settleDown()
    await network.mine()
    t.strictSame(claimed(network), ['3', '1', '1'])
    await network.mineTo(34)
    const settled = network.named('ClaimSettled').map((event) => field(event, 'settled_upokt'))
    t.strictSame(
      settled,
      [3, 1, 1].map((count) => `${worth(count)}upokt`),
      'everything is paid in full',
    )
    t.equal((await network.report())?.earnings.lostUpokt, '0')
  })
})

t.test(
  'no more is served than the application can pay, nor claimed than the operator',
  async (t) => {
    // Of 90,000 upokt a fifteenth of a third is this supplier's: 2,000, and a relay costs 583.
    const network = await Network.open(t, {
      stake: 90_000n,
      balance: 3n,
      params: { application: { minStake: coin(upokt(1)) } },
    })
    const { devnet, operators } = network
    const operator = operators[0]?.signer.address ?? ''
    const staked = () =>
      devnet.contextAt(devnet.head.height).state.suppliers.get(operator)?.stake?.amount
    const stake = staked()
    await network.start()
    const exhaust = async (name: string) => {
      await serve(t, network, 3)
      for (let n = 0; n < 2; n++) {
        const relayed = await network.relay('one too many')
        t.equal(relayed.verified && relayed.inner?.status, 429, `${name}: a signed inner 429`)
        t.match(relayed.error, { codespace: 'relayer_proxy', code: 7 }, name)
      }
    }
    await exhaust('first session')
    t.match((await network.report())?.relays, { mined: 3, overserviced: 2 })
    t.equal(network.upstream.chats, 3, 'what is not paid is not worked for')

    await network.mineTo(5)
    await exhaust('second session')
    await network.mineTo(6)
    const waiting = (await network.report())?.sessions.find(({ sessionEnd }) => sessionEnd === 4)
    t.equal(waiting?.state, 'sealed', 'without the money for the proof it is not claimed')
    t.match(waiting?.reason, 'the operator holds 3 upokt', 'and said why')
    t.strictSame(devnet.mempool.waiting, [])
    devnet.fund(operator, upokt(3))
    await network.mineTo(8)
    t.strictSame(claimed(network), ['3'], 'claimed once the operator has money')
    await network.mineTo(10)
    t.strictSame(
      network.named('ClaimSettled').map((event) => field(event, 'settled_upokt')),
      [`${worth(3)}upokt`],
      'and paid in full',
    )

    t.equal(network.balance(operator), 3n, 'claim and proof have cost three')
    t.match((await network.report())?.sessions, [{ state: 'sealed', reason: /holds 3 upokt/ }])
    await network.mineTo(14)
    t.strictSame(claimed(network), ['3'], 'the second session is never claimed')
    t.strictSame(network.named('SupplierSlashed'), [])
    t.equal(staked(), stake, 'and costs no stake')
    await network.stop()
    const [first, second] = await network.ledger()
    t.match(first, { outcome: 'settled', settled: worth(3), lost: 0n })
    t.match(second, { outcome: 'unaffordable', served: 3, settled: 0n, lost: worth(3) })
  },
)

t.test('above the base difficulty only relays under the target are claimed', async (t) => {
  const network = await Network.open(t, { params: { service: { targetNumRelays: 12n } } })
  const { devnet } = network
  await network.start()
  await serve(t, network, 24)
  await network.mineTo(13)
  const { targetHash } = difficultyAt(
    devnet.contextAt(devnet.head.height).state,
    SERVICE,
    devnet.head.height,
  )
  t.ok(Number(targetHash[0]) < 0xc0, 'the chain has made it harder')
  let leaves = 0
  for (let n = 0; n < 24; n++) {
    const { request, response, verified } = await network.relay(`question ${n}`)
    t.equal(verified, true, `relay ${n}`)
    if (isApplicable(relayHash(dehydrate(request, response)), targetHash)) leaves++
  }
  await network.mineTo(22)
  t.ok(leaves > 0 && leaves < 24, `${leaves} of 24 are under the target`)
  t.strictSame(claimed(network), ['24', String(leaves)])
  const amount = claimedUpokt(BigInt(leaves) * UNITS, targetHash, PRICE)
  t.equal(
    field(network.named('ClaimSettled').at(-1), 'settled_upokt'),
    `${amount}upokt`,
    'each is paid for those that it stands for',
  )
  await network.stop()
  const entry = (await network.ledger()).at(-1)
  t.match(entry, { served: 24, count: BigInt(leaves), settled: amount, lost: 0n })
})
