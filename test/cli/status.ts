import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { stringify } from 'yaml'
import { silentLog } from '../../src/base/log.ts'
import { type Ms, ms, upokt } from '../../src/base/units.ts'
import { EXIT } from '../../src/cli/context.ts'
import { Admin } from '../../src/ops/admin.ts'
import { openStore } from '../../src/store/db.ts'
import { ManualClock } from '../support/clock.ts'
import { command, FakeTerminal } from '../support/command.ts'
import { report } from '../support/report.ts'
import { entry, record, relay, sessionKey, storeDeps } from '../support/store.ts'

interface Place {
  readonly words: string[]
  readonly data: string
  readonly runFile: string
}

async function place(t: Test): Promise<Place> {
  const folder = t.testdir()
  const path = join(folder, 'supplier.yaml')
  const config = {
    dataDir: 'data',
    chain: { rpc: ['http://127.0.0.1:9'] },
    operators: [{ keyFile: 'operator.json' }],
    services: [{ id: 'text', backend: { kind: 'llamacpp', model: 'tiny' } }],
  }
  await writeFile(path, stringify(config))
  const data = join(folder, 'data')
  return { words: ['status', '--config', path], data, runFile: join(data, 'run.json') }
}

/** The admin port of a daemon, without the daemon. */
async function daemon(t: Test, { data, runFile }: Place, make = async () => report()) {
  await mkdir(data, { recursive: true })
  const admin = new Admin(
    {
      health: () => [],
      pause: async () => {},
      resume: async () => {},
      report: make,
      randomBytes: (n) => new Uint8Array(n).fill(1),
      log: silentLog(),
    },
    { host: '127.0.0.1', port: 0, runFile, pid: 4242 },
  )
  t.teardown(() => admin.stop())
  await admin.listen()
  return admin
}

t.test('before anything has run there is nothing, and looking makes nothing', async (t) => {
  const at = await place(t)
  const text = await command(at.words)
  t.equal(text.status, EXIT.ok, text.err)
  t.match(text.out, /^not running, and nothing has run yet: no .*data\/db\n$/)
  const json = await command([...at.words, '--json'])
  t.strictSame(JSON.parse(json.out), { state: 'stopped' })
  t.strictSame(await readdir(join(at.data, '..')), ['supplier.yaml'])
})

t.test('a running daemon tells its report', async (t) => {
  const at = await place(t)
  await daemon(t, at)
  const text = await command(at.words)
  t.equal(text.status, EXIT.ok, text.err)
  t.match(
    text.out,
    /^pokt-supplier 1.2.3, process 4242, up 1 h 2 min\nchain +pocket at height 58\n/,
  )
  const json = await command([...at.words, '--json'])
  t.strictSame(JSON.parse(json.out), { state: 'running', ...report() })
  t.equal(json.err, '')
})

t.test('when none runs the database tells what waits and what was earned', async (t) => {
  const at = await place(t)
  const store = await openStore(join(at.data, 'db'), storeDeps())
  const key = sessionKey(60)
  await store.sessions.put(record(key, { at: 'serving' }))
  await store.relays.record(key, relay('one'))
  await store.ledger.book(entry(sessionKey(50, 'earlier'), { settled: upokt(2_500_000) }))
  await store.close()
  const text = await command(at.words)
  t.equal(text.status, EXIT.ok, text.err)
  t.match(text.out, /^not running\n/)
  t.match(text.out, /60 +llm +serving +1 /)
  t.match(text.out, /1 sessions ended, 10 relays, 2.5 POKT settled/)
  const json = JSON.parse((await command([...at.words, '--json'])).out)
  t.match(json, {
    state: 'stopped',
    sessions: [{ sessionId: key.sessionId, state: 'serving', served: 1 }],
    earnings: { sessions: 1, settledUpokt: '2500000' },
  })
})

t.test('a daemon that starts or stops is named instead of failing oddly', async (t) => {
  const at = await place(t)
  const store = await openStore(join(at.data, 'db'), storeDeps())
  t.teardown(() => store.close())
  const text = await command(at.words)
  t.equal(text.status, EXIT.ok, text.err)
  t.match(text.out, new RegExp(`^starting or stopping: process ${process.pid} has the database`))
  t.equal(text.err, '')
  const json = await command([...at.words, '--json'])
  t.strictSame(JSON.parse(json.out), { state: 'starting', pid: process.pid })
})

t.test('the run file of a daemon that was killed does not mislead', async (t) => {
  const at = await place(t)
  await (await openStore(join(at.data, 'db'), storeDeps())).close()
  const others = createServer((_, response) => response.end('<html>another program</html>'))
  await new Promise<void>((resolve) => others.listen(0, '127.0.0.1', resolve))
  t.teardown(() => others.close())
  const { port } = others.address() as AddressInfo
  for (const url of ['http://127.0.0.1:1', `http://127.0.0.1:${port}`]) {
    await writeFile(at.runFile, JSON.stringify({ pid: 1, url, token: 'ab'.repeat(32) }))
    const { status, out } = await command(at.words)
    t.equal(status, EXIT.ok, url)
    t.match(out, /^not running\n/, url)
  }
})

t.test('a daemon of another version, or in trouble, is said to be there', async (t) => {
  const at = await place(t)
  const store = await openStore(join(at.data, 'db'), storeDeps())
  t.teardown(() => store.close())
  await daemon(t, at, async () => ({ ...report(), earnings: 'many' }) as never)
  const { status, out, err } = await command(at.words)
  t.equal(status, EXIT.failure)
  t.equal(out, '')
  t.match(err, /^STATUS_UNREADABLE: the daemon at http.* answers with 200\n.*another version/)
})

t.test('one that hangs is given up', async (t) => {
  const at = await place(t)
  const store = await openStore(join(at.data, 'db'), storeDeps())
  t.teardown(() => store.close())
  const clock = new ManualClock()
  await daemon(t, at, () => {
    void clock.advance(ms(60_000) as Ms)
    return new Promise(() => {})
  })
  const { status, err } = await command(at.words, { clock })
  t.equal(status, EXIT.failure)
  t.match(err, /^STATUS_UNREADABLE: no answer within 30 s/)
})

t.test('Ctrl-C while it waits ends with 130', async (t) => {
  const at = await place(t)
  const terminal = new FakeTerminal()
  await daemon(t, at, () => {
    setImmediate(() => terminal.interrupt())
    return new Promise(() => {})
  })
  t.equal(await terminal.run(...at.words), EXIT.aborted)
  t.equal(terminal.said, 'interrupted\n')
})

t.test('the database of another program is left alone', async (t) => {
  const at = await place(t)
  await mkdir(join(at.data, 'db'), { recursive: true })
  await writeFile(join(at.data, 'db', 'notes.txt'), 'mine')
  const { status, err } = await command(at.words)
  t.equal(status, EXIT.failure)
  t.match(err, /^FOREIGN: /)
  t.strictSame(await readdir(join(at.data, 'db')), ['notes.txt'])
})
