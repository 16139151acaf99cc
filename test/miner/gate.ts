import t from 'tap'
import { Gate } from '../../src/miner/gate.ts'
import { session } from '../support/sessions.ts'

const { key } = session({ at: 'serving' })
const turn = () => new Promise((resolve) => setImmediate(resolve))

t.test('recording and sealing exclude each other', async (t) => {
  const gate = new Gate()
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

t.test('a seal without cutting leaves a session alone while a relay runs', async (t) => {
  const gate = new Gate()
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
  const gate = new Gate()
  const stay = gate.enter(key)
  t.equal(await gate.seal(key, true, async () => 'root'), 'root')
  t.match(stay.signal.reason, { code: 'SESSION_SEALED' })
  await t.rejects(
    gate.record(key, async () => {}),
    { code: 'SESSION_SEALED' },
  )
})

t.test('a root that could not be written down does not open the session again', async (t) => {
  const gate = new Gate()
  await t.rejects(gate.seal(key, false, () => Promise.reject(new Error('disk full'))))
  t.throws(() => gate.enter(key), { code: 'SESSION_SEALED' })
  t.equal(await gate.seal(key, false, async () => 'root'), 'root', 'the next block tries again')
})
