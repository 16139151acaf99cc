/** The owner and his machine: the supplier makes room for him, says why, loses nothing and comes back. */
import { type ChildProcess, spawn } from 'node:child_process'
import { copyFile, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { startTime } from '../../src/base/process-time.ts'
import { tellDaemon } from '../../src/ops/admin.ts'
import { field, Network, SERVICE, until } from '../support/network.ts'

const RELAYS = 4
/** A program of the owner's list; its name is its file's. */
const GAME = 'owners-game'
const never = new AbortController().signal

async function open(t: Parameters<typeof Network.open>[0]): Promise<Network> {
  const machine = {
    ...{ programs: [GAME], resumeAfter: '1s', yieldGrace: '1s', temperatureMax: 120 },
    // Programs are looked at, whoever types meanwhile is not.
    ...{ serve: 'schedule', hours: ['daily'], onBattery: true },
  }
  return await Network.open(t, { engine: 'tiny', config: { machine } })
}

/** Plays until it is killed. */
async function play(
  t: Parameters<typeof Network.open>[0],
  network: Network,
): Promise<ChildProcess> {
  const program = join(network.folder, GAME)
  await copyFile('/bin/sleep', program)
  const child = spawn(program, ['120'], { stdio: 'ignore' })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

async function enginePid(network: Network): Promise<number> {
  const text = await readFile(join(network.folder, 'data', `engine-${SERVICE}.json`), 'utf8')
  return JSON.parse(text).pid
}

const ask = async (network: Network) => (await network.relay('What is 17 + 25?')).inner?.status

async function becomes(network: Network, status: number): Promise<void> {
  await until(
    async () => (await ask(network)) === status,
    `a relay is answered with ${status}`,
    () => network.output,
  )
}

t.test('a program of the owner’s list comes first', async (t) => {
  const network = await open(t)
  await network.start()
  for (let n = 0; n < RELAYS; n++) t.equal(await ask(network), 200)
  const pid = await enginePid(network)
  const before = await network.report()
  t.match(before?.owner, { serve: 'schedule', reasons: [], cards: [] })

  const game = await play(t, network)
  let served = RELAYS
  await until(async () => {
    const status = await ask(network)
    if (status === 200) served++
    return status === 429
  }, 'relays are refused')
  await until(async () => (await startTime(pid)) === undefined, 'its engine is gone')
  await until(async () => (await network.report())?.owner?.yields !== undefined, 'it is told')
  const { owner, engines, problems } = (await network.report()) ?? {}
  t.match(owner?.reasons, [{ name: 'program', text: `${GAME} is running` }])
  t.match(owner?.engines, [{ services: [SERVICE], state: 'has yielded' }])
  t.match(engines, [{ state: 'yielding' }])
  t.match(owner?.yields, { count: 1 })
  t.ok((owner?.yields?.p99 ?? 10_000) < 3_000, 'grace and two seconds at most')
  t.strictSame(problems, [], 'that is no fault')

  await network.mineTo(10)
  t.equal(field(network.named('ClaimSettled')[0], 'num_relays'), String(served), 'and is paid')
  game.kill('SIGKILL')
  await becomes(network, 200)
  t.not(await enginePid(network), pid)
})

t.test('a pause by hand holds over a restart, and ends by hand', async (t) => {
  const network = await open(t)
  await network.start()
  t.equal(await ask(network), 200)
  await tellDaemon(network.runFile, 'pause', { note: 'a film' }, never)
  t.equal(await ask(network), 429, 'from the moment that the command is done')
  t.match((await network.report())?.owner?.reasons, [
    { name: 'paused', text: 'paused by hand until you resume it (a film)' },
  ])
  await network.stop()
  await network.start()
  t.equal(await ask(network), 429)
  t.match((await network.report())?.engines, [{ state: 'yielding' }], 'nothing was loaded')
  await tellDaemon(network.runFile, 'resume', {}, never)
  await becomes(network, 200)
})
