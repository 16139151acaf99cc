import t from 'tap'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import type { ReasonName, Verdict } from '../../src/gpu/verdict.ts'
import { Steward, type Tenant } from '../../src/node/steward.ts'
import { ManualClock } from '../support/clock.ts'

const GRACE = ms(5_000)

/** An inference that writes down what it is told, and whose answers end when a test says so. */
class Told {
  readonly calls: string[] = []
  readonly #running: (() => void)[] = []
  #answers = 0

  hold(): void {
    this.#answers++
  }

  end(): void {
    this.#answers = 0
    for (const resolve of this.#running.splice(0)) resolve()
  }

  async pause({ cancel }: { cancel: boolean }, services: readonly string[] = []): Promise<void> {
    this.calls.push(`${cancel ? 'cancel' : 'pause'} ${services.join(' ')}`)
    if (cancel) this.end()
    else if (this.#answers > 0) await new Promise<void>((resolve) => this.#running.push(resolve))
  }

  async unload(services: readonly string[] = []): Promise<void> {
    this.calls.push(`unload ${services.join(' ')}`)
  }

  resume(services: readonly string[] = []): void {
    this.calls.push(`resume ${services.join(' ')}`)
  }
}

const verdict = (
  machine: readonly ReasonName[],
  gpus: Readonly<Record<string, ReasonName>> = {},
): Verdict => ({
  machine: machine.map((name) => ({ name, text: name })),
  gpus: new Map(Object.entries(gpus).map(([id, name]) => [id, [{ name, text: name }]])),
  since: ms(0),
})
const FREE = verdict([])

function setUp(tenants: readonly Tenant[] = [{ services: ['a'], cards: () => [] }]) {
  const clock = new ManualClock()
  const inference = new Told()
  const steward = new Steward({ clock, log: silentLog(), inference, tenants }, { grace: GRACE })
  const take = async (one: Verdict) => {
    steward.take(one)
    await clock.advance(0)
  }
  return { clock, inference, steward, take }
}

t.test('the owner comes and goes', async (t) => {
  const { inference, steward, take, clock } = setUp()
  await take(FREE)
  t.strictSame(inference.calls, [], 'it serves from the beginning')
  t.equal(steward.yieldTimes, undefined)
  await take(verdict(['input']))
  t.strictSame(inference.calls, ['pause a', 'cancel a', 'unload a'])
  t.match(steward.reports(), [{ state: 'has yielded', reasons: [{ name: 'input' }] }])
  t.match(steward.yieldTimes, { count: 1, p50: 0 })
  await take(verdict(['battery']))
  t.equal(inference.calls.length, 3, 'another reason is no other yield')
  await take(FREE)
  t.equal(inference.calls.at(-1), 'resume a')
  t.match(steward.reports(), [{ state: 'serves', reasons: [] }])
  t.equal(clock.sleeping, 0, 'no timer is left')
})

t.test('running answers have the grace, and no more', async (t) => {
  const { clock, inference, steward, take } = setUp()
  inference.hold()
  await take(verdict(['input']))
  t.strictSame(inference.calls, ['pause a'], 'nothing new at once')
  t.match(steward.reports(), [{ state: 'yields' }])
  await clock.advance(4_000)
  inference.end()
  await steward.settled()
  t.strictSame(inference.calls, ['pause a', 'cancel a', 'unload a'])
  t.match(steward.yieldTimes, { count: 1, p50: 4_000, p99: 4_000 })
  await take(FREE)
  inference.hold()
  await take(verdict(['paused']))
  await clock.advance(4_999)
  t.equal(inference.calls.at(-1), 'pause a')
  await clock.advance(1)
  await steward.settled()
  t.strictSame(inference.calls.slice(-2), ['cancel a', 'unload a'])
  t.match(steward.yieldTimes, { count: 2, p50: 4_000, p99: 5_000 })
})

t.test('an owner who leaves while it yields gets a yield first, and then a service', async (t) => {
  const { inference, steward, take } = setUp()
  inference.hold()
  await take(verdict(['input']))
  await take(FREE)
  t.strictSame(inference.calls, ['pause a'])
  inference.end()
  await steward.settled()
  t.strictSame(inference.calls, ['pause a', 'cancel a', 'unload a', 'resume a'])
})

t.test('one card yields while another serves', async (t) => {
  const { inference, steward, take } = setUp([
    { services: ['a', 'b'], cards: () => ['one'] },
    { services: ['c'], cards: () => ['two'] },
    { services: ['d'], cards: () => ['one', 'two'] },
  ])
  await take(verdict([], { one: 'gpu-load' }))
  t.strictSame(
    steward.reports().map(({ state }) => state),
    ['has yielded', 'serves', 'has yielded'],
  )
  t.ok(inference.calls.includes('unload a b'))
  t.notOk(inference.calls.some((call) => call.endsWith(' c')))
})

t.test('a model goes to another card that may be used', async (t) => {
  let cards = ['one']
  const move = (now: Verdict) => {
    const other = ['one', 'two'].find((id) => !now.gpus.has(id))
    if (other === undefined || now.machine.length > 0) return false
    cards = [other]
    return true
  }
  const { inference, steward, take } = setUp([{ services: ['a'], cards: () => cards, move }])
  await take(verdict([], { one: 'gpu-load' }))
  t.strictSame(inference.calls, ['pause a', 'cancel a', 'unload a', 'resume a'])
  t.strictSame(cards, ['two'])
  await take(verdict([], { one: 'gpu-load', two: 'heat' }))
  t.match(steward.reports(), [{ state: 'has yielded', reasons: [{ name: 'heat' }] }])
})

t.test('an engine that does not end as it should is told and left behind', async (t) => {
  const { inference, steward, take } = setUp()
  inference.unload = async () => {
    throw new Error('stuck')
  }
  await take(verdict(['input']))
  t.match(steward.reports(), [{ state: 'has yielded' }])
  await take(FREE)
  t.match(steward.reports(), [{ state: 'serves' }])
})

t.test('follows verdicts one after the other', async (t) => {
  const { inference, steward } = setUp()
  await steward.follow(
    (async function* () {
      yield verdict(['input'])
      await steward.settled()
      yield FREE
    })(),
  )
  await steward.settled()
  t.strictSame(inference.calls, ['pause a', 'cancel a', 'unload a', 'resume a'])
})
