import { Level } from 'level'
import t, { type Test } from 'tap'
import { concat } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { tablesOf } from '../../src/store/db.ts'
import { Disk } from '../../src/store/disk.ts'
import { encodeSessionKey } from '../../src/store/keys.ts'
import { ReplayKeys } from '../../src/store/replays.ts'
import { sessionKey } from '../support/store.ts'

const prefix = encodeSessionKey(sessionKey())
const replay = (n: number) => concat(prefix, new Uint8Array(32).fill(n))

async function open(t: Test) {
  const level = new Level<Uint8Array, Uint8Array>(`${t.testdir()}/db`, {
    keyEncoding: 'view',
    valueEncoding: 'view',
  })
  await level.open()
  const disk = new Disk({ level, log: silentLog() })
  t.teardown(() => disk.close())
  const { replays: table } = tablesOf(disk)
  const write = (...numbers: number[]) =>
    disk.write(numbers.map((n) => table.put(replay(n), new Uint8Array(0))))
  return { table, write }
}

t.test('knows what lay in the table, and what was added since', async (t) => {
  const { table, write } = await open(t)
  await write(1, 2)
  const keys = new ReplayKeys(table)
  t.strictSame(await keys.known([replay(1), replay(2), replay(3)]), [true, true, false])
  await write(3)
  t.strictSame(await keys.known([replay(3)]), [false], 'written behind its back')
  keys.add(replay(3))
  t.strictSame(await keys.known([replay(3)]), [true])
  keys.forget(replay(3))
  t.strictSame(
    await keys.known([replay(1), replay(3), replay(4)]),
    [true, true, false],
    'read again',
  )
})

t.test('what is added while the table is read is not lost', async (t) => {
  const { table, write } = await open(t)
  await write(1)
  const keys = new ReplayKeys(table)
  const reading = keys.known([replay(1), replay(9)])
  keys.add(replay(9))
  t.strictSame(await reading, [true, true])
})

t.test('asks the table where the keys are too many to keep', async (t) => {
  const { table, write } = await open(t)
  await write(1, 2, 3)
  const keys = new ReplayKeys(table, { keysMax: 2, sessionsMax: 4 })
  t.strictSame(await keys.known([replay(3), replay(4)]), [true, false])
  await write(4)
  t.strictSame(await keys.known([replay(4)]), [true], 'without being told')
  const growing = new ReplayKeys(table, { keysMax: 5, sessionsMax: 4 })
  t.strictSame(await growing.known([replay(5)]), [false])
  await write(5, 6)
  growing.add(replay(5))
  growing.add(replay(6))
  t.strictSame(await growing.known([replay(5), replay(6), replay(7)]), [true, true, false])
})
