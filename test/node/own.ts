import t from 'tap'
import { OwnProcesses } from '../../src/node/own.ts'
import { ManualClock } from '../support/clock.ts'

t.test('a process that has just ended is still known to have been ours', async (t) => {
  const clock = new ManualClock()
  let now = new Set([4711])
  const own = new OwnProcesses({ clock, now: () => now })
  t.strictSame([...own.all()], [4711])
  now = new Set([4712])
  await clock.advance(60_000)
  t.strictSame([...own.all()], [4711, 4712])
  await clock.advance(60_000)
  t.strictSame([...own.all()], [4712])
})
