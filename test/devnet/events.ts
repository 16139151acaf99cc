import t from 'tap'
import { height } from '../../src/base/units.ts'
import {
  applicationJson,
  attributeOf,
  gatewayJson,
  jsonText,
  marked,
  plainEvent,
  supplierJson,
  typedEvent,
} from '../../src/devnet/events.ts'
import { Application } from '../../src/protocol/gen/pocket/application/application.ts'
import { Gateway } from '../../src/protocol/gen/pocket/gateway/gateway.ts'
import { Supplier } from '../../src/protocol/gen/pocket/shared/shared.ts'
import { json } from '../support/vectors.ts'

const pairs = (event: ReturnType<typeof plainEvent>) =>
  event.attributes.map(({ key, value, index }) => [key, value, index])

t.test('typed events are sorted, and their values are JSON', async (t) => {
  const event = typedEvent('pocket.x.EventY', {
    z_count: 7,
    height: BigInt(height(12)),
    address: 'pokt1',
    is_true: false,
    nothing: null,
    map: { b: '1upokt', a: 2n },
    list: [1n, 'x'],
  })
  t.equal(event.type, 'pocket.x.EventY')
  t.same(pairs(event), [
    ['address', '"pokt1"', true],
    ['height', '"12"', true],
    ['is_true', 'false', true],
    ['list', '["1","x"]', true],
    ['map', '{"b":"1upokt","a":"2"}', true],
    ['nothing', 'null', true],
    ['z_count', '7', true],
  ])
})

t.test('plain events keep their text, and marks come last', async (t) => {
  const event = marked(plainEvent('transfer', { sender: 'b', recipient: 'a' }), 'msg_index', '0')
  t.same(pairs(event), [
    ['sender', 'b', true],
    ['recipient', 'a', true],
    ['msg_index', '0', true],
  ])
  t.equal(attributeOf(event, 'recipient'), 'a')
  t.equal(attributeOf(event, 'amount'), undefined)
})

t.test('actors are written with all their fields', async (t) => {
  const stake = { denom: 'upokt', amount: '5' }
  t.equal(
    jsonText(gatewayJson(Gateway.fromPartial({ address: 'g', stake }))),
    '{"address":"g","stake":{"denom":"upokt","amount":"5"},"unstake_session_end_height":"0","metadata":null}',
  )
  const application = Application.fromPartial({
    address: 'a',
    stake,
    serviceConfigs: [{ serviceId: 's' }],
    delegateeGatewayAddresses: ['g'],
    pendingUndelegations: new Map([
      [12n, { gatewayAddresses: ['h'] }],
      [8n, { gatewayAddresses: ['i'] }],
    ]),
  })
  t.match(
    jsonText(applicationJson(application)),
    '"pending_undelegations":{"8":{"gateway_addresses":["i"]},"12":{"gateway_addresses":["h"]}}',
  )
  const supplier = Supplier.fromPartial({
    operatorAddress: 'o',
    stake,
    services: [
      {
        serviceId: 's',
        endpoints: [{ url: 'http://x', rpcType: 3 }],
        revShare: [{ address: 'w', revSharePercentage: 100n }],
      },
    ],
  })
  t.match(
    jsonText(supplierJson(supplier)),
    '"services":[{"service_id":"s","endpoints":[{"url":"http://x","rpc_type":"JSON_RPC","configs":[]}],"rev_share":[{"address":"w","rev_share_percentage":"100"}]}]',
  )
})

interface Recorded {
  readonly result: {
    readonly events: readonly {
      type: string
      attributes: readonly { key: string; value: string }[]
    }[]
  }
}

t.test('recorded typed events have sorted keys and values of JSON', async (t) => {
  const typed = Object.values(json<Record<string, Recorded>>('chain/txs.json'))
    .flatMap(({ result }) => result.events)
    .filter(({ type }) => type.startsWith('pocket.'))
  t.ok(typed.length > 5)
  for (const { type, attributes } of typed) {
    const fields = attributes.filter(({ key }) => key !== 'msg_index' && key !== 'mode')
    const keys = fields.map(({ key }) => key)
    t.same(keys, [...keys].sort(), type)
    for (const { key, value } of fields)
      t.equal(jsonText(JSON.parse(value)), value, `${type}.${key}`)
  }
})
