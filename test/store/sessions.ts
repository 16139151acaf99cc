import { deepEqual } from 'node:assert/strict'
import fc from 'fast-check'
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
} from '../../src/store/sessions.ts'
import { record, sessionKey, storeDeps } from '../support/store.ts'
import { anyKey, anyRecord } from '../support/store-any.ts'

async function openSessions(t: Test) {
  const store = await openStore(`${t.testdir()}/db`, storeDeps())
  t.teardown(() => store.close())
  return store.sessions
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
