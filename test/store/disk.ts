import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Level } from 'level'
import t, { type Test } from 'tap'
import { hex } from '../../src/base/bytes.ts'
import { createLog } from '../../src/base/log.ts'
import { Disk, type Table } from '../../src/store/disk.ts'
import { STORE_ERRORS, StoreError, storeError } from '../../src/store/errors.ts'

async function openDisk(t: Test) {
  const path = join(t.testdir(), 'db')
  const level = new Level<Uint8Array, Uint8Array>(path, {
    keyEncoding: 'view',
    valueEncoding: 'view',
  })
  await level.open()
  const lines: string[] = []
  const log = createLog('warn', { write: (line: string) => lines.push(line) })
  const disk = new Disk({ level, log })
  t.teardown(() => disk.close())
  const logFile = async () => (await readdir(path)).filter((name) => name.endsWith('.log'))
  return { disk, table: disk.table('a'), other: disk.table('b'), lines, logFile }
}

/** A write that fails as LevelDB's do. */
const failing = (disk: Disk) =>
  disk.alone(() => Promise.reject(Object.assign(new Error('full'), { code: 'LEVEL_IO_ERROR' })))

const byte = (value: number) => Uint8Array.of(value)

async function keysOf(table: Table): Promise<string[]> {
  const keys: string[] = []
  for await (const [key] of table.entries({})) keys.push(hex(key))
  return keys
}

t.test('a batch is written whole, to several tables', async (t) => {
  const { disk, table, other } = await openDisk(t)
  t.equal(await disk.isEmpty(), true)
  await disk.write([table.put(byte(1), byte(7)), other.put(byte(1), byte(8)), table.del(byte(2))])
  t.strictSame(await table.get(byte(1)), byte(7))
  t.strictSame(await other.get(byte(1)), byte(8))
  t.equal(await table.get(byte(2)), undefined)
  t.strictSame(await table.hasMany([byte(1), byte(2)]), [true, false])
  t.equal(await disk.isEmpty(), false)
  await disk.write([table.del(byte(1))])
  t.equal(await table.has(byte(1)), false)
  t.equal(await other.has(byte(1)), true)
})

t.test('a table is read in order, in parts and from its lowest key', async (t) => {
  const { disk, table, other } = await openDisk(t)
  await disk.write([...[3, 255, 1, 128].map((key) => table.put(byte(key), byte(0)))])
  await disk.write([other.put(byte(2), byte(0))])
  t.strictSame(await keysOf(table), ['01', '03', '80', 'ff'])
  t.equal(await table.count({}), 4)
  t.equal(await table.count({ gte: byte(2), lt: byte(255) }), 2)
  t.equal(await table.count({}, 3), 3, 'counted as far as asked')
  t.strictSame(await table.first({}), byte(1))
  t.strictSame(await table.first({ gte: byte(4) }), byte(128))
  t.equal(await table.first({ gte: byte(4), lt: byte(5) }), undefined)
})

t.test('after a failed write the database is opened again before the next', async (t) => {
  const { disk, table, lines, logFile } = await openDisk(t)
  await disk.write([table.put(byte(1), byte(1))])
  const before = await logFile()
  await t.rejects(failing(disk), { name: 'StoreError', code: 'DISK', retryable: true })
  t.strictSame(lines, [])
  await disk.write([table.put(byte(2), byte(2))])
  t.notSame(await logFile(), before, 'the log that the failure may have torn is closed')
  t.match(lines, [/database opened again after a failed write/])
  t.strictSame(await keysOf(table), ['01', '02'])
  await disk.write([table.put(byte(3), byte(3))])
  t.equal(lines.length, 1, 'once is enough')
})

t.test('reading opens it again too, and a reader of before is told to ask again', async (t) => {
  const { disk, table } = await openDisk(t)
  const many = Array.from({ length: 2_500 }, (_, i) =>
    table.put(Uint8Array.of(i >> 8, i & 255), byte(1)),
  )
  await disk.write(many)
  const reading = table.entries({})
  t.equal((await reading.next()).done, false)
  await t.rejects(failing(disk))
  t.strictSame(await table.get(Uint8Array.of(0, 1)), byte(1))
  const rest = async () => {
    for await (const _ of reading);
  }
  await t.rejects(rest(), { code: 'DISK', retryable: true })
  t.equal(await table.count({}), 2_500)
})

t.test('writes wait for one another, and a failure stops none', async (t) => {
  const { disk, table } = await openDisk(t)
  const order: number[] = []
  const outcomes = await Promise.allSettled([
    disk.alone(async () => {
      await new Promise((resolve) => setImmediate(resolve))
      order.push(1)
    }),
    failing(disk),
    disk.write([table.put(byte(1), byte(1))]).then(() => order.push(3)),
  ])
  t.strictSame(order, [1, 3])
  t.strictSame(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
})

t.test('a closed database says so, whatever is asked', async (t) => {
  const { disk, table } = await openDisk(t)
  await disk.write([table.put(byte(1), byte(1))])
  const last = disk.write([table.put(byte(2), byte(2))])
  await disk.close()
  await last
  const closed = { code: 'STORE_CLOSED', retryable: false }
  await t.rejects(disk.write([table.put(byte(3), byte(3))]), closed)
  await t.rejects(table.get(byte(1)), closed)
  await t.rejects(table.first({}), closed)
  await t.rejects(table.count({}), closed)
  await t.rejects(keysOf(table), closed)
  await t.rejects(table.clear(byte(1)), closed)
  await disk.close()
})

t.test('compacting keeps what is there', async (t) => {
  const { disk, table } = await openDisk(t)
  await disk.write([1, 2, 3].map((key) => table.put(byte(key), byte(key))))
  await table.clear(byte(2))
  await disk.compact(table, { gte: byte(0), lt: byte(255) })
  t.strictSame(await keysOf(table), ['01', '03'])
})

t.test('errors of LevelDB become ours', async (t) => {
  const level = (code: string, cause?: Error) =>
    Object.assign(new Error(`message of ${code}`, { cause }), { code })
  const open = (code: string) => level('LEVEL_DATABASE_NOT_OPEN', level(code))
  const rows: [error: unknown, code: string, retryable: boolean][] = [
    [open('LEVEL_LOCKED'), 'LOCKED', false],
    [open('LEVEL_CORRUPTION'), 'CORRUPT', false],
    [open('LEVEL_IO_ERROR'), 'DISK', true],
    [level('LEVEL_CORRUPTION'), 'CORRUPT', false],
    [level('LEVEL_ITERATOR_NOT_OPEN'), 'DISK', true],
    [new Error('?'), 'DISK', true],
    ['?', 'DISK', true],
  ]
  for (const [error, code, retryable] of rows)
    t.match(storeError(error), { code, retryable, cause: error }, `${code} of ${error}`)
  const ours = new StoreError('QUEUE_FULL', 'full')
  t.equal(storeError(ours), ours)
})

t.test('every code has advice', async (t) => {
  for (const [code, advice] of Object.entries(STORE_ERRORS))
    t.match(advice, /^[A-Z].{20,}\.$/, code)
})
