/**
 * The reference's own client is answered and paid by our supplier, and what our gateway signs is taken
 * and settled by the reference's miner, on one real chain. Without a `pocketd` it is skipped.
 */
import type { ChildProcess } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { stringify } from 'yaml'
import { attribute } from '../support/chain-events.ts'
import type { Localnet } from '../support/localnet.ts'
import { until } from '../support/network.ts'
import { freshSession, type RealStage, realChain, worth } from '../support/real-stage.ts'
import { RealSupplier } from '../support/real-supplier.ts'

const stage = await realChain(t)
if (stage !== undefined) await bothWays(t, stage)

async function bothWays(t: Test, { chain, events }: RealStage): Promise<void> {
  const ours = await RealSupplier.open(t, chain, { number: 1 })
  const theirs = await RealSupplier.open(t, chain, { number: 2 })
  await Promise.all([ours.stake(), theirs.stake()])
  const [miner] = await Promise.all([startMiner(t, chain, theirs), ours.start()])
  const end = await freshSession(chain)
  const settled = async ({ operator }: RealSupplier, application: string) => {
    const where = {
      supplier_operator_address: operator.address,
      application_address: chain.account(application).address,
      session_end_block_height: String(end),
    }
    const [event] = await events.until(1, 'ClaimSettled', where, end + 13)
    return [
      Number(attribute(event, 'num_relays')),
      attribute(event, 'settled_upokt'),
      attribute(event, 'claim_proof_status_int'),
    ]
  }

  const relays = Promise.all([
    client(chain, ours, 'app1', 4),
    client(chain, ours, 'app2', 3),
    ours.serve(5, 1),
    theirs.serve(8, 2),
  ])

  await t.test('the client believes the answers', async (t) => {
    const [delegated, own] = await relays
    const good = ({ status, stdout, stderr }: typeof own) => [
      status,
      (stdout + stderr).match(/Status code 200/g)?.length,
      (stdout + stderr).match(/❌/g)?.length,
    ]
    t.strictSame(good(delegated), [0, 4, undefined], 'of an application with a gateway')
    t.strictSame(good(own), [0, 3, undefined], 'and of one without')
    t.equal(ours.upstream.chats, 12, 'each was worked for')
    t.equal(theirs.upstream.chats, 8)
  })

  await t.test('and its relays are paid, beside those of our gateway', async (t) => {
    t.strictSame(await settled(ours, 'app1'), [9, `${worth(9)}upokt`, '1'])
    t.strictSame(await settled(ours, 'app2'), [3, `${worth(3)}upokt`, '1'])
    await ours.idle()
    t.equal((await ours.report())?.earnings.settledUpokt, String(worth(9) + worth(3)))
  })

  await t.test('our gateway is served by the reference, and its claim settled', async (t) => {
    t.equal(theirs.answered.get(end), 8)
    t.strictSame(await settled(theirs, 'app1'), [8, `${worth(8)}upokt`, '1'])
    t.equal(miner.exitCode, null, 'it still runs')
  })
}

/** Sends relays one after the other, signed by the application. */
async function client(chain: Localnet, to: RealSupplier, application: string, count: number) {
  await chain.importKey(application)
  const payload = JSON.stringify({ messages: [{ role: 'user', content: 'hello' }] })
  const where = ['--node', chain.node, '--grpc-addr', chain.grpc, '--grpc-insecure=true']
  return await chain.pocketd.try([
    ...['relayminer', 'relay', '--keyring-backend', 'test', ...where],
    ...['--app', chain.account(application).address, '--supplier', to.operator.address],
    ...['--supplier-public-endpoint-override', `${to.relayUrl}/v1/chat/completions`],
    ...['--payload', payload, '--count', String(count)],
  ])
}

/** The reference's miner in the place of ours: the same stake, the same backend. */
async function startMiner(t: Test, chain: Localnet, supplier: RealSupplier): Promise<ChildProcess> {
  const { operator, relayUrl, upstream, folder } = supplier
  await chain.importKey(operator.name)
  const config = {
    default_signing_key_names: [operator.name],
    smt_store_path: join(folder, 'smt'),
    pocket_node: {
      query_node_rpc_url: chain.node,
      query_node_grpc_url: `tcp://${chain.grpc}`,
      tx_node_rpc_url: chain.node,
    },
    suppliers: [
      {
        service_id: chain.serviceId,
        listen_url: relayUrl,
        service_config: { backend_url: new URL(upstream.url).origin },
      },
    ],
    metrics: { enabled: false, addr: '127.0.0.1:0' },
    pprof: { enabled: false, addr: '127.0.0.1:0' },
    ping: { enabled: false, addr: '127.0.0.1:0' },
  }
  const path = join(folder, 'relayminer.yaml')
  const log = join(folder, 'relayminer.log')
  await writeFile(path, stringify(config))
  const gas = ['--gas', 'auto', '--gas-prices', '0.000001upokt', '--gas-adjustment', '1.5']
  const keys = ['--keyring-backend', 'test', '--chain-id', chain.options.chainId]
  const child = chain.pocketd.launch(
    ['relayminer', 'start', '--config', path, ...keys, ...gas, '--log_level', 'info'],
    log,
  )
  t.teardown(() => child.kill('SIGKILL'))
  await until(async () => {
    const said = await readFile(log, 'utf8')
    if (child.exitCode !== null) throw new Error(`the miner has ended: ${said.slice(-2_000)}`)
    return /[sS]tarting relay ?[pP]roxy|starting relay server|listening/i.test(said)
  }, 'the miner listens')
  return child
}
