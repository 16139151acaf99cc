import t from 'tap'
import { Gate } from '../../src/miner/gate.ts'
import { session } from '../support/sessions.ts'

const { key } = session({ at: 'serving' })
const turn = () => new Promise((resolve) => setImmediate(resolve))

function openGate(): Gate {
  const gate = new Gate()
  gate.open(key)
  return gate
}

t.test('recording and sealing exclude each other', async (t) => {
  const gate = openGate()
  const steps: string[] = []
  let finish = () => {}
  const recording = gate.record(key, async () => {
    await new Promise<void>((resolve) => {
      finish = resolve
    })
    steps.push('recorded')
  })
  const sealing = gate.seal(key, false, async () => steps.push('root fixed'))
  await turn()
  t.strictSame(steps, [], 'the seal waits for who is writing')
  await t.rejects(
    gate.record(key, async () => steps.push('too late')),
    { code: 'SESSION_SEALED' },
  )
  finish()
  await Promise.all([recording, sealing])
  t.strictSame(steps, ['recorded', 'root fixed'])
  t.throws(() => gate.enter(key), { code: 'SESSION_SEALED' })
})

t.test('a write that fails lets the seal go on', async (t) => {
  const gate = openGate()
  const recording = gate.record(key, async () => {
    await turn()
    throw new Error('disk full')
  })
  const sealing = gate.seal(key, false, async () => 'root')
  await t.rejects(recording, { message: 'disk full' })
  t.equal(await sealing, 'root')
})

t.test('the seal waits for all who are writing', async (t) => {
  const gate = openGate()
  const ends: (() => void)[] = []
  const write = () => new Promise<void>((resolve) => ends.push(resolve))
  const both = [gate.record(key, write), gate.record(key, write)]
  let fixed = false
  const sealing = gate.seal(key, false, async () => {
    fixed = true
    return 'root'
  })
  await turn()
  ends[0]?.()
  await both[0]
  await turn()
  t.equal(fixed, false)
  ends[1]?.()
  t.equal(await sealing, 'root')
})

t.test('a seal without cutting leaves a session alone while a relay runs', async (t) => {
  const gate = openGate()
  const stay = gate.enter(key)
  t.equal(gate.inFlight(key), 1)
  t.equal(await gate.seal(key, false, async () => 'root'), undefined)
  t.equal(stay.signal.aborted, false)
  await gate.record(key, async () => {})
  stay.leave()
  stay.leave()
  t.equal(gate.inFlight(key), 0, 'leaving twice counts once')
  t.equal(await gate.seal(key, false, async () => 'root'), 'root')
})

t.test('a seal that cuts cancels who is inside and does not wait for them', async (t) => {
  const gate = openGate()
  const stay = gate.enter(key)
  t.equal(await gate.seal(key, true, async () => 'root'), 'root')
  t.match(stay.signal.reason, { code: 'SESSION_SEALED' })
  await t.rejects(
    gate.record(key, async () => {}),
    { code: 'SESSION_SEALED' },
  )
})

t.test('a root that could not be written down does not open the session again', async (t) => {
  const gate = openGate()
  await t.rejects(gate.seal(key, false, () => Promise.reject(new Error('disk full'))))
  t.throws(() => gate.enter(key), { code: 'SESSION_SEALED' })
  gate.open(key)
  t.throws(() => gate.enter(key), { code: 'SESSION_SEALED' }, 'nor does opening it')
  t.equal(await gate.seal(key, false, async () => 'root'), 'root', 'the next block tries again')
})

t.test('two seals of one session come one after the other', async (t) => {
  const gate = openGate()
  const steps: string[] = []
  const seal = (name: string) =>
    gate.seal(key, false, async () => {
      steps.push(`${name} begins`)
      await turn()
      steps.push(`${name} ends`)
    })
  await Promise.all([seal('a'), seal('b')])
  t.strictSame(steps, ['a begins', 'a ends', 'b begins', 'b ends'])
})

t.test('what was not opened, or is forgotten, takes nothing and leaves nothing', async (t) => {
  const gate = new Gate()
  const write = () => gate.record(key, async () => 'written')
  t.throws(() => gate.enter(key), { code: 'SESSION_SEALED' })
  await t.rejects(write(), { code: 'SESSION_SEALED' })
  t.equal(gate.inFlight(key), 0)
  t.equal(gate.size, 0)
  gate.open(key)
  const stay = gate.enter(key)
  await gate.seal(key, true, async () => 'root')
  gate.forget(key)
  t.throws(() => gate.enter(key), { code: 'SESSION_SEALED' }, 'a record from before is no way in')
  await t.rejects(write(), { code: 'SESSION_SEALED' })
  stay.leave()
  t.equal(gate.inFlight(key), 0)
  t.equal(gate.size, 0)
})

t.test('a session that was sealed before a restart stays sealed', async (t) => {
  const gate = new Gate()
  gate.markSealed(key)
  gate.open(key)
  t.throws(() => gate.enter(key), { code: 'SESSION_SEALED' })
})
