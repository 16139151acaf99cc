import { deepEqual } from 'node:assert/strict'
import fc from 'fast-check'
import { Level } from 'level'
import t, { type Test } from 'tap'
import { hex } from '../../src/base/bytes.ts'
import { height, ms } from '../../src/base/units.ts'
import { openStore } from '../../src/store/db.ts'
import { encodeSessionKey } from '../../src/store/keys.ts'
import {
  decodeRecord,
  encodeRecord,
  OUTCOMES,
  type SessionRecord,
  type SessionState,
  SessionStore,
  type SessionStoreDeps,
} from '../../src/store/sessions.ts'
import { record, relay, sessionKey, storeDeps } from '../support/store.ts'
import { anyKey, anyRecord } from '../support/store-any.ts'

async function openSessions(t: Test) {
  const store = await openStore(`${t.testdir()}/db`, storeDeps())
  t.teardown(() => store.close())
  return store.sessions
}

/** Changes the bytes of a stored record, the store being closed. */
async function damage(path: string, key: Uint8Array, change: (value: Uint8Array) => void) {
  const level = new Level<Uint8Array, Uint8Array>(path, {
    keyEncoding: 'view',
    valueEncoding: 'view',
  })
  const sessions = level.sublevel<Uint8Array, Uint8Array>('sessions', {
    keyEncoding: 'view',
    valueEncoding: 'view',
  })
  const value = await sessions.get(key)
  if (value === undefined) throw new TypeError('no record')
  change(value)
  await sessions.put(key, value)
  await level.close()
  return new Uint8Array(value)
}

/** As a table gives them: by key. */
function tableOf(records: SessionRecord[]): SessionStoreDeps['sessions'] {
  const entries = records.map((each): [Uint8Array, Uint8Array] => {
    const key = encodeSessionKey(each.key)
    return [key, encodeRecord(key, each)]
  })
  const table = { entries: () => entries }
  return table as never
}

const root = new Uint8Array(48).fill(5)
const tx = {
  txHash: 'AB12',
  bytes: Uint8Array.of(1, 2, 255),
  sentAt: height(70),
  timeoutHeight: height(75),
  timeoutAt: ms(1_750_000_000_123),
  attempt: 1,
  resent: 0,
}
const STATES: readonly SessionState[] = [
  { at: 'serving' },
  { at: 'sealed', root },
  { at: 'claiming', root, tx },
  { at: 'claimed', root },
  { at: 'proving', root, tx: { ...tx, resent: 1 } },
  { at: 'proven', root },
  { at: 'unproven', root },
  ...OUTCOMES.map((outcome) => ({ at: 'done' as const, outcome })),
  { at: 'done', outcome: 'settled', root },
]

t.test('any record comes back as it went in', async () => {
  fc.assert(
    fc.property(anyRecord, (record) => {
      const key = encodeSessionKey(record.key)
      deepEqual(decodeRecord(key, encodeRecord(key, record)), record)
    }),
  )
})

t.test('a record under the key of another session is refused', async () => {
  fc.assert(
    fc.property(anyRecord, anyKey, (record, other) => {
      const bytes = encodeRecord(encodeSessionKey(record.key), record)
      try {
        decodeRecord(encodeSessionKey(other), bytes)
        return false
      } catch (error) {
        return (error as { code?: string }).code === 'CORRUPT'
      }
    }),
  )
})

t.test('a record whose header is of another session is our bug', async (t) => {
  const key = sessionKey()
  const wrong = (header: Partial<SessionRecord['header']>) => {
    const one = record(key)
    return () =>
      encodeRecord(encodeSessionKey(key), { ...one, header: { ...one.header, ...header } })
  }
  t.throws(wrong({ sessionId: 'ab'.repeat(32) }), { name: 'AssertionError' })
  t.throws(wrong({ sessionEndBlockHeight: 61n }), { name: 'AssertionError' })
  t.type(wrong({})(), Uint8Array)
})

t.test('what a state does not have is not carried into it', async (t) => {
  const key = sessionKey()
  const careless = { ...STATES[2], at: 'claimed' } as SessionState
  const bytes = encodeRecord(encodeSessionKey(key), record(key, careless))
  t.strictSame(decodeRecord(encodeSessionKey(key), bytes).state, { at: 'claimed', root })
})

t.test('a session is put, replaced, read and deleted', async (t) => {
  const sessions = await openSessions(t)
  const key = sessionKey()
  t.equal(await sessions.get(key), undefined)
  for (const state of STATES) {
    const written = { ...record(key, state), reason: `because of ${state.at}` }
    await sessions.put(written)
    t.strictSame(await sessions.get(key), written, state.at)
  }
  t.equal((await sessions.all()).length, 1)
  await sessions.delete(key)
  t.equal(await sessions.get(key), undefined)
  t.strictSame(await sessions.all(), [])
})

t.test('sessions are listed by height, and the open ones apart', async (t) => {
  const sessions = await openSessions(t)
  const ends = [70_000, 60, 256, 1, 255]
  for (const end of ends) await sessions.put(record(sessionKey(end)))
  await sessions.put(record(sessionKey(300), { at: 'done', outcome: 'empty' }))
  const endsOf = (records: readonly SessionRecord[]) => records.map(({ key }) => key.end)
  t.strictSame(endsOf(await sessions.all()), [1, 60, 255, 256, 300, 70_000])
  t.strictSame(endsOf(await sessions.open()), [1, 60, 255, 256, 70_000])
  t.strictSame(endsOf(await sessions.doneBefore(height(301))), [300])
  t.strictSame(endsOf(await sessions.doneBefore(height(300))), [])
})

t.test('records are put together, or none of them', async (t) => {
  const sessions = await openSessions(t)
  const records = ['a', 'b', 'c'].map((name) => record(sessionKey(60, name)))
  await sessions.putAll(records)
  t.equal((await sessions.all()).length, 3)
  await sessions.putAll([])
  const [first] = records
  const unusable = { ...record(sessionKey(61)), key: sessionKey(62) }
  const sealed = { ...(first as SessionRecord), state: { at: 'sealed' as const, root } }
  await t.rejects(sessions.putAll([sealed, unusable]), { name: 'AssertionError' })
  t.strictSame(await sessions.get(sessionKey(60, 'a')), first)
})

t.test('whether a record is done is known from its bytes alone', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyRecord, { maxLength: 8 }), async (records) => {
      const table = tableOf(records)
      const store = new SessionStore({ sessions: table, write: async () => {} })
      const open = records.filter(({ state }) => state.at !== 'done')
      deepEqual(await store.open(), open)
      const last = height(Number.MAX_SAFE_INTEGER)
      const done = records.filter(({ state, key }) => state.at === 'done' && key.end < last)
      deepEqual(await store.doneBefore(last), done)
    }),
  )
})

t.test('a record that cannot be read is set aside, and the others go on', async (t) => {
  const path = `${t.testdir()}/db`
  const [good, bad] = [sessionKey(60, 'good'), sessionKey(60, 'bad')]
  let store = await openStore(path, storeDeps())
  await store.sessions.putAll([record(good), record(bad, { at: 'sealed', root })])
  await store.relays.record(bad, relay('a'))
  await store.close()
  const bytes = await damage(path, encodeSessionKey(bad), (value) => {
    value[40] = (value[40] ?? 0) ^ 1
  })

  store = await openStore(path, storeDeps())
  t.strictSame(await store.sessions.open(), [record(good)])
  t.equal(await store.sessions.get(bad), undefined)
  t.strictSame(await store.sessions.damaged(), [hex(encodeSessionKey(bad))])
  t.equal(await store.relays.served(bad), 1, 'its relays stay')
  t.equal(await store.prune(height(1_000)), 0)
  await store.sessions.put(record(bad))
  t.equal((await store.sessions.open()).length, 2, 'a session that is still served goes on')
  await store.close()

  let kept: Uint8Array | undefined
  const aside = Uint8Array.of(0xff, ...encodeSessionKey(bad))
  await damage(path, aside, (value) => {
    kept = new Uint8Array(value)
  })
  t.strictSame(kept, bytes, 'the same bytes')
  store = await openStore(path, storeDeps())
  t.strictSame(await store.sessions.damaged(), [hex(encodeSessionKey(bad))])
  await store.close()
})

t.test('a key that is no session key is set aside too', async (t) => {
  const path = `${t.testdir()}/db`
  let store = await openStore(path, storeDeps())
  await store.close()
  const level = new Level<Uint8Array, Uint8Array>(path, {
    keyEncoding: 'view',
    valueEncoding: 'view',
  })
  const key = new Uint8Array(5)
  const encoding = { keyEncoding: 'view', valueEncoding: 'view' }
  await level.sublevel<Uint8Array, Uint8Array>('sessions', encoding).put(key, Uint8Array.of(1))
  await level.close()
  store = await openStore(path, storeDeps())
  t.strictSame(await store.sessions.all(), [])
  t.strictSame(await store.sessions.damaged(), ['0000000000'])
  await store.close()
})

t.test('two operators of one session have a record each', async (t) => {
  const sessions = await openSessions(t)
  const [one, other] = [sessionKey(60, 's', 'one'), sessionKey(60, 's', 'other')]
  await sessions.put(record(one))
  await sessions.put(record(other, { at: 'sealed', root }))
  t.equal((await sessions.get(one))?.state.at, 'serving')
  await sessions.delete(one)
  t.equal((await sessions.get(other))?.state.at, 'sealed')
})

t.test('a damaged record is named', async (t) => {
  const key = encodeSessionKey(sessionKey())
  const bytes = encodeRecord(key, record(sessionKey()))
  bytes[20] = (bytes[20] ?? 0) ^ 1
  const expected = { name: 'StoreError', code: 'CORRUPT', data: { key: hex(key) } }
  t.throws(() => decodeRecord(key, bytes), expected)
})
