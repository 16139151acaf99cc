import t from 'tap'
import { concat, unhex } from '../../src/base/bytes.ts'
import { serviceConfigFault } from '../../src/devnet/configs.ts'
import { readMessage } from '../../src/devnet/messages.ts'
import { addressFault, headerFault, serviceIdFault, stakeFault } from '../../src/devnet/validate.ts'
import { MsgSend } from '../../src/protocol/gen/cosmos/bank/bank.ts'
import { SessionHeader } from '../../src/protocol/gen/pocket/session/session.ts'
import type { SupplierServiceConfig } from '../../src/protocol/gen/pocket/shared/shared.ts'
import { WHO } from '../support/settling.ts'
import { rows } from '../support/vectors.ts'

const { owner, operator, rival } = WHO
const SEND = '/cosmos.bank.v1beta1.MsgSend'

interface HeaderRow {
  readonly bytes: string
  readonly valid: boolean
  readonly error?: string
  readonly note: string
}

t.test('headers are refused in the words of the chain', async (t) => {
  for (const row of rows<HeaderRow>('session.jsonl', 'header-validate')) {
    const fault = headerFault(SessionHeader.decode(unhex(row.bytes)))
    t.equal(fault === undefined, row.valid, `${row.id}: ${row.note}`)
    // What is wrong inside an address is told in other words.
    if (row.error !== undefined && !/decoding bech32|max length/.test(row.error))
      t.equal(fault, row.error, `${row.id}: ${row.note}`)
  }
})

t.test('addresses', async (t) => {
  t.equal(addressFault(owner), undefined)
  t.equal(addressFault(''), 'empty address string is not allowed')
  t.equal(addressFault('  '), 'empty address string is not allowed')
  t.equal(addressFault('abc'), 'decoding bech32 failed: invalid bech32 string length 3')
  t.equal(addressFault('abcdefghij'), 'decoding bech32 failed: invalid separator index -1')
  for (const text of [
    owner.slice(0, -1),
    `${owner.slice(0, -1)}Q`,
    owner.replace('pokt', 'cosmos'),
  ])
    t.type(addressFault(text), 'string', text)
})

t.test('service ids and stakes', async (t) => {
  t.equal(serviceIdFault('a-b_C9'), undefined)
  t.equal(serviceIdFault('x'.repeat(42)), undefined)
  for (const id of ['', 'x'.repeat(43), 'a b', 'a.b', 'ä']) t.type(serviceIdFault(id), 'string', id)
  const stake = (amount: string, denom = 'upokt') => stakeFault({ amount, denom })
  t.equal(stake('1'), undefined)
  t.equal(stake('0'), 'invalid coin amount: 0upokt <= 0')
  t.equal(stake('1', 'pokt'), 'invalid coin denom: expected upokt, got pokt')
  t.match(stake('-1'), /^while parsing coin -1upokt; \(invalid decimal coin expression/)
  t.match(stake('1', 'u'), /^while parsing coin 1u; /)
})

function config(change: Partial<SupplierServiceConfig> = {}): SupplierServiceConfig {
  return {
    serviceId: 'text-gen',
    endpoints: [{ url: 'http://127.0.0.1:1', rpcType: 3, configs: [] }],
    revShare: [{ address: owner, revSharePercentage: 100n }],
    ...change,
  }
}

const at = (url: string, rpcType: 0 | 1 | 3 = 3) =>
  config({ endpoints: [{ url, rpcType, configs: [] }] })

const sharing = (...shares: [address: string, percent: bigint][]) =>
  config({
    revShare: shares.map(([address, revSharePercentage]) => ({ address, revSharePercentage })),
  })

t.test('services that a supplier offers', async (t) => {
  const good = [
    config(),
    at('https://relay.example/path?x=1', 1),
    at('wss://relay.example:8545'),
    sharing([owner, 1n], [operator, 99n]),
  ]
  for (const one of good)
    t.equal(serviceConfigFault([one]), undefined, JSON.stringify(one.endpoints))
  t.equal(serviceConfigFault([config(), config({ serviceId: 'b' })]), undefined)
  t.equal(serviceConfigFault([config(), config()]), 'duplicate service ID: text-gen')

  const shown = (url: string, type = 'rpc_type:JSON_RPC ') =>
    `service_id:"text-gen" endpoints:<url:"${url}" ${type}> rev_share:<address:"${owner}" rev_share_percentage:100 > `
  const bad: [config: SupplierServiceConfig, fault: string][] = [
    [config({ serviceId: '' }), 'empty service ID: invalid service ID'],
    [
      config({ endpoints: [] }),
      `endpoints cannot be nil: service_id:"text-gen" rev_share:<address:"${owner}" rev_share_percentage:100 > `,
    ],
    [at(''), `endpoint.Url cannot be empty: ${shown('')}`],
    [at('grpc://x:1'), `invalid endpoint.Url: ${shown('grpc://x:1')}`],
    [at('relay.example'), `invalid endpoint.Url: ${shown('relay.example')}`],
    [at('http:relay'), `invalid endpoint.Url: ${shown('http:relay')}`],
    [at('http://x', 0), `endpoint.RpcType cannot be UNKNOWN_RPC: ${shown('http://x', '')}`],
    [sharing(), 'no rev share configurations: invalid revenue share configuration'],
    [
      sharing([owner, 50n], [owner, 50n]),
      `duplicate rev share address: ${owner}: invalid revenue share configuration`,
    ],
    [
      sharing([owner, 100n], [operator, 0n]),
      'invalid rev share value 0; must be between 0 and 100: invalid revenue share configuration',
    ],
    [
      sharing([owner, 101n]),
      'invalid rev share value 101; must be between 0 and 100: invalid revenue share configuration',
    ],
    [
      sharing([owner, 60n], [operator, 60n]),
      'invalid rev share percentage sum 120; must be equal to 100: invalid revenue share configuration',
    ],
    [
      sharing(['', 100n]),
      'rev share address cannot be empty: : invalid revenue share configuration',
    ],
    [
      sharing(['x', 100n]),
      'invalid rev share address x; (decoding bech32 failed: invalid bech32 string length 1): invalid revenue share configuration',
    ],
  ]
  for (const [one, fault] of bad) t.equal(serviceConfigFault([one]), fault, fault)
})

function sending(change: Partial<MsgSend> = {}) {
  const amount = [{ denom: 'upokt', amount: '1' }]
  const message = { fromAddress: owner, toAddress: rival, amount, ...change }
  return readMessage({ typeUrl: SEND, value: MsgSend.encode(message).finish() })
}

t.test('sending money', async (t) => {
  const message = sending()
  t.match(message, { typeUrl: SEND, module: 'bank', signer: owner })
  message.check()
  const cases: [change: Partial<MsgSend>, number: number, log: RegExp][] = [
    [{ fromAddress: '' }, 7, /^invalid from address: empty address string is not allowed: /],
    [{ toAddress: 'x' }, 7, /^invalid to address: decoding bech32 failed: /],
    [{ amount: [] }, 10, /^: invalid coins$/],
    [{ amount: [{ denom: 'upokt', amount: '0' }] }, 10, /^0upokt: invalid coins$/],
    [{ amount: [{ denom: 'upokt', amount: '-5' }] }, 10, /^-5upokt: invalid coins$/],
  ]
  for (const [change, number, log] of cases)
    t.throws(() => sending(change).check(), { codespace: 'sdk', number, message: log }, String(log))
})

t.test('what is not a known message is refused', async (t) => {
  const refused = (reason: string) => ({
    codespace: 'sdk',
    number: 2,
    message: `${reason}: tx parse error: tx parse error`,
  })
  for (const typeUrl of ['/pocket.proof.MsgNoSuchThing', 'constructor', ''])
    t.throws(
      () => readMessage({ typeUrl, value: new Uint8Array(0) }),
      refused(`unable to resolve type URL ${typeUrl}`),
      typeUrl,
    )
  const value = MsgSend.encode(MsgSend.fromPartial({ fromAddress: owner })).finish()
  t.throws(
    () => readMessage({ typeUrl: SEND, value: concat(value, unhex('f80101')) }),
    refused('unknown or non-canonical fields'),
    'a field that the chain does not know',
  )
  t.throws(() => readMessage({ typeUrl: SEND, value: value.slice(0, -1) }), {
    message: /: tx parse error: tx parse error$/,
  })
})
