import t from 'tap'
import { addressOf } from '../../src/protocol/address.ts'
import { Application } from '../../src/protocol/gen/pocket/application/application.ts'
import { type Bench, bench } from '../support/relay-bench.ts'
import { errorOf, isSigned, keys, signed, type Who } from '../support/relay-gateway.ts'

const RING = 'rings 3'
const gateway = addressOf(keys.gateway.publicKey)

t.test('the placeholder signs only while there is no gateway', async (t) => {
  const b = await bench(t)
  const send = (members: readonly Who[], by: Who) => b.send(signed(b.draft(), members, by))
  t.ok(isSigned(await send(['placeholder', 'app'], 'app')))
  t.ok(isSigned(await send(['placeholder', 'app'], 'placeholder')))
  delegate(b)
  b.chain.reach(16)
  t.equal(errorOf(await send(['placeholder', 'app'], 'app')), RING)
  t.equal(b.inference.requests.length, 2)
  t.ok(isSigned(await send(['app', 'gateway'], 'gateway')))
})

function delegate(b: Bench, over: Partial<Application> = {}): void {
  b.chain.publicKeys.set(gateway, keys.gateway.publicKey)
  const before = b.chain.applications.get(b.application)
  b.chain.applications.set(
    b.application,
    Application.fromPartial({ ...before, delegateeGatewayAddresses: [gateway], ...over }),
  )
}

t.test('a gateway that was undelegated is served for that session and no later one', async (t) => {
  const b = await bench(t)
  const list = new Map([[20n, { gatewayAddresses: [gateway] }]])
  delegate(b, { delegateeGatewayAddresses: [], pendingUndelegations: list })
  const send = (at: number) => b.send(signed(b.draft(b.header(at)), ['app', 'gateway'], 'gateway'))
  t.ok(isSigned(await send(15)))
  b.chain.reach(21)
  t.ok(isSigned(await send(15)), 'in grace')
  t.equal(errorOf(await send(21)), RING)
  t.equal(b.inference.requests.length, 2)
})

t.test('a gateway that was delegated a moment ago is served from the next height on', async (t) => {
  const b = await bench(t)
  const send = () => b.send(signed(b.draft(), ['app', 'gateway'], 'gateway'))
  t.equal(errorOf(await send()), RING)
  delegate(b)
  b.chain.reach(16)
  t.ok(isSigned(await send()))
  t.equal(b.chain.count('application'), 2)
})
