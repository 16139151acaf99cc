import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { startTime } from '../../src/base/process-time.ts'
import { ms } from '../../src/base/units.ts'

/** A process that would stay for ever. */
async function stray(t: Test) {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' })
  await once(child, 'spawn')
  t.teardown(() => child.kill('SIGKILL'))
  const { pid } = child
  if (pid === undefined) throw new Error('no process')
  return { pid, exited: once(child, 'exit'), child }
}

t.test('a process has one start time, and another process another', async (t) => {
  const one = await stray(t)
  t.type(await startTime(one.pid), 'string')
  t.equal(await startTime(one.pid), await startTime(one.pid))
  t.not(await startTime(one.pid), await startTime(process.pid))
  one.child.kill('SIGKILL')
  await one.exited
  t.equal(await startTime(one.pid), undefined, 'gone')
})

t.test('a process that is dead and not yet buried counts as gone', async (t) => {
  // Its parent becomes one that never asks how it ended.
  const script = 'sleep 1000 & echo $!; exec sleep 1000'
  const parent = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] })
  t.teardown(() => parent.kill('SIGKILL'))
  const [line] = await once(parent.stdout, 'data')
  const pid = Number(String(line))
  t.type(await startTime(pid), 'string')
  process.kill(pid, 'SIGKILL')
  while ((await startTime(pid)) !== undefined) await systemClock.sleep(ms(1))
  t.doesNotThrow(() => process.kill(pid, 0), 'the number is still taken')
})
