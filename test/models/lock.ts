import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { ms } from '../../src/base/units.ts'
import { lock, tryLock } from '../../src/models/lock.ts'

const { signal } = new AbortController()
const SOON = { lookEvery: ms(2) }

t.test('one at a time', async (t) => {
  const path = join(t.testdir(), 'x.lock')
  let [inside, most] = [0, 0]
  const one = async () => {
    await using _held = await lock(systemClock, path, signal, SOON)
    most = Math.max(most, ++inside)
    await systemClock.sleep(ms(12))
    inside--
  }
  await Promise.all(Array.from({ length: 5 }, one))
  t.equal(most, 1)
  t.strictSame(await readdir(join(path, '..')), [], 'nothing is left')
})

t.test('what a dead process left is cleared, by one of those who find it', async (t) => {
  const child = spawn(process.execPath, ['-e', ''], { env: {} })
  const pid = child.pid ?? 0
  await once(child, 'close')
  const left: readonly string[] = [
    JSON.stringify({ pid, started: 'boot 1', nonce: 'a' }),
    JSON.stringify({ pid: process.pid, started: 'another process with this id', nonce: 'a' }),
    '',
    '{"pid":1}',
  ]
  for (const text of left) {
    const path = join(t.testdir(), 'x.lock')
    await writeFile(path, text)
    await writeFile(`${path}.clear`, text)
    let [inside, most] = [0, 0]
    const one = async () => {
      await using _held = await lock(systemClock, path, signal, SOON)
      most = Math.max(most, ++inside)
      await systemClock.sleep(ms(12))
      inside--
    }
    await Promise.all(Array.from({ length: 4 }, one))
    t.equal(most, 1, text)
    t.strictSame(await readdir(join(path, '..')), [])
  }
})

t.test('whoever waits is told for whom, and may go', async (t) => {
  const path = join(t.testdir(), 'x.lock')
  const held = await tryLock(path)
  t.match(JSON.parse(await readFile(path, 'utf8')), { pid: process.pid })
  t.equal(await tryLock(path), undefined)
  const stop = new AbortController()
  const reason = new Error('gone')
  const pids: number[] = []
  const onWait = (pid: number) => {
    pids.push(pid)
    stop.abort(reason)
  }
  await t.rejects(lock(systemClock, path, stop.signal, { onWait }), reason)
  t.strictSame(pids, [process.pid])
  await held?.release()
  const next = await tryLock(path)
  await held?.release()
  t.equal(await tryLock(path), undefined, 'a lock is released by its holder only')
  await next?.release()
})
