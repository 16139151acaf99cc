import { deepEqual } from 'node:assert/strict'
import fc from 'fast-check'
import { Level } from 'level'
import t, { type Test } from 'tap'
import { compare, concat, hex } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { tablesOf } from '../../src/store/db.ts'
import { Disk, type Operation, type Write } from '../../src/store/disk.ts'
import { StoreError } from '../../src/store/errors.ts'
import { encodeSessionKey } from '../../src/store/keys.ts'
import { RELAY_STORE_DEFAULTS, RelayStore, type ServedRelay } from '../../src/store/relays.ts'
import type { SessionKey } from '../../src/store/sessions.ts'
import { digest, relay, sessionKey } from '../support/store.ts'

/** A relay store whose batches a test can count, hold back or fail. */
async function openRelays(t: Test, options: Partial<typeof RELAY_STORE_DEFAULTS> = {}) {
  const level = new Level<Uint8Array, Uint8Array>(`${t.testdir()}/db`, {
    keyEncoding: 'view',
    valueEncoding: 'view',
  })
  await level.open()
  const disk = new Disk({ level, log: silentLog() })
  t.teardown(() => disk.close())
  const tables = tablesOf(disk)
  const batches: (readonly Operation[])[] = []
  const valve: { hold?: Promise<void>; fail?: Error | undefined } = {}
  const write: Write = async (operations) => {
    batches.push(operations)
    await valve.hold
    if (valve.fail !== undefined) throw valve.fail
    await disk.write(operations)
  }
  const deps = { ...tables, write }
  const open = () => new RelayStore(deps, { ...RELAY_STORE_DEFAULTS, ...options })
  return { relays: open(), reopen: open, batches, valve, disk, tables }
}

/** A promise to hold batches back with. */
function gate() {
  let open = () => {}
  const hold = new Promise<void>((resolve) => {
    open = resolve
  })
  return { hold, open }
}

const settle = () => new Promise((resolve) => setImmediate(resolve))

async function leavesOf(relays: RelayStore, key: SessionKey) {
  const leaves: { path: Uint8Array; digest: Uint8Array }[] = []
  for await (const leaf of relays.leaves(key)) leaves.push(leaf)
  return leaves
}

const key = sessionKey()

t.test('a relay is its leaf, its bytes and its replay key', async (t) => {
  const { relays, batches } = await openRelays(t)
  const one = relay('one')
  t.equal(await relays.seen(key, one.replayKey), false)
  t.equal(await relays.record(key, one), 'recorded')
  t.equal(await relays.seen(key, one.replayKey), true)
  t.equal(await relays.served(key), 1)
  t.strictSame(await leavesOf(relays, key), [{ path: one.leaf?.path, digest: one.leaf?.digest }])
  t.strictSame(await relays.relay(key, one.leaf?.path ?? digest('')), one.leaf?.relay)
  t.equal(await relays.relay(key, digest('another path')), undefined)
  t.equal(batches.length, 1, 'in one batch')
  t.equal(batches[0]?.length, 3)
})

t.test('a relay whose hash is not under the target is served and no leaf', async (t) => {
  const { relays } = await openRelays(t)
  const { replayKey } = relay('one')
  t.equal(await relays.record(key, { replayKey }), 'recorded')
  t.equal(await relays.record(key, { replayKey }), 'replayed')
  t.equal(await relays.served(key), 1)
  t.strictSame(await leavesOf(relays, key), [])
})

t.test('a thousand relays at once are few batches', async (t) => {
  const { relays, batches } = await openRelays(t)
  const served = Array.from({ length: 1_000 }, (_, i) => relay(`${i}`))
  const outcomes = await Promise.all(served.map((one) => relays.record(key, one)))
  t.ok(outcomes.every((outcome) => outcome === 'recorded'))
  t.equal(await relays.served(key), 1_000)
  t.ok(batches.length <= 4, `${batches.length} batches`)
})

t.test('a batch takes no more than its limits', async (t) => {
  const { relays, batches } = await openRelays(t, { groupMax: 10, groupBytesMax: 1_000 })
  const small = Array.from({ length: 25 }, (_, i) => relays.record(key, relay(`s${i}`, 1)))
  await Promise.all(small)
  t.strictSame(
    batches.map((batch) => batch.length / 3),
    [1, 10, 10, 4],
  )
  batches.length = 0
  const large = Array.from({ length: 7 }, (_, i) => relays.record(key, relay(`l${i}`, 400)))
  await Promise.all(large)
  t.strictSame(
    batches.map((batch) => batch.length / 3),
    [1, 3, 3],
  )
})

t.test('nobody is answered before the batch is on disk', async (t) => {
  const { relays, valve, batches } = await openRelays(t)
  const { hold, open } = gate()
  valve.hold = hold
  let answered = 0
  const waiting = ['a', 'b', 'c'].map(async (name) => {
    await relays.record(key, relay(name))
    answered++
  })
  while (batches.length === 0) await settle()
  await settle()
  t.equal(answered, 0)
  open()
  await Promise.all(waiting)
  t.equal(answered, 3)
})

t.test('of a request repeated at once exactly one is recorded', async (t) => {
  const { relays, reopen, batches } = await openRelays(t)
  const copies = Array.from({ length: 50 }, () => relays.record(key, relay('one')))
  const outcomes = await Promise.all(copies)
  t.equal(outcomes.filter((outcome) => outcome === 'recorded').length, 1)
  t.equal(await relays.record(key, relay('one')), 'replayed', 'later')
  t.equal(await reopen().record(key, relay('one')), 'replayed', 'and by another process')
  t.equal(batches.flat().length, 3, 'nothing more was written')
})

t.test('a request that is queued or being written is seen', async (t) => {
  const { relays, valve, batches } = await openRelays(t)
  const { hold, open } = gate()
  valve.hold = hold
  const first = relays.record(key, relay('written'))
  while (batches.length === 0) await settle()
  const second = relays.record(key, relay('queued'))
  for (const name of ['written', 'queued']) {
    t.equal(await relays.seen(key, relay(name).replayKey), true, name)
    t.equal(await relays.record(key, relay(name)), 'replayed', name)
  }
  open()
  t.strictSame(await Promise.all([first, second]), ['recorded', 'recorded'])
})

t.test('the same request in another session or to another operator is another', async (t) => {
  const { relays } = await openRelays(t)
  for (const other of [key, sessionKey(60, 'other'), sessionKey(60, 'session', 'other')])
    t.equal(await relays.record(other, relay('one')), 'recorded')
})

t.test('a batch that fails fails for all in it, and each may come again', async (t) => {
  const { relays, valve } = await openRelays(t)
  const failure = new StoreError('DISK', 'no space left', { retryable: true })
  valve.fail = failure
  const names = ['a', 'b', 'c', 'd']
  const outcomes = await Promise.allSettled(names.map((name) => relays.record(key, relay(name))))
  for (const [i, outcome] of outcomes.entries())
    t.match(outcome, { status: 'rejected', reason: failure }, `${names[i]}`)
  t.equal(await relays.seen(key, relay('a').replayKey), false)
  t.equal(await relays.served(key), 0)
  valve.fail = undefined
  for (const name of names) t.equal(await relays.record(key, relay(name)), 'recorded', name)
})

t.test('a full queue says no, and takes again what fits later', async (t) => {
  const { relays, valve, batches } = await openRelays(t, { queueMax: 2 })
  const { hold, open } = gate()
  valve.hold = hold
  const taken = [relays.record(key, relay('being written'))]
  while (batches.length === 0) await settle()
  taken.push(relays.record(key, relay('1')), relays.record(key, relay('2')))
  const full = { code: 'QUEUE_FULL', retryable: true, data: { queued: 2 } }
  await t.rejects(relays.record(key, relay('3')), full)
  t.equal(await relays.record(key, relay('1')), 'replayed', 'which needs no place')
  t.equal(await relays.seen(key, relay('3').replayKey), false)
  open()
  await Promise.all(taken)
  t.equal(await relays.record(key, relay('3')), 'recorded')
})

t.test('the bytes that wait are limited, but never for one relay alone', async (t) => {
  const { relays, valve, batches } = await openRelays(t, { queueBytesMax: 1_000 })
  const { hold, open } = gate()
  valve.hold = hold
  const taken = [relays.record(key, relay('being written', 5_000))]
  while (batches.length === 0) await settle()
  taken.push(relays.record(key, relay('waiting', 5_000)))
  await t.rejects(relays.record(key, relay('too much', 1)), { code: 'QUEUE_FULL' })
  open()
  t.strictSame(await Promise.all(taken), ['recorded', 'recorded'])
  const second = gate()
  valve.hold = second.hold
  const written = batches.length
  const again = [relays.record(key, relay('too much', 1))]
  while (batches.length === written) await settle()
  again.push(...['a', 'b'].map((name) => relays.record(key, relay(name, 500))))
  await t.rejects(relays.record(key, relay('c', 1)), { code: 'QUEUE_FULL' })
  second.open()
  t.strictSame(
    await Promise.all(again),
    Array(3).fill('recorded'),
    'what was written counts no more',
  )
})

t.test('the same relay for another request is one leaf and two served', async (t) => {
  const { relays } = await openRelays(t)
  const one = relay('one')
  await relays.record(key, one)
  t.equal(await relays.record(key, { ...one, replayKey: digest('other') }), 'recorded')
  t.equal(await relays.served(key), 2)
  t.equal((await leavesOf(relays, key)).length, 1)
})

t.test('leaves come in order of their paths, each with its own bytes', async (t) => {
  const { relays } = await openRelays(t)
  const served = Array.from({ length: 2_500 }, (_, i) => relay(`${i}`, 1))
  const around = [
    sessionKey(59),
    sessionKey(61),
    sessionKey(60, 'x'),
    sessionKey(60, 'session', 'x'),
  ]
  for (const other of around) await relays.record(other, relay(`of ${other.end}`))
  await Promise.all(served.map((one) => relays.record(key, one)))
  const expected = served
    .flatMap(({ leaf }) => (leaf === undefined ? [] : [{ path: leaf.path, digest: leaf.digest }]))
    .sort((a, b) => compare(a.path, b.path))
  deepEqual(await leavesOf(relays, key), expected)
  t.equal(expected.length, 2_500)
})

t.test('leaves are those of one moment, and may be left early', async (t) => {
  const { relays } = await openRelays(t)
  for (const name of ['a', 'b', 'c']) await relays.record(key, relay(name))
  let count = 0
  for await (const _ of relays.leaves(key)) {
    count++
    await relays.record(key, relay(`while reading ${count}`))
  }
  t.equal(count, 3)
  for await (const leaf of relays.leaves(key)) {
    t.equal(leaf.path.length, 32)
    break
  }
})

t.test('a leaf that is damaged is named', async (t) => {
  const { relays, disk, tables } = await openRelays(t)
  const at = concat(encodeSessionKey(key), digest('path'))
  await disk.write([tables.leaves.put(at, new Uint8Array(47))])
  await t.rejects(leavesOf(relays, key), { code: 'CORRUPT', data: { key: hex(at) } })
})

t.test('dropping a session leaves its neighbours', async (t) => {
  const { relays } = await openRelays(t)
  const near = { ...key, sessionId: `${key.sessionId.slice(0, -1)}f` }
  const others = [sessionKey(59), sessionKey(61), near, sessionKey(60, 'session', 'other')]
  for (const other of [key, ...others]) await relays.record(other, relay('one'))
  await relays.drop(key)
  t.equal(await relays.served(key), 0)
  t.strictSame(await leavesOf(relays, key), [])
  t.equal(await relays.relay(key, relay('one').leaf?.path ?? digest('')), undefined)
  for (const other of others) {
    t.equal(await relays.served(other), 1, `${other.end}`)
    t.equal((await leavesOf(relays, other)).length, 1, `${other.end}`)
  }
  t.equal((await relays.sessions()).length, 4)
  t.equal(await relays.record(key, relay('one')), 'recorded', 'a dropped session is a new one')
})

t.test('a session too large to delete at once is deleted in parts', async (t) => {
  const { relays } = await openRelays(t)
  const other = sessionKey(60, 'other')
  await relays.record(other, relay('one'))
  const many = Array.from({ length: 4_100 }, (_, i) =>
    relays.record(key, { replayKey: digest(`${i}`) }),
  )
  await Promise.all(many)
  await relays.drop(key)
  t.equal(await relays.served(key), 0)
  t.equal(await relays.served(other), 1)
})

t.test('what was queued before a drop is dropped too', async (t) => {
  const { relays } = await openRelays(t, { groupMax: 5 })
  const queued = Array.from({ length: 30 }, (_, i) => relays.record(key, relay(`${i}`)))
  await relays.drop(key)
  await Promise.all(queued)
  t.equal(await relays.served(key), 0)
})

t.test('closing writes what is queued and takes nothing more', async (t) => {
  const { relays, valve } = await openRelays(t, { groupMax: 5 })
  const { hold, open } = gate()
  valve.hold = hold
  const queued = Array.from({ length: 30 }, (_, i) => relays.record(key, relay(`${i}`)))
  let closed = false
  const closing = relays.close().then(() => {
    closed = true
  })
  await t.rejects(relays.record(key, relay('late')), { code: 'STORE_CLOSED', retryable: false })
  await settle()
  t.equal(closed, false)
  open()
  await closing
  t.ok((await Promise.all(queued)).every((outcome) => outcome === 'recorded'))
  await relays.close()
})

t.test('hashes of another length are our bug', async (t) => {
  const { relays } = await openRelays(t)
  const { replayKey, leaf } = relay('one')
  const short = digest('').subarray(1)
  const wrong: Record<string, ServedRelay> = {
    replayKey: { replayKey: short },
    path: { replayKey, leaf: { ...leaf, path: short } as NonNullable<ServedRelay['leaf']> },
    digest: { replayKey, leaf: { ...leaf, digest: short } as NonNullable<ServedRelay['leaf']> },
  }
  for (const [what, served] of Object.entries(wrong))
    await t.rejects(relays.record(key, served), { name: 'AssertionError' }, what)
  await t.rejects(relays.record({ ...key, sessionId: 'x' }, relay('one')), { code: 'KEY_INVALID' })
})

t.test('any rounds of concurrent relays are what a plain map says', async (t) => {
  const { relays } = await openRelays(t, { groupMax: 3 })
  const sessions = [sessionKey(1, 'a'), sessionKey(1, 'b'), sessionKey(1, 'a', 'other')]
  const one = fc.record({ session: fc.nat(2), request: fc.nat(7), path: fc.nat(4) })
  const rounds = fc.array(fc.array(one, { maxLength: 12 }), { maxLength: 4 })
  await fc.assert(
    fc.asyncProperty(rounds, async (rounds) => {
      const expected = sessions.map(() => ({
        requests: new Set<number>(),
        paths: new Set<number>(),
      }))
      for (const round of rounds) {
        const outcomes = await Promise.all(
          round.map(({ session, request, path }) => {
            const { leaf } = relay(`${path}`)
            const served = { replayKey: digest(`${request}`), ...(leaf && { leaf }) }
            return relays.record(sessions[session] ?? key, served)
          }),
        )
        for (const [i, { session, request, path }] of round.entries()) {
          const known = expected[session]
          if (known?.requests.has(request) !== (outcomes[i] === 'replayed')) return false
          if (known.requests.has(request)) continue
          known.requests.add(request)
          known.paths.add(path)
        }
      }
      for (const [i, session] of sessions.entries()) {
        if ((await relays.served(session)) !== expected[i]?.requests.size) return false
        if ((await leavesOf(relays, session)).length !== expected[i]?.paths.size) return false
        await relays.drop(session)
      }
      return true
    }),
    { numRuns: 25 },
  )
})
