import t from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { ms } from '../../src/base/units.ts'

t.test('a sleep ends when its signal says so', async (t) => {
  const controller = new AbortController()
  const long = systemClock.sleep(ms(60_000), controller.signal)
  controller.abort(new Error('enough'))
  await t.rejects(long, { message: 'enough' })
  await t.rejects(systemClock.sleep(ms(1), controller.signal), { message: 'enough' })
  const before = systemClock.monotonic()
  await systemClock.sleep(ms(5))
  t.ok(systemClock.monotonic() - before >= 4)
  t.ok(systemClock.now() > 1_700_000_000_000)
})
