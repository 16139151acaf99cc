import t from 'tap'
import { parseConfig } from '../../src/config/load.ts'
import { NETWORK_NAMES, NETWORKS, networkOf } from '../../src/config/networks.ts'

const REST = `
operators: [{ keyFile: operator.json }]
services: [{ id: text, backend: { kind: llamacpp, model: tiny } }]
`
const chainOf = (text: string) => parseConfig(text + REST, '/').chain
const PRICE = { numerator: 1n, denominator: 1_000_000n }

t.test('a network gives node, chain id and gas price', async (t) => {
  t.strictSame(chainOf('network: beta'), {
    rpc: ['https://sauron-rpc.beta.infra.pocket.network'],
    id: 'pocket-lego-testnet',
    gasPrice: PRICE,
    pollEvery: 3_000,
    timeout: 10_000,
  })
  t.match(chainOf('network: mainnet'), { id: 'pocket', rpc: { length: 2 } })
  t.match(chainOf('network: local'), { id: 'pocket', rpc: ['http://127.0.0.1:26657'] })
})

t.test('what is written under chain goes before it, setting by setting', async (t) => {
  const chain = chainOf(
    'network: beta\nchain: { rpc: ["http://a:1", "http://b:2"], gasPrice: 0.01upokt, timeout: 5s }',
  )
  t.match(chain, {
    rpc: ['http://a:1', 'http://b:2'],
    id: 'pocket-lego-testnet',
    gasPrice: { numerator: 1n, denominator: 100n },
    timeout: 5_000,
  })
  t.equal(chainOf('network: beta\nchain: { id: other }').id, 'other')
})

t.test('a configuration without a name goes on working as the main network', async (t) => {
  t.match(chainOf('chain: { rpc: ["http://a:1"] }'), {
    rpc: ['http://a:1'],
    id: 'pocket',
    gasPrice: PRICE,
  })
  const mine = chainOf('chain: { rpc: ["http://a:1"], id: mine, gasPrice: 5upokt }')
  t.match(mine, { id: 'mine', gasPrice: { numerator: 5n } })
})

t.test('neither a name nor a node, and a name that nobody has', async (t) => {
  const neither = /^chain.rpc: name a node, or write network: mainnet, beta or local$/m
  t.throws(() => chainOf(''), { code: 'CONFIG_INVALID', message: neither })
  t.throws(() => chainOf('chain: { id: mine }'), { message: neither })
  const unknown = /^network: write mainnet, beta or local; for another network write chain.id/
  for (const name of ['main', 'testnet', 'toString', '1'])
    t.throws(() => chainOf(`network: ${name}`), { code: 'CONFIG_INVALID', message: unknown }, name)
})

t.test('every entry of the table is a configuration of its own', async (t) => {
  for (const name of NETWORK_NAMES) {
    const { rpc, chainId } = NETWORKS[name]
    const again = chainOf(`chain: { rpc: ${JSON.stringify(rpc)}, id: ${chainId} }`)
    t.strictSame(again, chainOf(`network: ${name}`), name)
    for (const page of [NETWORKS[name].faucet, NETWORKS[name].explorer])
      if (page !== undefined) t.equal(new URL(page).protocol, 'https:', name)
  }
})

t.test('the network of a chain id, for what differs in public', async (t) => {
  t.equal(networkOf(undefined, 'pocket'), NETWORKS.mainnet)
  t.equal(networkOf(undefined, 'pocket-lego-testnet'), NETWORKS.beta)
  t.equal(networkOf('local', 'pocket'), NETWORKS.local)
  t.equal(networkOf(undefined, 'mine'), undefined)
})
