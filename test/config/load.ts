import { homedir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { readEnvironment } from '../../src/config/environment.ts'
import { loadConfig, parseConfig } from '../../src/config/load.ts'

const MINIMAL = `
chain:
  rpc: [http://127.0.0.1:26657]
operators:
  - keyFile: operator.json
services:
  - id: text
    backend: { kind: llamacpp, model: tiny }
`

t.test('a small file gets the defaults and absolute paths', async (t) => {
  const folder = t.testdir({ 'supplier.yaml': MINIMAL })
  const config = await loadConfig(join(folder, 'supplier.yaml'))
  t.equal(config.chain.id, 'pocket')
  t.equal(config.relay.minedRequestMax, 512 * 1024)
  t.equal(config.services[0]?.deadline, 55_000)
  t.strictSame(config.relay.listen, { host: '0.0.0.0', port: 8545 })
  t.equal(config.operators[0]?.keyFile, join(folder, 'operator.json'))
  t.equal(config.dataDir, join(homedir(), '.pokt-supplier'))
  t.match(config.services[0]?.backend, { kind: 'llamacpp', model: 'tiny', slots: 'auto' })
  t.throws(() => Object.assign(config.relay, { drain: 1 }), TypeError, 'it is frozen')
})

t.test('all wrong settings are reported at once, with path and remedy', async (t) => {
  const text = `
chain: { rpc: [ftp://x], gasPrise: 1 }
operators: []
relay: { listen: somewhere, drain: soon }
services:
  - { id: "no blanks", backend: { kind: mlx } }
adminn: {}
`
  const error = t.throws(() => parseConfig(text, '/')) as Error & { code: string }
  t.equal(error.code, 'CONFIG_INVALID')
  for (const part of [
    'chain.rpc.0: an http or https URL',
    'chain.gasPrise: there is no such setting',
    'operators:',
    'relay.listen: write an address and a port',
    'relay.drain: write a duration with its unit',
    'services.0.id: a service id',
    'services.0.backend.kind',
    'adminn: there is no such setting',
  ])
    t.ok(error.message.includes(part), `${part} in:\n${error.message}`)
})

t.test('what one setting cannot know of another is checked too', async (t) => {
  const cases: [string, RegExp][] = [
    [
      '  - id: text\n    backend: { kind: upstream, url: "http://x/v1", model: m }',
      /"text" stands there twice/,
    ],
    ['admin: { listen: "0.0.0.0:8546" }', /admin.listen: .*this machine only/],
    ['local: { listen: "0.0.0.0:8547" }', /local.listen: others could use your models/],
    [
      '  - id: other\n    backend: { kind: upstream, model: m }',
      /the backend of "other" needs `url` or `servers`, and not both/,
    ],
    ['relay: { bodyMax: 1KiB }', /minedRequestMax/],
    ['machine: { serve: schedule }', /machine.hours: `serve: schedule` needs them/],
    ['machine: { hours: ["mon 25:00-26:00"] }', /machine.hours: "mon 25:00-26:00": write hours/],
    ['machine: { timeZone: Berlin }', /machine.timeZone: write a time zone such as/],
    [
      'stake: { amount: 5upokt, url: "https://x", revShare: [{address: pokt1mrqt5f7qh8uxs27cjm9t7v9e74a9vvdnq5jva4, percent: 30}] }',
      /add up to 30/,
    ],
    [
      'stake: { url: "https://x", revShare: [{address: pokt1mrqt5f7qh8uxs27cjm9t7v9e74a9vvdnq5jva4, percent: 50}, {address: pokt1mrqt5f7qh8uxs27cjm9t7v9e74a9vvdnq5jva4, percent: 50}] }',
      /stake.revShare: pokt1mrqt5f7qh8uxs27cjm9t7v9e74a9vvdnq5jva4 stands there twice; add its shares up/,
    ],
    [
      'stake: { url: "https://x", rpcTypes: [rest, json_rpc, rest] }',
      /stake.rpcTypes: a type stands there twice; keep one/,
    ],
    ['stake: { url: "https://x", rpcTypes: [] }', /stake.rpcTypes: /],
    ['stake: { url: "https://x", rpcTypes: [grpc] }', /stake.rpcTypes.0: /],
  ]
  for (const [extra, message] of cases)
    t.throws(() => parseConfig(MINIMAL + extra, '/'), { code: 'CONFIG_INVALID', message }, extra)
  const twice = MINIMAL.replace('operators:', 'operators:\n  - keyFile: operator.json')
  t.throws(() => parseConfig(twice, '/'), {
    message: /key file "operator.json" stands there twice/,
  })
})

t.test('durations and sizes have bounds: a timer that is too long runs out at once', async (t) => {
  const faults = (chain: string, relay: string) => {
    const text = MINIMAL.replace('rpc: [', `${chain}\n  rpc: [`) + relay
    try {
      parseConfig(text, '/')
      return ''
    } catch (error) {
      return String((error as Error).message)
    }
  }
  for (const [chain, relay, path] of [
    ['pollEvery: 0s', '', 'chain.pollEvery: write 100ms to 24h, not "0s"'],
    ['pollEvery: 99ms', '', 'chain.pollEvery: write 100ms to 24h'],
    ['timeout: 999999h', '', 'chain.timeout: write 100ms to 24h'],
    ['timeout: 10', '', 'chain.timeout: write a duration with its unit'],
    ['gasPrice: 0.000001', '', 'chain.gasPrice: write a price such as 0.000001upokt'],
    ['', 'relay: { drain: 25h }', 'relay.drain: write 0s to 24h'],
    ['', 'relay: { bodyMax: 0B }', 'relay.bodyMax: write 1KiB to 1GiB'],
    ['', 'relay: { bodyMax: 2GiB }', 'relay.bodyMax: write 1KiB to 1GiB'],
    ['', 'relay: { bodyMax: 20 }', 'relay.bodyMax: write a size with its unit'],
    ['', 'relay: { listen: 8545 }', 'relay.listen: write an address and a port'],
    ['', 'relay: { listen: "a b:80" }', 'relay.listen: write an address and a port'],
    ['', 'relay: { bodyMax: 2TiB }', 'relay.bodyMax: write a size with its unit'],
    ['', 'stake: { amount: 5, url: "https://x" }', 'stake.amount: write an amount such as'],
  ] as const)
    t.match(faults(chain, relay), path, `${chain}${relay}`)
  t.equal(faults('pollEvery: 100ms', 'relay: { drain: 0s }'), '')
})

t.test('an amount is in upokt or in POKT, exact', async (t) => {
  for (const [text, amount] of [
    ['60005000000upokt', 60_005_000_000n],
    ['60005POKT', 60_005_000_000n],
    ['60005.5 POKT', 60_005_500_000n],
    ['0.000001pokt', 1n],
  ] as const) {
    const { stake } = parseConfig(`${MINIMAL}stake: { amount: ${text}, url: "https://x" }`, '/')
    t.equal(stake?.amount, amount, text)
    t.strictSame(stake?.rpcTypes, ['json_rpc', 'rest', 'websocket'])
  }
  for (const text of ['1.0000001POKT', '1e3POKT', '-1POKT', '.5POKT', '5', '5.5upokt', '5mpokt'])
    t.throws(
      () => parseConfig(`${MINIMAL}stake: { amount: ${text}, url: "https://x" }`, '/'),
      { message: /stake.amount: write an amount such as 60005000000upokt or 60005POKT/ },
      text,
    )
})

t.test('what is not there, and what is not YAML', async (t) => {
  await t.rejects(loadConfig('/nowhere/supplier.yaml'), { code: 'CONFIG_MISSING' })
  await t.rejects(loadConfig(t.testdir()), { code: 'CONFIG_UNREADABLE' }, 'a folder')
  t.throws(() => parseConfig('a: *nowhere', '/'), { code: 'CONFIG_YAML' }, 'an alias of nothing')
  t.throws(() => parseConfig('a: [', '/'), { code: 'CONFIG_YAML' })
  t.throws(() => parseConfig('a: 1\na: 2', '/'), { code: 'CONFIG_YAML' })
  t.throws(() => parseConfig('', '/'), { code: 'CONFIG_INVALID' })
})

t.test('an engine sees no secret of the environment', async (t) => {
  const environment = readEnvironment({
    PATH: '/bin',
    POKT_SUPPLIER_PASSPHRASE: 'secret',
    CREDENTIALS_DIRECTORY: '/run/credentials',
    AWS_SECRET: 'x',
    CUDA_VISIBLE_DEVICES: '1',
  })
  t.strictSame(environment.engine, { PATH: '/bin', CUDA_VISIBLE_DEVICES: '1' })
  t.strictSame(environment.npm, { PATH: '/bin' })
  t.equal(environment.passphrase, 'secret')
  t.equal(environment.credentialsDirectory, '/run/credentials')
})
