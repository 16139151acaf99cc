import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { upokt } from '../../src/base/units.ts'
import { addServiceMessage } from '../../src/chain/stake.ts'
import { chainAccess, sendAndWait } from '../../src/cli/chain.ts'
import { EXIT } from '../../src/cli/context.ts'
import { faultIn } from '../../src/cli/stake-check.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { GenesisInput } from '../../src/devnet/genesis.ts'
import { FEATURE_NAMES } from '../../src/inference/features.ts'
import { Admin } from '../../src/ops/admin.ts'
import { command, FakeTerminal } from '../support/command.ts'
import { actor, SERVICE } from '../support/network.ts'
import { report } from '../support/report.ts'
import { OPERATOR, OWNER, Staking } from '../support/staking.ts'
import { FakeUpstream } from '../support/upstream.ts'

const POKT = 1_000_000n
const PUBLISHER = actor('publisher').signer
const MODELS = {
  rpc_type: 'REST',
  request: { path: '/v1/models', method: 'GET' },
  expect: { json_path: '$.data', matches: 'non-empty array' },
}
const CHAT = {
  rpc_type: 'JSON_RPC',
  request: { messages: [{ role: 'user', content: 'hello' }], max_tokens: 5 },
  expect: { json_path: '$.choices[0].message.role', matches: '^assistant$' },
}
const CARD = {
  schema: 'pocket-service-card/v1',
  description: 'Text in, text out.',
  rpc_types: [
    { type: 'REST', intent: 'expected' },
    { type: 'GRPC', intent: 'expected' },
  ],
  apis: ['openai-chat-completions'],
  serving: { backend: 'Any server.', min_ram_gb: 8, healthcheck: [MODELS, CHAT] },
}

class Place {
  readonly staking: Staking
  readonly upstream: FakeUpstream

  constructor(staking: Staking, upstream: FakeUpstream) {
    this.staking = staking
    this.upstream = upstream
  }

  get backend(): Record<string, unknown> {
    return { kind: 'upstream', url: this.upstream.url, model: 'their-name' }
  }

  static async open(t: Test, card: unknown = CARD): Promise<Place> {
    const genesis: Partial<GenesisInput> = {
      accounts: [
        { address: OPERATOR.signer.address, balance: upokt(60_100n * POKT) },
        { address: PUBLISHER.address, balance: upokt(POKT) },
        { address: actor('application').signer.address, balance: upokt(POKT) },
      ],
      services: [{ id: SERVICE, computeUnitsPerRelay: 4_000n, owner: PUBLISHER.address }],
      // Ours is staked already and does not count as another.
      suppliers: [OPERATOR, actor('other 1'), actor('other 2')].map(({ signer }) => ({
        operator: signer.address,
        owner: OWNER,
        services: [SERVICE],
        url: 'https://other.example.org',
      })),
    }
    const upstream = new FakeUpstream()
    await upstream.open()
    t.teardown(() => upstream.close())
    const place = new Place(await Staking.open(t, genesis), upstream)
    await place.publish(card)
    return place
  }

  /** As the owner of the service does. */
  async publish(card: unknown): Promise<void> {
    const terminal = new FakeTerminal({ onSay: this.staking.mineWhenSent })
    const chain = chainAccess(terminal.context, await loadConfig(await this.staking.config()))
    const message = addServiceMessage({
      owner: PUBLISHER.address,
      id: SERVICE,
      name: 'Text generation',
      computeUnitsPerRelay: 4_000n,
      card: utf8(typeof card === 'string' ? card : JSON.stringify(card)),
    })
    await sendAndWait(terminal.context, chain, PUBLISHER, message)
    await chain.rpc.close()
  }

  async dryRun(words: readonly string[] = [], change: Record<string, unknown> = {}) {
    const { backend } = this
    const services = [{ id: SERVICE, backend }]
    const config = await this.staking.config({ services, ...change })
    return await command(['stake', '--dry-run', '--config', config, ...words])
  }
}

t.test('the card is shown, and the engine is asked what it asks', async (t) => {
  const place = await Place.open(t)
  const { status, out, err } = await place.dryRun()
  t.equal(status, EXIT.ok, err)
  for (const line of [
    'service text-generation  Text generation',
    '  card           Text in, text out.',
    '  interfaces     openai-chat-completions',
    '  types          REST (expected), GRPC (expected)',
    '  to be run      Any server.',
    '  needs          8 GB of memory',
    '  checks         2',
  ])
    t.ok(out.includes(`\n${line}\n`), `${line} in:\n${out}`)
  t.match(err, 'warning: the card of text-generation expects GRPC, which is not offered here')
  t.match(err, /asking the engine of text-generation; --no-check leaves that out\n/)
  t.match(err, /\ncheck of text-generation: passed\n/)
  const [first, ...more] = place.upstream.received.map(({ method, path }) => `${method} ${path}`)
  t.equal(first, 'GET /v1/models')
  t.equal(more.at(-1), 'POST /v1/chat/completions')
})

t.test('what other suppliers offer and we do not', async (t) => {
  const place = await Place.open(t, 'nothing that is a card')
  const stake = { amount: '60000POKT', url: 'https://a.example.org', rpcTypes: ['websocket'] }
  const { status, out, err } = await place.dryRun([], { stake })
  t.equal(status, EXIT.ok, err)
  t.match(out, '\n  card           22 bytes that are no service card\n')
  t.match(out, 'reached at       wss://a.example.org (WEBSOCKET)')
  const missing = `2 of 2 other suppliers of ${SERVICE} offer JSON_RPC, which is not offered here`
  t.match(err, `warning: ${missing}`)
  t.notMatch(err, /asking the engine/, 'nothing is asked without a check')
})

t.test('an engine that does not answer as expected is a warning with its reason', async (t) => {
  const place = await Place.open(t)
  place.upstream.behave = (response) => response.writeHead(500).end('secret words')
  // What is said of the server is not tried out.
  const lacks = FEATURE_NAMES.filter((name) => name !== 'chat')
  const backend = { ...place.backend, has: ['chat'], lacks }
  const failed = await place.dryRun(['--json'], { services: [{ id: SERVICE, backend }] })
  t.equal(failed.status, EXIT.ok, failed.err)
  t.match(failed.err, /\nwarning: check of text-generation: failed, it answers with status 502/)
  t.notMatch(failed.err, /secret/)
  t.match(JSON.parse(failed.out).suppliers[0].checks, [{ service: SERVICE, result: 'failed' }])
  const useless = await place.dryRun()
  t.match(useless.err, /failed, ENGINE_FAILED: the upstream answered with status 500/)
  place.upstream.modelsStatus = 401
  const refused = await place.dryRun()
  t.match(refused.err, /failed, ENGINE_FAILED: the upstream refused our credentials/)
  const without = await place.dryRun(['--no-check'])
  t.notMatch(without.err, /check of/)
  t.equal(without.status, EXIT.ok)
})

t.test('a check that cannot be asked is skipped with its reason', async (t) => {
  const place = await Place.open(t, {
    ...CARD,
    serving: { healthcheck: [{ ...CHAT, rpc_type: 'GRPC' }] },
  })
  t.match((await place.dryRun()).err, /skipped, a check of type GRPC cannot be asked here/)
  await place.publish(CARD)
  const elsewhere = await place.dryRun(['--service', SERVICE], {
    services: [{ id: 'another', backend: { kind: 'llamacpp', model: 'tiny' } }],
  })
  t.match(elsewhere.err, /skipped, it is not among the configured services/)
})

t.test('the model that comes along passes a chat check', async (t) => {
  const place = await Place.open(t)
  const { status, err } = await place.dryRun([], {
    services: [
      { id: SERVICE, backend: { kind: 'llamacpp', model: 'tiny', gpu: 'off', maxThreads: 1 } },
    ],
  })
  t.equal(status, EXIT.ok, err)
  t.match(err, /\ncheck of text-generation: passed\n/)
})

t.test('the engine of a daemon that runs here is not loaded a second time', async (t) => {
  const place = await Place.open(t)
  const data = join(place.staking.folder, 'data')
  await mkdir(data)
  const admin = new Admin(
    {
      health: () => [],
      pause: async () => {},
      resume: async () => {},
      report: async () => report(),
      randomBytes: (n) => new Uint8Array(n).fill(1),
      log: silentLog(),
    },
    { host: '127.0.0.1', port: 0, runFile: join(data, 'run.json'), pid: 4242 },
  )
  t.teardown(() => admin.stop())
  await admin.listen()
  const llamacpp = { services: [{ id: SERVICE, backend: { kind: 'llamacpp', model: 'tiny' } }] }
  const skipped = await place.dryRun([], llamacpp)
  t.match(skipped.err, /skipped, a daemon runs here, whose engine is not loaded twice/)
  t.match(
    (await place.dryRun()).err,
    /check of text-generation: passed/,
    'a server takes questions',
  )
})

t.test('what a card expects of an answer', async (t) => {
  const body = utf8(
    JSON.stringify({
      data: [{ id: 'm' }],
      none: [],
      text: 'hello',
      'a-b': { 'c d': 7 },
      nil: null,
    }),
  )
  const result = (jsonPath: string | undefined, matches: string | undefined) =>
    faultIn(body, { jsonPath, matches })?.result ?? 'passed'
  for (const [path, matches, expected] of [
    [undefined, undefined, 'passed'],
    ['$.data', undefined, 'passed'],
    ['data', 'non-empty array', 'passed'],
    ['$.none', 'non-empty array', 'failed'],
    ['$.text', 'non-empty', 'passed'],
    ['$.text', '^hel+o$', 'passed'],
    ['$.text', '^hello!', 'failed'],
    ['$.data[0].id', '^m$', 'passed'],
    ['$.data[1].id', '^m$', 'failed'],
    [`$["a-b"]['c d']`, '^7$', 'passed'],
    ['$.a-b', '"c d":7', 'passed'],
    ['$.nil', undefined, 'failed'],
    ['$.toString', undefined, 'failed'],
    [undefined, 'hello', 'passed'],
    ['$..id', undefined, 'skipped'],
    ['$.data[*]', undefined, 'skipped'],
    ['$.text', '(', 'skipped'],
  ] as const)
    t.equal(result(path, matches), expected, `${path} ${matches}`)
  t.equal(faultIn(utf8('no JSON'), { jsonPath: '$.a', matches: undefined })?.result, 'failed')
})

t.test(
  "a pattern that would take for ever is given up, and has nothing of the program's",
  async (t) => {
    const body = utf8(JSON.stringify({ text: `${'a'.repeat(60)}!` }))
    const { result } = faultIn(body, { jsonPath: '$.text', matches: '^(a+)+$' }) ?? {}
    t.equal(result, 'skipped')
  },
)
