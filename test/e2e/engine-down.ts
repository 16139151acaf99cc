/** Engines that do not start, or come late: what was answered before is claimed, and serving goes on by itself. */
import { copyFile, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { tinyModelPath } from '../../src/config/root.ts'
import { field, Network, type NetworkOptions, SERVICE, until } from '../support/network.ts'
import { FakeUpstream } from '../support/upstream.ts'

const RELAYS = 4

async function served(t: Test, options: NetworkOptions = {}): Promise<Network> {
  const network = await Network.open(t, options)
  await network.start()
  for (let n = 0; n < RELAYS; n++) {
    const relayed = await network.relay(`question ${n}`)
    t.equal(relayed.verified && relayed.inner?.status, 200, `relay ${n}: ${relayed.fault}`)
  }
  await network.stop()
  return network
}

async function paid(t: Test, network: Network): Promise<void> {
  await network.mineTo(10)
  t.equal(field(network.named('ClaimSettled')[0], 'num_relays'), String(RELAYS), 'all is paid')
}

/** Signed, so that a gateway holds it against nobody. */
async function refused(t: Test, network: Network): Promise<void> {
  const relayed = await network.relay('meanwhile')
  t.equal(relayed.verified, true, relayed.fault)
  t.equal(relayed.inner?.status, 429)
}

async function answers(network: Network): Promise<void> {
  await until(
    async () => (await network.relay('again')).inner?.status === 200,
    'it serves again',
    () => network.output,
  )
}

t.test('a server that is away at the start', async (t) => {
  const network = await served(t)
  const { port } = network.upstream
  await network.upstream.close()
  await network.start()
  const report = await network.report()
  t.match(report?.engines, [{ services: [SERVICE], state: 'failed' }])
  t.match(report?.problems[0], /the engine of text-generation is failed: ENGINE_FAILED/)
  await refused(t, network)
  await paid(t, network)
  const back = new FakeUpstream({ contextSize: 4_096 })
  await back.open(port)
  t.teardown(() => back.close())
  await answers(network)
  t.strictSame((await network.report())?.problems, [])
})

t.test('weights that are gone', async (t) => {
  const network = await Network.open(t)
  const weights = join(network.folder, 'weights.gguf')
  const yaml = (await readFile(network.configPath, 'utf8')).replace(
    /backend:[\s\S]*?slots: \d+/,
    'backend: { kind: llamacpp, model: weights.gguf, gpu: "off", contextSize: 256, maxThreads: 1 }',
  )
  await writeFile(network.configPath, yaml)

  await t.test('end the start where nothing waits: the owner is looking', async (t) => {
    await t.rejects(network.start(), { message: /the daemon ended with 1.*MODEL_LOAD/s })
  })

  await t.test('keep nothing from being claimed', async (t) => {
    await copyFile(tinyModelPath(), weights)
    await network.start()
    for (let n = 0; n < RELAYS; n++)
      t.equal((await network.relay('What is 17 + 25?')).inner?.status, 200)
    await network.stop()
    await rm(weights)
    await network.start()
    t.match((await network.report())?.problems[0], /is failed: MODEL_LOAD: .*weights\.gguf/)
    await refused(t, network)
    await paid(t, network)
    await copyFile(tinyModelPath(), weights)
    await answers(network)
    t.match((await network.report())?.engines, [{ model: 'weights', state: 'ready' }])
  })
})
