/** How long the owner waits for the memory of his card, while an answer runs. */
import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import type { Verdict } from '../../src/gpu/verdict.ts'
import { Berth } from '../../src/inference/berth.ts'
import { Inference } from '../../src/inference/inference.ts'
import { Steward } from '../../src/node/steward.ts'
import { findHardware, greedy, Hardware, MIB, mib, never } from '../support/hardware.ts'

const TRIALS = 20
const STEWARD_TRIALS = 5
const FREE_MS = 2_000
/** More than an answer of this test ever gets. */
const LONG = 7_500
const SIZE = { contextSize: 8_192, slots: 1 }
const SERVICE = 'hardware'

const found = await findHardware()
if (typeof found === 'string') t.plan(0, found)
else {
  t.setTimeout(900_000)
  await onCard(t, await Hardware.open(found, t))
}

async function onCard(t: Test, machine: Hardware): Promise<void> {
  t.comment(machine.name)
  await t.test('unloaded in the middle of an answer', (t) => unloads(t, machine))
  await t.test('made to yield by the steward, without grace', (t) => yields(t, machine))
}

function berthOn(machine: Hardware): Berth {
  const create = async () => machine.backend(SIZE)
  return new Berth({ clock: systemClock, create }, machine.backend(SIZE).info())
}

async function unloads(t: Test, machine: Hardware): Promise<void> {
  const free = await machine.used()
  const berth = berthOn(machine)
  t.teardown(() => berth.stop())
  const times: number[] = []
  for (let trial = 0; trial < TRIALS; trial++) {
    await berth.load()
    const held = await machine.used()
    const { broken } = await running((onText) => direct(berth, onText))
    const since = systemClock.monotonic()
    const gone = berth.unload()
    times.push(await freed(machine, { free, held, since }))
    await gone
    t.ok(await broken, `trial ${trial}: the answer was broken off`)
    t.equal(berth.stats().state, 'unloaded')
  }
  judge(t, times)
}

async function yields(t: Test, machine: Hardware): Promise<void> {
  const free = await machine.used()
  const berth = berthOn(machine)
  const inference = new Inference({
    ...{ clock: systemClock, log: silentLog(), randomBytes: (length) => randomBytes(length) },
    services: [{ serviceId: SERVICE, backend: berth }],
  })
  t.teardown(() => inference[Symbol.asyncDispose]())
  const tenants = [{ services: [SERVICE], cards: () => [machine.card.id] }]
  const deps = { clock: systemClock, log: silentLog(), inference, tenants }
  const steward = new Steward(deps, { grace: ms(0) })
  await inference.start()
  const times: number[] = []
  for (let trial = 0; trial < STEWARD_TRIALS; trial++) {
    while (!berth.isLoaded) await systemClock.sleep(ms(20))
    const held = await machine.used()
    const { broken } = await running((onText) => asked(inference, onText))
    const since = systemClock.monotonic()
    steward.take(owner(machine, true))
    times.push(await freed(machine, { free, held, since }))
    await steward.settled()
    t.ok(await broken, `trial ${trial}: the answer was broken off`)
    t.match(steward.reports(), [{ state: 'has yielded' }])
    steward.take(owner(machine, false))
    await steward.settled()
  }
  const { count, p50, p99 } = steward.yieldTimes ?? {}
  t.comment(
    `the steward says: ${count} times, p50 ${p50?.toFixed(0)} ms, p99 ${p99?.toFixed(0)} ms`,
  )
  judge(t, times)
}

function owner({ card }: Hardware, isHere: boolean): Verdict {
  const reasons = isHere ? [{ name: 'input', text: 'the owner is here' } as const] : []
  return { machine: [], gpus: new Map([[card.id, reasons]]), since: systemClock.monotonic() }
}

/** @returns whether the answer came to its end. @throws what it was broken off with */
async function direct(berth: Berth, onText: () => void): Promise<boolean> {
  await berth.generate(greedy(1, LONG), { signal: never(), onDelta: onText })
  return true
}

/** The same as gateways ask. */
async function asked(inference: Inference, onText: () => void): Promise<boolean> {
  const messages = greedy(1).messages
  const body = utf8(JSON.stringify({ messages, max_tokens: LONG, temperature: 0, stream: true }))
  const request = { method: 'POST', url: '/v1/chat/completions', headers: [], body }
  const deadline = ms(systemClock.monotonic() + 600_000)
  const options = { signal: never(), deadline, onEvents: onText }
  const { status, failed, refused } = await inference.answer(SERVICE, request, options)
  return status === 200 && failed === undefined && refused === undefined
}

/** Resolves when the answer has begun. @returns whether it was broken off */
async function running(
  answer: (onText: () => void) => Promise<boolean>,
): Promise<{ broken: Promise<boolean> }> {
  let begun: () => void = () => {}
  const first = new Promise<void>((resolve) => {
    begun = resolve
  })
  const broken = answer(() => begun()).then(
    (isWhole) => !isWhole,
    () => true,
  )
  await Promise.race([first, broken])
  return { broken }
}

/** Milliseconds until the memory is seen to be free again. */
async function freed(
  machine: Hardware,
  { free, held, since }: { free: number; held: number; since: number },
): Promise<number> {
  const enough = free + Math.max(64 * MIB, (held - free) * 0.05)
  if (held <= enough) throw new Error(`nothing was loaded: ${mib(held)} of ${mib(free)} before`)
  for (;;) {
    const now = await machine.usedNow()
    const took = systemClock.monotonic() - since
    if (now <= enough || took > 10 * FREE_MS) return took
    await systemClock.sleep(ms(5))
  }
}

function judge(t: Test, times: readonly number[]): void {
  const sorted = [...times].sort((a, b) => a - b)
  const at = (part: number) => sorted[Math.ceil(part * sorted.length) - 1] ?? Number.NaN
  t.comment(
    `${times.length} times: p50 ${at(0.5).toFixed(0)} ms, p99 ${at(0.99).toFixed(0)} ms until the card is free`,
  )
  t.ok(at(1) <= FREE_MS, `at most ${at(1).toFixed(0)} ms`)
}
