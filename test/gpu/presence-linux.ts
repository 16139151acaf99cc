import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { LinuxPresence, parseIdleMs } from '../../src/gpu/presence-linux.ts'
import { ManualClock } from '../support/clock.ts'
import { scriptedRun } from '../support/scripted-run.ts'

const { signal } = new AbortController()
const MUTTER = 'gdbus call --session --dest=org.gnome.Mutter.IdleMonitor'
const KDE = 'gdbus call --session --dest=org.freedesktop.ScreenSaver'
const LIST = 'loginctl list-sessions'
const SHOW = 'loginctl show-session'

function session(type: string, desktop: string, more = ''): string {
  return `Id=2\nName=ada\nRemote=no\nDesktop=${desktop}\nType=${type}\nClass=user\nActive=yes\nState=active\nIdleHint=no\nIdleSinceHint=0\nLockedHint=no\n${more}`
}

function setUp(t: Test, answers: Record<string, string>) {
  const root = t.testdir()
  const scripted = scriptedRun(answers)
  const clock = new ManualClock()
  const presence = new LinuxPresence({ clock, run: scripted.run, root })
  return { root, clock, ...scripted, read: () => presence.read(signal) }
}

const logind = (text: string) => ({ [LIST]: '2 1000 ada seat0 tty2\n', [SHOW]: text })

t.test('idle times as they are printed', async (t) => {
  const table: [string, number | undefined][] = [
    ['(uint64 183421,)\n', 183_421],
    ['(uint32 0,)\n', 0],
    ['(5,)', 5],
    ['4711\n', 4711],
    ['', undefined],
    ['(true,)', undefined],
    ['-1', undefined],
    ['couldn’t open display', undefined],
    ['99999999999999999999', undefined],
  ]
  for (const [text, value] of table) t.equal(parseIdleMs(text), value, JSON.stringify(text))
})

t.test('each desktop is asked what it can answer', async (t) => {
  const table: [string, string, string, Record<string, string>, object][] = [
    [
      'GNOME',
      'wayland',
      'ubuntu',
      { [MUTTER]: '(uint64 9000,)' },
      { idleFor: 9_000, source: 'GNOME' },
    ],
    ['X11', 'x11', 'i3', { xprintidle: '700\n' }, { idleFor: 700, source: 'xprintidle' }],
    [
      'X11, the other tool',
      'x11',
      'i3',
      { xssstate: '800\n' },
      { idleFor: 800, source: 'xssstate' },
    ],
    ['KDE on X11', 'x11', 'KDE', { [KDE]: '(uint32 60000,)' }, { idleFor: 60_000, source: 'KDE' }],
    [
      'KDE under Wayland says 0 always',
      'wayland',
      'KDE',
      { [KDE]: '(uint32 0,)', xprintidle: '99999' },
      { session: 'local', idleFor: undefined, problems: [/kde under Wayland/] },
    ],
    [
      'sway',
      'wayland',
      'sway',
      { xprintidle: '99999' },
      { idleFor: undefined, problems: [/sway/] },
    ],
    ['X11 without a tool', 'x11', 'i3', {}, { idleFor: undefined, problems: [/xprintidle/] }],
    ["a service: GNOME's hint", 'wayland', 'ubuntu', {}, { idleFor: 0, source: 'logind' }],
    [
      'others answer in seconds',
      'x11',
      'xfce',
      { [KDE]: '(uint32 300,)' },
      { idleFor: undefined, problems: [/xprintidle/] },
    ],
  ]
  for (const [what, type, desktop, answers, expected] of table) {
    const { read } = setUp(t, { ...logind(session(type, desktop)), ...answers })
    t.match(await read(), { session: 'local', isLocked: false, ...expected }, what)
  }
})

t.test('who is not at the screen is not in the way', async (t) => {
  const locked = session('wayland', 'sway').replace('LockedHint=no', 'LockedHint=yes')
  const { read, calls } = setUp(t, { ...logind(locked), [MUTTER]: '(uint64 1,)' })
  t.match(await read(), { session: 'local', isLocked: true })
  t.equal(calls.length, 2, 'nobody else is asked')
  const other = session('wayland', 'sway').replace('Active=yes', 'Active=no')
  t.match(await setUp(t, logind(other)).read(), { session: 'local', isLocked: true })
  const tty = session('tty', '')
  t.match(await setUp(t, logind(tty)).read(), { session: 'none', problems: [] })
  t.match(await setUp(t, { [LIST]: '' }).read(), { session: 'none' }, 'a server')
})

t.test('the busier of two people counts', async (t) => {
  const now = new ManualClock().now()
  const hint = `IdleHint=yes\nIdleSinceHint=${(now - 5_000) * 1_000}\n`
  const two = `${session('x11', 'i3')}\n${session('x11', 'i3', hint)}`
  const { read } = setUp(t, { ...logind(two), xprintidle: '700000' })
  t.match(await read(), { idleFor: 5_000 })
  const unknown = `${session('x11', 'i3')}\n${session('wayland', 'ubuntu')}`
  const one = setUp(t, logind(unknown))
  t.match(await one.read(), { idleFor: 0 }, 'one is in use, whatever the other is')
})

t.test('without logind the sockets of displays tell', async (t) => {
  const bare = setUp(t, { xprintidle: '5' })
  t.match(await bare.read(), { session: 'none', source: 'no display' }, 'a container')
  await mkdir(join(bare.root, 'tmp/.X11-unix'), { recursive: true })
  await writeFile(join(bare.root, 'tmp/.X11-unix/X0'), '')
  t.match(await bare.read(), { session: 'local', idleFor: 5, source: 'xprintidle' })
  const wayland = setUp(t, {})
  await mkdir(join(wayland.root, 'run/user/1000'), { recursive: true })
  await writeFile(join(wayland.root, 'run/user/1000/wayland-0'), '')
  t.match(await wayland.read(), { session: 'unknown', problems: [/xprintidle/] })
})

t.test('a source that has answered is missed for a while', async (t) => {
  const { answers, read, calls } = setUp(t, { ...logind(session('x11', 'i3')), xprintidle: '700' })
  await read()
  calls.length = 0
  await read()
  t.strictSame(
    calls.filter((line) => !line.startsWith('loginctl')),
    ['xprintidle'],
    'it is asked first',
  )
  answers.delete('xprintidle')
  for (let look = 1; look < 12; look++) t.equal(await read(), undefined, `look ${look}`)
  t.match(await read(), { session: 'local', idleFor: undefined, problems: [/xprintidle/] })
  answers.set('xprintidle', '12')
  t.match(await read(), { idleFor: 12 })
  answers.delete(LIST)
  t.equal(await read(), undefined, 'and logind too')
})

t.test('an abort ends it', async (t) => {
  const { run } = scriptedRun({})
  const reason = new Error('gone')
  const presence = new LinuxPresence({ clock: new ManualClock(), run, root: t.testdir() })
  await t.rejects(presence.read(AbortSignal.abort(reason)), reason)
})
