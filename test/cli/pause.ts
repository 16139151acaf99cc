import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { stringify } from 'yaml'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import { EXIT } from '../../src/cli/context.ts'
import { Pauses } from '../../src/gpu/pauses.ts'
import { Admin, type AdminDeps } from '../../src/ops/admin.ts'
import { ManualClock } from '../support/clock.ts'
import { command, FakeTerminal } from '../support/command.ts'
import { report } from '../support/report.ts'

/** Sunday, 11:00 in Berlin. */
const NOW = Date.UTC(2026, 10, 29, 10, 0)
const HOUR = 3_600_000

interface Place {
  readonly words: readonly string[]
  readonly data: string
  readonly file: string
}

async function place(t: Test): Promise<Place> {
  const folder = t.testdir()
  const path = join(folder, 'supplier.yaml')
  const config = {
    dataDir: 'data',
    chain: { rpc: ['http://127.0.0.1:9'] },
    operators: [{ keyFile: 'operator.json' }],
    services: [{ id: 'text', backend: { kind: 'llamacpp', model: 'tiny' } }],
    machine: { timeZone: 'Europe/Berlin', yieldGrace: '5s' },
  }
  await writeFile(path, stringify(config))
  const data = join(folder, 'data')
  return { words: ['--config', path], data, file: join(data, 'pause.json') }
}

/** The admin port of a daemon, which writes down what it is told. */
async function daemon(t: Test, { data }: Place, over: Partial<AdminDeps> = {}) {
  await mkdir(data, { recursive: true })
  const told: unknown[] = []
  const admin = new Admin(
    {
      ...{ health: () => [], log: silentLog(), report: async () => report() },
      randomBytes: (n) => new Uint8Array(n).fill(1),
      pause: async (until, note) => void told.push(['pause', until, note]),
      resume: async () => void told.push(['resume']),
      ...over,
    },
    { host: '127.0.0.1', port: 0, runFile: join(data, 'run.json'), pid: 4242 },
  )
  t.teardown(() => admin.stop())
  await admin.listen()
  return told
}

const current = ({ file }: Place, now = NOW) =>
  new Pauses({ now: () => ms(now) }, file).current().then(({ pause }) => pause)

t.test('a running daemon is told, and it is said how long it took', async (t) => {
  const at = await place(t)
  const clock = new ManualClock(NOW)
  const told = await daemon(t, at, {
    pause: async (until, note) => {
      told.push(['pause', until, note])
      await clock.advance(1_840)
    },
  })
  const { status, out, err } = await command(
    ['pause', ...at.words, '--for', '2h', '--note', 'a film'],
    { clock },
  )
  t.equal(status, EXIT.ok, err)
  t.equal(out, 'paused until Sun 13:00; the machine was free after 1.8 s\n')
  t.equal(err, 'running answers may take up to 5 s to end\n')
  t.strictSame(told, [['pause', NOW + 2 * HOUR, 'a film']])
  await t.rejects(stat(at.file), 'the file is the daemon’s to write')
})

t.test('resume tells the daemon', async (t) => {
  const at = await place(t)
  const told = await daemon(t, at)
  const { status, out } = await command(['resume', ...at.words])
  t.equal(status, EXIT.ok)
  t.match(out, /^resumed; it serves after 60 s in which nothing else speaks against it/)
  t.strictSame(told, [['resume']])
  const json = await command(['resume', ...at.words, '--json'])
  t.strictSame(JSON.parse(json.out), { paused: false, running: true, wasPaused: false })
})

t.test('where none runs the next start is paused', async (t) => {
  const at = await place(t)
  const clock = new ManualClock(NOW)
  const { status, out } = await command(['pause', ...at.words, '--note', 'mine'], { clock })
  t.equal(status, EXIT.ok)
  t.equal(out, 'no daemon runs; the next start is paused until you resume it\n')
  t.strictSame(await current(at), { since: ms(NOW), note: 'mine' })
  t.equal((await stat(at.data)).mode & 0o077, 0, 'the data folder is for its owner')
  t.equal(
    (await command(['resume', ...at.words], { clock })).out,
    'no daemon runs; the next start serves\n',
  )
  t.equal(await current(at), undefined)
  t.equal(
    (await command(['resume', ...at.words], { clock })).out,
    'no daemon runs; there was no pause\n',
  )
})

t.test('how long', async (t) => {
  const at = await place(t)
  const cases: readonly (readonly [words: string[], until: number, says: string])[] = [
    [['--for', '90m'], NOW + 1.5 * HOUR, 'Sun 12:30'],
    [['--for', '3d'], NOW + 72 * HOUR, 'Wed 11:00'],
    [['--for', '30d'], NOW + 720 * HOUR, 'Tue 29 Dec 11:00'],
    [['--until', '18:00'], NOW + 7 * HOUR, 'Sun 18:00'],
    [['--until', '8:30'], NOW + 21.5 * HOUR, 'Mon 08:30'],
    [['--until', '11:00'], NOW + 24 * HOUR, 'Mon 11:00'],
    [['--until', '23:59'], NOW + 12 * HOUR + 59 * 60_000, 'Sun 23:59'],
    [['--until', 'Fri 7:05'], NOW + 116 * HOUR + 5 * 60_000, 'Fri 07:05'],
  ]
  for (const [words, until, says] of cases) {
    const clock = new ManualClock(NOW)
    const { status, out, err } = await command(['pause', ...at.words, ...words], { clock })
    t.equal(status, EXIT.ok, `${words}: ${err}`)
    t.match(out, `paused until ${says}\n`, words.join(' '))
    t.equal((await current(at))?.until, until, words.join(' '))
  }
  const json = await command(['pause', ...at.words, '--for', '1h', '--json'], {
    clock: new ManualClock(NOW),
  })
  const until = NOW + HOUR
  t.strictSame(JSON.parse(json.out), { paused: true, running: false, tookMs: 0, until })
})

t.test('what cannot be meant is refused, and nothing is paused', async (t) => {
  const at = await place(t)
  const cases: readonly (readonly [words: string[], says: RegExp])[] = [
    [['--for', '31d'], /write 1s to 30d/],
    [['--for', '0d'], /write 1s to 30d/],
    [['--for', '25h'], /write 1s to 30d/],
    [['--for', '2'], /such as 90m, 2h or 3d, not "2"/],
    [['--for', '-1h'], /write 1s to 30d/],
    [['--until', '24:00'], /write a time such as 18:00/],
    [['--until', '18'], /write a time such as 18:00/],
    [['--until', '18:60'], /write a time such as 18:00/],
    [['--until', 'someday 18:00'], /write a time such as 18:00/],
    [['--until', 'abc 18:00'], /write a time such as 18:00/],
    [['--for', '1h', '--until', '18:00'], /do not go together/],
    [['--note', ''], /write a few words/],
    [['--note', 'x'.repeat(201)], /at most 200/],
    [['now'], /too many arguments/],
  ]
  for (const [words, says] of cases) {
    const { status, out, err } = await command(['pause', ...at.words, ...words])
    t.equal(status, EXIT.config, words.join(' '))
    t.match(err, says, words.join(' '))
    t.equal(out, '', words.join(' '))
  }
  await t.rejects(stat(at.data))
})

t.test('a daemon that hangs is paused by its file, and that it hangs is said', async (t) => {
  const at = await place(t)
  const clock = new ManualClock(NOW)
  await daemon(t, at, {
    pause: () => {
      void clock.advance(36_000)
      return new Promise(() => {})
    },
  })
  const { status, out, err } = await command(['pause', ...at.words], { clock })
  t.equal(status, EXIT.failure)
  t.equal(out, '')
  t.match(err, /STATUS_UNREADABLE: the daemon was told to pause and has not answered within 35 s/)
  t.match(await readFile(at.file, 'utf8'), /"v":1/)
})

t.test('a daemon that cannot pause says so', async (t) => {
  const at = await place(t)
  await daemon(t, at, { resume: async () => Promise.reject(new Error('disk')) })
  const { status, err } = await command(['resume', ...at.words])
  t.equal(status, EXIT.failure)
  t.match(err, /^STATUS_UNREADABLE: the daemon at http.* answers with 500/)
})

t.test('Ctrl-C while it waits ends with 130', async (t) => {
  const at = await place(t)
  const terminal = new FakeTerminal()
  await daemon(t, at, {
    pause: () => {
      setImmediate(() => terminal.interrupt())
      return new Promise(() => {})
    },
  })
  t.equal(await terminal.run('pause', ...at.words), EXIT.aborted)
  t.match(terminal.said, /interrupted\n$/)
})
