/** The engine on a real card: it loads there, answers, lives beside another, and says when it lost the card. */
import { existsSync } from 'node:fs'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { type Ms, ms } from '../../src/base/units.ts'
import type { GpuSample } from '../../src/gpu/sample.ts'
import type { LlamaCppBackend } from '../../src/inference/llamacpp/host.ts'
import { findHardware, greedy, Hardware, MIB, mib, textOf } from '../support/hardware.ts'

const BACK_MS = 120_000
/** No card, for either kind of engine. */
const HIDDEN = { CUDA_VISIBLE_DEVICES: '-1', GGML_VK_VISIBLE_DEVICES: '' }

const found = await findHardware()
if (typeof found === 'string') t.plan(0, found)
else {
  t.setTimeout(600_000)
  await onCard(t, await Hardware.open(found, t))
}

async function onCard(t: Test, machine: Hardware): Promise<void> {
  t.comment(machine.name)
  await t.test('it loads on the card and answers there', (t) => loads(t, machine))
  await t.test('a second engine beside it', (t) => second(t, machine))
  if (machine.kind === 'metal') return
  await t.test('a card that the engine cannot see is missed aloud', (t) => hidden(t, machine))
  await t.test('a card that was lost between two lives is missed aloud', (t) => lost(t, machine))
}

async function loads(t: Test, machine: Hardware): Promise<void> {
  const before = await machine.used()
  const backend = machine.backend()
  await backend.start()
  const { device } = backend.info()
  t.comment(`${device}, ${JSON.stringify(backend.info().facts)}`)
  t.match(device, new RegExp(`^${machine.kind}: \\S`), 'it names a card')
  if (machine.card.vendor === 'nvidia')
    t.ok(device.includes(machine.card.name), `${device} is ${machine.card.name}`)
  t.equal(backend.stats().degraded, undefined)
  const after = await machine.used()
  const { weights } = machine.shape
  t.comment(`took ${mib(after - before)}, weights are ${mib(weights.total)}`)
  t.ok(after - before > (weights.total - weights.embedding) * 0.9, 'the weights are on the card')
  isSeen(t, await machine.look(), backend)
  const first = await textOf(backend, greedy(1))
  t.ok(first.length > 0)
  t.equal(await textOf(backend, greedy(1)), first, 'the same question, the same answer')
  await backend.stop()
}

async function second(t: Test, machine: Hardware): Promise<void> {
  const [one, two] = [machine.backend(), machine.backend()]
  await Promise.all([one.start(), two.start()])
  const look = await machine.look()
  isSeen(t, look, one)
  isSeen(t, look, two)
  const [a, b] = await Promise.all([textOf(one, greedy(2)), textOf(two, greedy(2))])
  t.ok(a.length > 0)
  t.equal(b, a, 'both answer the same')
  await one.stop()
  t.equal(await textOf(two, greedy(2)), a, 'one goes, the other stays')
  await two.stop()
}

/** A kind whose library finds no card does not load at all; one that does loads and says that it is slow. */
async function hidden(t: Test, machine: Hardware): Promise<void> {
  const backend = machine.backend({ environment: { ...machine.environment, ...HIDDEN } })
  const error = await backend.start().then(
    () => undefined,
    (error: unknown) => error,
  )
  if (error !== undefined) return void t.match(error, { code: 'ENGINE_MISSING' })
  t.equal(backend.stats().degraded, 'the graphics card is not used')
  await backend.stop()
}

async function lost(t: Test, machine: Hardware): Promise<void> {
  const environment: Record<string, string> = { ...machine.environment }
  const backend = machine.backend({ gpu: 'auto', contextSize: 512, slots: 1, environment })
  await backend.start()
  const { pid } = backend.stats()
  t.equal(backend.stats().degraded, undefined)
  // Read anew for each process.
  Object.assign(environment, HIDDEN)
  if (pid !== undefined) process.kill(pid, 'SIGKILL')
  const isBack = () => backend.stats().state === 'ready' && backend.stats().pid !== pid
  t.ok(await within(ms(BACK_MS), isBack), 'another engine')
  t.equal(backend.stats().degraded, 'the graphics card is not used')
  t.ok((await textOf(backend, greedy(3, 2))).length >= 0, 'it answers by the processor')
  await backend.stop()
}

async function within(limit: Ms, isSo: () => boolean): Promise<boolean> {
  const end = systemClock.monotonic() + limit
  while (!isSo() && systemClock.monotonic() < end) await systemClock.sleep(ms(50))
  return isSo()
}

/** Where the driver names processes as this system does: in a container it may name others, or none. */
function isSeen(t: Test, { processes }: GpuSample, backend: LlamaCppBackend): void {
  const { pid } = backend.stats()
  const ours = processes?.find((one) => one.pid === pid)
  const isHere = processes?.some((one) => existsSync(`/proc/${one.pid}`)) ?? false
  if (ours === undefined && !(process.platform === 'linux' && isHere)) {
    t.comment('the driver names no processes of this system')
    return
  }
  t.ok(ours !== undefined, `process ${pid} is on the card`)
  if (ours?.memory === undefined) t.comment('the driver does not tell the memory of a process')
  else t.ok(ours.memory > 64 * MIB, `it has ${mib(ours.memory)}`)
}
