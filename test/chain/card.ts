import t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { readCard, shown } from '../../src/chain/card.ts'

const card = (fields: object) =>
  readCard(utf8(JSON.stringify({ schema: 'pocket-service-card/v1', ...fields })))

const EMPTY = {
  description: undefined,
  rpcTypes: [],
  apis: [],
  backend: undefined,
  implementations: [],
  minDiskGb: undefined,
  minRamGb: undefined,
  notes: undefined,
  healthChecks: [],
}

t.test('what a card says of a service', async (t) => {
  const healthcheck = [
    {
      rpc_type: 'REST',
      request: { path: '/v1/models', method: 'GET' },
      expect: { json_path: '$.data', matches: 'non-empty array' },
    },
    { rpc_type: 'JSON_RPC', request: { jsonrpc: '2.0', id: 1, method: 'ping' } },
  ]
  const read = card({
    description: 'Inference that speaks the OpenAI interface.',
    rpc_types: [{ type: 'REST', intent: 'expected', backend_hint: 'x' }, { type: 'WEBSOCKET' }],
    apis: ['openai-chat-completions'],
    serving: {
      backend: 'Any server.',
      implementations: ['llama.cpp'],
      min_ram_gb: 8,
      min_disk_gb: 20,
      notes: 'Bring your own model.',
      healthcheck,
    },
    updated: '2026-08-10',
    later: { unknown: true },
  })
  t.strictSame(read, {
    description: 'Inference that speaks the OpenAI interface.',
    rpcTypes: [{ type: 'REST', intent: 'expected' }, { type: 'WEBSOCKET' }],
    apis: ['openai-chat-completions'],
    backend: 'Any server.',
    implementations: ['llama.cpp'],
    minDiskGb: 20,
    minRamGb: 8,
    notes: 'Bring your own model.',
    healthChecks: [
      {
        rpcType: 'REST',
        request: { path: '/v1/models', method: 'GET' },
        expect: { jsonPath: '$.data', matches: 'non-empty array' },
      },
      {
        rpcType: 'JSON_RPC',
        request: { jsonrpc: '2.0', id: 1, method: 'ping' },
        expect: { jsonPath: undefined, matches: undefined },
      },
    ],
  })
  t.strictSame(card({}), EMPTY, 'the schema alone is a card')
})

t.test('what is no card', async (t) => {
  const texts = [
    '',
    'BYOM',
    '[]',
    'null',
    '"x"',
    '{}',
    '{"schema":"pocket-service-card/v2"}',
    '{"schema":1}',
  ]
  for (const text of texts) t.equal(readCard(utf8(text)), undefined, text)
  t.equal(readCard(Uint8Array.of(0x7b, 0xff, 0x7d)), undefined, 'no UTF-8')
  const long = JSON.stringify({ schema: 'pocket-service-card/v1', pad: 'x'.repeat(262_144) })
  t.equal(readCard(utf8(long)), undefined, 'more than the chain takes')
})

t.test('fields of another form count as not there, and the others stay', async (t) => {
  const wrong = [1, null, 'text', ['a'], { a: 1 }, true]
  for (const value of wrong) {
    const read = card({
      description: value === 'text' ? 1 : value,
      rpc_types: [value, { type: 'REST' }],
      apis: typeof value === 'object' ? 7 : value,
      serving: {
        backend: value === 'text' ? {} : value,
        healthcheck: [value, { rpc_type: 'REST' }],
      },
    })
    t.strictSame(read, { ...EMPTY, rpcTypes: [{ type: 'REST' }] }, JSON.stringify(value))
    const flat = card({ rpc_types: value === null ? 3 : 'x', serving: value === 'text' ? 1 : 'y' })
    t.strictSame(flat, EMPTY)
  }
  const pattern = 'x'.repeat(257)
  const check = { rpc_type: 'REST', request: {}, expect: { json_path: pattern, matches: pattern } }
  const [read] = card({ serving: { healthcheck: [check] } })?.healthChecks ?? []
  t.strictSame(read?.expect, { jsonPath: undefined, matches: undefined }, 'a pattern is never cut')
})

t.test('texts cannot move a cursor, and lists end', async (t) => {
  const read = card({
    description: 'a\u001b[2J\nb\u0000c\u202ed\u2028e\u009bf',
    apis: new Array(1_000).fill('x'),
    rpc_types: new Array(1_000).fill({ type: '\u001b]0;title\u0007' }),
    serving: {
      notes: 'y'.repeat(5_000),
      healthcheck: new Array(50).fill({ rpc_type: 'REST', request: {} }),
    },
  })
  t.equal(read?.description, 'a [2J b c d e f')
  t.equal(read?.apis.length, 16)
  t.equal(read?.rpcTypes.length, 16)
  t.equal(read?.rpcTypes[0]?.type, ']0;title')
  t.equal(read?.notes, `${'y'.repeat(300)}…`)
  t.equal(read?.healthChecks.length, 8)
  t.equal(shown('  zwei\tWörter  '), 'zwei Wörter')
})
