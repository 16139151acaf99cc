import { cp, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Level } from 'level'
import t, { type Test } from 'tap'
import { createLog } from '../../src/base/log.ts'
import { openStore, STORE_DEFAULTS } from '../../src/store/db.ts'
import { STORE_ERRORS } from '../../src/store/errors.ts'
import { pidFile } from '../../src/store/folder.ts'
import { incompressible, relay, sessionKey, storeDeps } from '../support/store.ts'

const open = (path: string) => openStore(path, storeDeps())
const key = sessionKey()

/** A database with two relays in it, closed; kept in table files by opening it twice. */
async function madeBefore(t: Test): Promise<string> {
  const path = join(t.testdir(), 'db')
  for (const name of ['one', 'two']) {
    const store = await open(path)
    await store.relays.record(key, relay(name))
    await store.close()
  }
  return path
}

/** Name and size of each file, but not LevelDB's diary, which every attempt begins anew. */
async function contents(path: string): Promise<string[]> {
  const names = (await readdir(path)).filter((name) => !/^(LOG|LOG\.old|LOCK)$/.test(name))
  const sizes = names.map(async (name) => `${name} ${(await stat(join(path, name))).size}`)
  return (await Promise.all(sizes)).sort()
}

t.test('a new store is empty, owner-only and keeps what is put in', async (t) => {
  const path = join(t.testdir(), 'deep', 'down', 'db')
  const store = await open(path)
  t.equal(await store.isEmpty(), true)
  if (process.platform !== 'win32') t.equal((await stat(path)).mode & 0o777, 0o700)
  await store.relays.record(key, relay('one'))
  t.equal(await store.isEmpty(), false)
  await store.close()
  await store.close()
  const again = await open(path)
  t.equal(await again.isEmpty(), false)
  t.equal(await again.relays.served(key), 1)
  await again.close()
})

t.test('a folder that is there and empty is taken, and closed to others', async (t) => {
  const path = join(t.testdir(), 'db')
  await mkdir(path, { mode: 0o755 })
  await (await open(path)).close()
  if (process.platform !== 'win32') t.equal((await stat(path)).mode & 0o777, 0o700)
})

t.test('the process is named beside the folder while it has it', async (t) => {
  const path = join(t.testdir(), 'db')
  await writeFile(pidFile(path), '99999999\n')
  const store = await open(`${path}/`)
  t.equal(await readFile(`${path}.pid`, 'utf8'), `${process.pid}\n`)
  const locked = { code: 'LOCKED', data: { path, pid: process.pid } }
  await t.rejects(open(path), locked)
  await writeFile(pidFile(path), 'nonsense')
  const error = await open(path).catch((error: unknown) => error)
  t.match(error, { code: 'LOCKED', data: { path } })
  t.notMatch(error, { data: { pid: Number } }, 'without a number that is none')
  t.equal(await store.relays.record(key, relay('one')), 'recorded', 'and the first goes on')
  await store.close()
  await t.rejects(stat(pidFile(path)), { code: 'ENOENT' })
})

t.test('the database of another program is refused', async (t) => {
  const path = join(t.testdir(), 'db')
  const level = new Level(path)
  await level.put('something', 'else')
  await level.close()
  await t.rejects(open(path), { code: 'FOREIGN', data: { path } })
  const again = new Level(path)
  t.equal(await again.get('something'), 'else')
  await again.sublevel('meta').put('magic', 'another')
  await again.close()
  await t.rejects(open(path), { code: 'FOREIGN' }, 'also one with the same sublevel')
})

t.test('a database that nobody wrote into is taken', async (t) => {
  const path = join(t.testdir(), 'db')
  const level = new Level(path)
  await level.open()
  await level.close()
  await (await open(path)).close()
})

t.test('another schema is refused', async (t) => {
  const path = await madeBefore(t)
  const level = new Level(path)
  const meta = level.sublevel('meta')
  t.equal(await meta.get('magic'), 'pokt-supplier')
  t.equal(await meta.get('schema'), '1')
  t.match(await meta.get('created'), /^\d{4}-\d\d-\d\dT/)
  await meta.put('schema', '2')
  await level.close()
  await t.rejects(open(path), { code: 'VERSION', data: { path, found: '2', wanted: '1' } })
  await t.rejects(open(path), { code: 'VERSION' }, 'and the lock is free after each try')
})

t.test('folders with other files are refused and left as they are', async (t) => {
  const path = t.testdir({
    photos: { 'cat.jpg': 'x' },
    file: 'x',
    mixed: { 'cat.jpg': 'x', '000001.ldb': 'x' },
  })
  for (const name of ['photos', 'mixed', 'file']) {
    const before = await stat(join(path, name))
    await t.rejects(open(join(path, name)), { code: 'FOREIGN', retryable: false }, name)
    t.equal((await stat(join(path, name))).mode, before.mode, name)
  }
  t.strictSame(await readdir(join(path, 'photos')), ['cat.jpg'])
  t.strictSame((await readdir(join(path, 'mixed'))).sort(), ['000001.ldb', 'cat.jpg'])
})

t.test('what a crash while making the database left is taken', async (t) => {
  const path = t.testdir({ LOCK: '', LOG: 'x', 'MANIFEST-000001': 'x', '000001.dbtmp': 'x' })
  const store = await open(path)
  t.equal(await store.isEmpty(), true)
  await store.close()
})

t.test('a damaged database is refused, and nothing in it is changed', async (t) => {
  const path = await madeBefore(t)
  const names = await readdir(path)
  const find = (pattern: RegExp) => names.find((name) => pattern.test(name)) ?? ''
  const damages: Record<string, (copy: string) => Promise<void>> = {
    'CURRENT is gone': (copy) => rm(join(copy, 'CURRENT')),
    'CURRENT is empty': (copy) => writeFile(join(copy, 'CURRENT'), ''),
    'the manifest is short': (copy) => truncate(join(copy, find(/^MANIFEST/)), 10),
    'a table is gone': (copy) => rm(join(copy, find(/\.ldb$/))),
  }
  for (const [what, damage] of Object.entries(damages)) {
    const copy = join(t.testdirName, what.replaceAll(' ', '-'))
    await cp(path, copy, { recursive: true })
    await damage(copy)
    const before = await contents(copy)
    await t.rejects(open(copy), { code: 'CORRUPT', retryable: false }, what)
    t.strictSame(await contents(copy), before, what)
  }
  t.match(STORE_ERRORS.CORRUPT, /Nothing was deleted/)
})

t.test('a damaged table is noticed when it is read', async (t) => {
  const path = await madeBefore(t)
  const tables = (await readdir(path)).filter((name) => name.endsWith('.ldb'))
  for (const name of tables) await writeFile(join(path, name), Buffer.alloc(500, 1))
  await t.rejects(open(path), { code: 'CORRUPT' })
})

t.test('a log that is damaged in the middle is told', async (t) => {
  const folder = t.testdir()
  const path = join(folder, 'db')
  const store = await open(path)
  for (let n = 0; n < 50; n++) await store.relays.record(key, incompressible(`${n}`, 2_000))
  const copy = join(folder, 'copy')
  await cp(path, copy, { recursive: true })
  await store.close()
  const file = join(copy, (await readdir(copy)).find((name) => name.endsWith('.log')) ?? '')
  const bytes = await readFile(file)
  bytes[40_000] = (bytes[40_000] ?? 0) ^ 1
  await writeFile(file, bytes)
  const lines: string[] = []
  const log = createLog('warn', { write: (line: string) => lines.push(line) })
  const damaged = await openStore(copy, { ...storeDeps(), log })
  await damaged.close()
  const said = lines
    .map((line) => JSON.parse(line))
    .filter(({ msg }) => /log was damaged/.test(msg))
  t.match(said, [{ level: 'warn', component: 'store', bytes: Number }])
  t.ok(said[0]?.bytes > 1_000)
})

t.test('its options reach the queue', async (t) => {
  const path = join(t.testdir(), 'db')
  const store = await openStore(path, storeDeps(), { ...STORE_DEFAULTS, queueMax: 1 })
  const results = await Promise.allSettled(
    ['a', 'b', 'c', 'd'].map((name) => store.relays.record(key, relay(name))),
  )
  const full = results.filter((r) => r.status === 'rejected' && r.reason.code === 'QUEUE_FULL')
  t.equal(full.length, 2, 'one is being written, one waits')
  await store.close()
})
