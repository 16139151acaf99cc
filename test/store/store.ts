import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Level } from 'level'
import t, { type Test } from 'tap'
import { createLog } from '../../src/base/log.ts'
import { height } from '../../src/base/units.ts'
import { openStore, STORE_DEFAULTS, type Store, tablesOf } from '../../src/store/db.ts'
import { Disk } from '../../src/store/disk.ts'
import { StoreError } from '../../src/store/errors.ts'
import type { SessionKey, SessionState } from '../../src/store/sessions.ts'
import { OpenStore } from '../../src/store/store.ts'
import { entry, incompressible, record, relay, sessionKey, storeDeps } from '../support/store.ts'

const SETTLED: SessionState = { at: 'done', outcome: 'settled' }
const key = sessionKey()

async function entriesOf(store: Store): Promise<SessionKey[]> {
  const keys: SessionKey[] = []
  for await (const one of store.ledger.entries()) keys.push(one.key)
  return keys
}

async function serve(store: Store, key: SessionKey, relays: number, size = 100): Promise<void> {
  const served = Array.from({ length: relays }, (_, n) =>
    store.relays.record(key, incompressible(`${key.sessionId} ${n}`, size)),
  )
  await Promise.all(served)
}

t.test('finishing a session books it and drops its relays', async (t) => {
  await using store = await openStore(join(t.testdir(), 'db'), storeDeps())
  const other = sessionKey(60, 'other')
  for (const one of [key, other]) {
    await store.sessions.put(record(one))
    await serve(store, one, 5)
  }
  await store.finish(record(key, SETTLED), entry(key))
  t.strictSame((await store.sessions.get(key))?.state, SETTLED)
  t.strictSame(await entriesOf(store), [key])
  t.equal(await store.relays.served(key), 0)
  t.equal(await store.relays.served(other), 5)
  await store.finish(record(key, SETTLED), entry(key))
  t.equal((await store.ledger.totals()).sessions, 1, 'twice is once')
})

t.test('finishing a session that is not done, or under another name, is our bug', async (t) => {
  await using store = await openStore(join(t.testdir(), 'db'), storeDeps())
  await serve(store, key, 1)
  const bug = { name: 'AssertionError' }
  await t.rejects(store.finish(record(key), entry(key)), bug)
  await t.rejects(store.finish(record(key, SETTLED), entry(sessionKey(61))), bug)
  t.equal(await store.relays.served(key), 1)
  t.strictSame(await entriesOf(store), [])
})

/** A disk on which everything after the first so many writes fails. */
class FailingDisk extends Disk {
  left = Number.POSITIVE_INFINITY

  override alone(work: () => Promise<void>): Promise<void> {
    if (this.left-- > 0) return super.alone(work)
    return Promise.reject(new StoreError('DISK', 'no space left', { retryable: true }))
  }
}

async function openFailing(t: Test) {
  const folder = join(t.testdir(), 'db')
  const level = new Level<Uint8Array, Uint8Array>(folder, {
    keyEncoding: 'view',
    valueEncoding: 'view',
  })
  await level.open()
  const lines: string[] = []
  const log = createLog('warn', { write: (line: string) => lines.push(line) })
  const disk = new FailingDisk({ level, log })
  const deps = { folder, disk, tables: tablesOf(disk), log }
  const open = () => new OpenStore(deps, STORE_DEFAULTS)
  t.teardown(() => disk.close())
  return { disk, open, lines }
}

t.test('a session is done even if its relays cannot be dropped yet', async (t) => {
  const { disk, open, lines } = await openFailing(t)
  const store = open()
  await serve(store, key, 5)
  disk.left = 1
  await store.finish(record(key, SETTLED), entry(key))
  t.match(lines, [/relays of a done session not dropped yet/])
  disk.left = Number.POSITIVE_INFINITY
  t.equal(await store.relays.served(key), 5)
  const next = open()
  await next.recover()
  t.equal(await next.relays.served(key), 0, 'the next open drops them')
  t.strictSame(next.strays, [])
  t.strictSame(await entriesOf(next), [key])
  await next.close()
})

t.test('a session that cannot be booked keeps everything', async (t) => {
  const { disk, open } = await openFailing(t)
  const store = open()
  await store.sessions.put(record(key))
  await serve(store, key, 5)
  disk.left = 0
  await t.rejects(store.finish(record(key, SETTLED), entry(key)), { code: 'DISK' })
  t.equal((await store.sessions.get(key))?.state.at, 'serving')
  t.strictSame(await entriesOf(store), [])
  t.equal(await store.relays.served(key), 5)
})

t.test('a crash between booking and dropping is made good at the next open', async (t) => {
  const path = join(t.testdir(), 'db')
  const open = sessionKey(120, 'still open')
  const before = await openStore(path, storeDeps())
  for (const one of [key, open]) {
    await serve(before, one, 3)
    await before.sessions.put(record(one))
  }
  // What `finish` writes first, and no more.
  await before.sessions.put(record(key, SETTLED))
  await before.ledger.book(entry(key))
  await before.close()
  await using after = await openStore(path, storeDeps())
  t.equal(await after.relays.served(key), 0)
  t.equal(await after.relays.served(open), 3, 'a session that is not done keeps its relays')
  t.strictSame(after.strays, [])
})

t.test('relays without a session record are evidence: kept and told', async (t) => {
  const path = join(t.testdir(), 'db')
  const before = await openStore(path, storeDeps())
  await serve(before, key, 3)
  await before.relays.record(sessionKey(1), { replayKey: relay('no leaf').replayKey })
  await before.close()
  const lines: string[] = []
  const log = createLog('warn', { write: (line: string) => lines.push(line) })
  await using after = await openStore(path, { ...storeDeps(), log })
  t.strictSame(after.strays.map(({ end }) => end).sort(), [1, 60])
  t.equal(await after.relays.served(key), 3)
  const told = lines.map((line) => JSON.parse(line))
  t.match(told, [
    { level: 'warn', supplier: key.operator, msg: 'relays without a session record kept' },
    { level: 'warn', msg: 'relays without a session record kept' },
  ])
})

t.test('pruning forgets old done sessions and nothing else', async (t) => {
  const path = join(t.testdir(), 'db')
  const store = await openStore(path, storeDeps())
  for (const end of [60, 120, 180])
    await store.finish(record(sessionKey(end), SETTLED), entry(sessionKey(end)))
  const open = sessionKey(60, 'still open')
  await store.sessions.put(record(open))
  await serve(store, open, 2)
  t.equal(await store.prune(height(180)), 2)
  t.equal(await store.prune(height(180)), 0)
  const left = (await store.sessions.all()).map(({ key }) => [key.end, key.sessionId])
  t.strictSame(left, [
    [60, open.sessionId],
    [180, sessionKey(180).sessionId],
  ])
  t.equal(await store.relays.served(open), 2)
  t.equal((await store.ledger.totals()).sessions, 3, 'the ledger keeps them')
  await store.close()
})

t.test('the space of finished sessions is given back', async (t) => {
  const path = join(t.testdir(), 'db')
  const options = { ...STORE_DEFAULTS, writeBufferBytes: 256 << 10 }
  const store = await openStore(path, storeDeps(), options)
  const keys = [60, 120, 180].map((end) => sessionKey(end))
  for (const one of keys) await serve(store, one, 700, 2_000)
  // A file may go while it is counted.
  const sizeOf = (name: string) =>
    stat(join(path, name)).then(
      ({ size }) => size,
      () => 0,
    )
  const used = async () => {
    const names = (await readdir(path)).filter((name) => /\.(ldb|log)$/.test(name))
    const sizes = await Promise.all(names.map(sizeOf))
    return sizes.reduce((sum, size) => sum + size, 0)
  }
  const before = await used()
  for (const one of keys.slice(0, 2)) await store.finish(record(one, SETTLED), entry(one))
  await store.close()
  const after = await used()
  t.ok(before > 3 * 600 * 2_000, `${before} bytes before`)
  t.ok(after < before / 2, `${after} bytes after, of ${before}`)
})

t.test('any part of the store makes it no longer empty', async (t) => {
  const folder = t.testdir()
  const parts: Record<string, (store: Store) => Promise<unknown>> = {
    session: (store) => store.sessions.put(record(key)),
    entry: (store) => store.ledger.book(entry(key)),
    relay: (store) => store.relays.record(key, { replayKey: relay('x').replayKey }),
  }
  for (const [name, put] of Object.entries(parts)) {
    await using store = await openStore(join(folder, name), storeDeps())
    t.equal(await store.isEmpty(), true, name)
    await put(store)
    t.equal(await store.isEmpty(), false, name)
  }
})

t.test('closing waits for the relays that are queued', async (t) => {
  const path = join(t.testdir(), 'db')
  const store = await openStore(path, storeDeps())
  const served = serve(store, key, 200)
  await store.close()
  await served
  const closed = { code: 'STORE_CLOSED' }
  await t.rejects(store.relays.record(key, relay('late')), closed)
  await t.rejects(store.sessions.all(), closed)
  await t.rejects(store.finish(record(key, SETTLED), entry(key)), closed)
  await using again = await openStore(path, storeDeps())
  t.equal(await again.relays.served(key), 200)
})
