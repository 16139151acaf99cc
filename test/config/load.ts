import { homedir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig, parseConfig, readEnvironment } from '../../src/config/load.ts'

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
  t.equal(config.relay.requestTimeout, 60_000)
  t.strictSame(config.relay.listen, { host: '0.0.0.0', port: 8545 })
  t.equal(config.operators[0]?.keyFile, join(folder, 'operator.json'))
  t.equal(config.dataDir, join(homedir(), '.pokt-supplier'))
  t.match(config.services[0]?.backend, { kind: 'llamacpp', model: 'tiny', slots: 4 })
  t.throws(() => Object.assign(config.relay, { drain: 1 }), TypeError, 'it is frozen')
})

t.test('all wrong settings are reported at once, with path and remedy', async (t) => {
  const text = `
chain: { rpc: [ftp://x], gasPrise: 1 }
operators: []
relay: { listen: somewhere, requestTimeout: 60, drain: soon }
services:
  - { id: "no blanks", backend: { kind: ollama } }
adminn: {}
`
  const error = t.throws(() => parseConfig(text, '/')) as Error & { code: string }
  t.equal(error.code, 'CONFIG_INVALID')
  for (const part of [
    'chain.rpc.0: an http or https URL',
    'chain.gasPrise: there is no such setting',
    'operators:',
    'relay.listen: write an address and a port',
    'relay.requestTimeout:',
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
    ['relay: { bodyMax: 1KiB }', /minedRequestMax/],
    [
      'stake: { amount: 5upokt, url: "https://x", revShare: [{address: pokt1mrqt5f7qh8uxs27cjm9t7v9e74a9vvdnq5jva4, percent: 30}] }',
      /add up to 30/,
    ],
  ]
  for (const [extra, message] of cases)
    t.throws(() => parseConfig(MINIMAL + extra, '/'), { code: 'CONFIG_INVALID', message }, extra)
})

t.test('what is not there, and what is not YAML', async (t) => {
  await t.rejects(loadConfig('/nowhere/supplier.yaml'), { code: 'CONFIG_MISSING' })
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
