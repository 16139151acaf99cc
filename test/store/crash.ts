/** What is left after a kill, a torn file and a full disk: every relay that was answered, once. */
import { type ChildProcess, execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, cp, readdir, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { hex } from '../../src/base/bytes.ts'
import { openStore, type Store } from '../../src/store/db.ts'
import { incompressible, record, relay, sessionKey, storeDeps } from '../support/store.ts'

const WRITER = new URL('../support/store-writer.js', import.meta.url)
const key = sessionKey()

interface Writer {
  readonly process: ChildProcess
  /** Names of the relays that it said were on disk. */
  readonly answered: Set<string>
  readonly failures: string[]
  until(met: () => boolean): Promise<void>
  kill(): Promise<void>
}

/** Records relays in another process. */
async function startWriter(t: Test, path: string, lanes: number, prefix: string): Promise<Writer> {
  const child = fork(WRITER, [path, `${lanes}`, prefix], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  const ended = once(child, 'close')
  t.teardown(() => child.kill('SIGKILL'))
  const answered = new Set<string>()
  const failures: string[] = []
  let look = () => {}
  let open = false
  if (child.stdout === null) throw new Error('the writer has no output')
  createInterface(child.stdout).on('line', (line) => {
    const [word, value = ''] = line.split(' ')
    if (word === 'open') open = true
    if (word === 'ok') answered.add(value)
    if (word === 'failed') failures.push(value)
    look()
  })
  const until = async (met: () => boolean) => {
    const seen = new Promise<void>((resolve) => {
      look = () => met() && resolve()
      look()
    })
    const gone = ended.then(([code, signal]) =>
      Promise.reject(new Error(`the writer ended by itself: ${code ?? signal}`)),
    )
    await Promise.race([seen, gone])
  }
  const kill = async () => {
    child.kill('SIGKILL')
    await ended
  }
  await until(() => open)
  return { process: child, answered, failures, until, kill }
}

/** Counts of the session's parts, after a check that they belong together. */
async function checkWhole(t: Test, store: Store): Promise<number> {
  let count = 0
  for await (const leaf of store.relays.leaves(key)) {
    count++
    if ((await store.relays.relay(key, leaf.path)) === undefined)
      t.fail(`leaf ${hex(leaf.path)} has no relay`)
  }
  t.equal(await store.relays.served(key), count, 'a replay key for each leaf')
  return count
}

/** Answered relays that are not there, exactly as they were recorded. */
async function lost(store: Store, names: Iterable<string>): Promise<string[]> {
  const missing: string[] = []
  for (const name of names) {
    const { replayKey, leaf } = incompressible(name, 2_000)
    const found = leaf && (await store.relays.relay(key, leaf.path))
    const same = found && leaf && hex(found) === hex(leaf.relay)
    if (!same || !(await store.relays.seen(key, replayKey))) missing.push(name)
  }
  return missing
}

async function newestLog(path: string): Promise<{ file: string; size: number }> {
  const logs = (await readdir(path)).filter((name) => name.endsWith('.log')).sort()
  const file = join(path, logs.at(-1) ?? '')
  return { file, size: (await stat(file)).size }
}

t.test('a killed process has every relay that it answered for, once', async (t) => {
  const path = join(t.testdir(), 'db')
  const answered = new Set<string>()
  for (const round of [1, 2]) {
    const writer = await startWriter(t, path, 16, `round${round}`)
    await writer.until(() => writer.answered.size >= 150 * round)
    await writer.kill()
    t.strictSame(writer.failures, [])
    for (const name of writer.answered) answered.add(name)

    const store = await openStore(path, storeDeps())
    t.strictSame(await lost(store, answered), [], `of ${answered.size} answered`)
    const count = await checkWhole(t, store)
    t.ok(count >= answered.size && count <= answered.size + 16 * round, `${count} relays`)
    for (const name of [...answered].slice(-20))
      t.equal(await store.relays.record(key, incompressible(name, 2_000)), 'replayed', name)
    await store.close()
  }
})

t.test('a second process is told which one has the database', async (t) => {
  const path = join(t.testdir(), 'db')
  const writer = await startWriter(t, path, 1, 'a')
  const locked = { code: 'LOCKED', retryable: false, data: { path, pid: writer.process.pid } }
  await t.rejects(openStore(path, storeDeps()), locked)
  const before = writer.answered.size
  await writer.until(() => writer.answered.size > before)
  await writer.kill()
  const store = await openStore(path, storeDeps())
  t.strictSame(await lost(store, writer.answered), [], 'and the pid file it left locks nobody out')
  await store.close()
})

t.test('a torn log has what was on disk before the tear', async (t) => {
  const folder = t.testdir()
  const path = join(folder, 'db')
  const store = await openStore(path, storeDeps())
  await store.sessions.put(record(key))
  /** How long the log was when each relay was answered. */
  const sizes: number[] = []
  for (let n = 0; n < 60; n++) {
    await store.relays.record(key, incompressible(`${n}`, n % 7 === 0 ? 40_000 : 2_000))
    sizes.push((await newestLog(path)).size)
  }
  const total = sizes.at(-1) ?? 0
  const near = sizes.slice(5, 8).flatMap((size) => [size - 1, size, size + 1])
  const cuts = [total, ...near, ...fc.sample(fc.integer({ min: sizes[0] ?? 0, max: total }), 12)]
  for (const [i, cut] of cuts.entries()) {
    const copy = join(folder, `copy-${i}`)
    await cp(path, copy, { recursive: true })
    await truncate((await newestLog(copy)).file, Math.min(cut, total))
    const torn = await openStore(copy, storeDeps())
    const whole = sizes.filter((size) => size <= cut).length
    t.equal(await checkWhole(t, torn), whole, `cut at ${cut} of ${total}`)
    t.equal((await torn.sessions.get(key))?.state.at, 'serving', `cut at ${cut}`)
    t.equal(await torn.relays.record(key, relay('next')), 'recorded', `cut at ${cut}`)
    await torn.close()
  }
  await store.close()
})

t.test('garbage behind what was synced takes nothing with it', async (t) => {
  const folder = t.testdir()
  const path = join(folder, 'db')
  const store = await openStore(path, storeDeps())
  const names = Array.from({ length: 40 }, (_, i) => `${i}`)
  for (const name of names) await store.relays.record(key, incompressible(name, 2_000))
  const tails = fc.sample(fc.uint8Array({ minLength: 1, maxLength: 5_000 }), 8)
  for (const [i, tail] of [new Uint8Array(4_096), ...tails].entries()) {
    const copy = join(folder, `copy-${i}`)
    await cp(path, copy, { recursive: true })
    await appendFile((await newestLog(copy)).file, tail)
    const torn = await openStore(copy, storeDeps())
    t.equal(await checkWhole(t, torn), names.length, `${tail.length} bytes`)
    await torn.close()
  }
  await store.close()
})

const limitOf = promisify(execFile)
const options = await limitOf('prlimit', ['--version']).then(
  () => ({}),
  () => ({ skip: 'needs prlimit' }),
)

t.test('a disk that was full loses nothing that was answered', options, async (t) => {
  const path = join(t.testdir(), 'db')
  const writer = await startWriter(t, path, 4, 'a')
  const limit = (size: string) =>
    limitOf('prlimit', ['--pid', `${writer.process.pid}`, `--fsize=${size}:unlimited`])
  await writer.until(() => writer.answered.size > 50)
  // Large enough for a part of the next record, and too small for any new file.
  for (const size of [(await newestLog(path)).size + 700, 64]) {
    const before = writer.failures.length
    await limit(`${size}`)
    await writer.until(() => writer.failures.length > before + 4)
  }
  const full = writer.answered.size
  await limit('unlimited')
  await writer.until(() => writer.answered.size > full + 100)
  await writer.kill()
  t.ok(
    writer.failures.every((code) => code === 'DISK'),
    `${writer.failures}`,
  )

  const store = await openStore(path, storeDeps())
  t.strictSame(await lost(store, writer.answered), [], `of ${writer.answered.size} answered`)
  await checkWhole(t, store)
  await store.close()
})
