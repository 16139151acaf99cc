import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../../../src/base/clock.ts'
import { silentLog } from '../../../src/base/log.ts'
import { startTime } from '../../../src/base/process-time.ts'
import { endLeftover, forgetEngine, recordEngine } from '../../../src/inference/llamacpp/orphan.ts'

const deps = { clock: systemClock, log: silentLog() }

/** A process that would stay for ever. */
async function stray(t: Test) {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' })
  await once(child, 'spawn')
  t.teardown(() => child.kill('SIGKILL'))
  const { pid } = child
  if (pid === undefined) throw new Error('no process')
  return { pid, exited: once(child, 'exit'), child }
}

const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  )

t.test('an engine of an earlier run is ended', async (t) => {
  const path = join(t.testdir(), 'engine.json')
  const { pid, exited } = await stray(t)
  await recordEngine(path, pid)
  t.equal(await endLeftover(deps, path), true)
  t.strictSame((await exited)[1], 'SIGKILL')
  t.equal(await isThere(path), false)
  t.equal(await endLeftover(deps, path), false, 'nothing is left')
})

t.test('a process that only has the same number is left alone', async (t) => {
  const path = join(t.testdir(), 'engine.json')
  const { pid } = await stray(t)
  await recordEngine(path, pid)
  const record = JSON.parse(await readFile(path, 'utf8'))
  await writeFile(path, JSON.stringify({ ...record, started: `${record.started}1` }))
  t.equal(await endLeftover(deps, path), false)
  t.type(await startTime(pid), 'string', 'it still runs')
  t.equal(await isThere(path), false)
})

t.test('a file that says nothing useful', async (t) => {
  for (const text of ['', '{', '{}', '{"pid":1,"started":"x"}', '{"pid":-1,"started":"x"}', '[]']) {
    const path = join(t.testdir({ 'engine.json': text }), 'engine.json')
    t.equal(await endLeftover(deps, path), false, text)
    t.equal(await isThere(path), false, text)
  }
})

t.test('a process that is gone is not written down', async (t) => {
  const path = join(t.testdir(), 'engine.json')
  const { pid, child, exited } = await stray(t)
  child.kill('SIGKILL')
  await exited
  await recordEngine(path, pid)
  t.equal(await isThere(path), false)
  await forgetEngine(path)
})
