import t from 'tap'
import { ms } from '../../src/base/units.ts'
import { parseSessionIds, parseSessions, readSessions } from '../../src/gpu/logind.ts'
import { scriptedRun } from '../support/scripted-run.ts'

const NOW = ms(1_764_410_000_000)

/** One block of `loginctl show-session`, of a GNOME user at his screen unless said otherwise. */
function block(changes: Record<string, string> = {}): string {
  const values = {
    Id: '2',
    Name: 'ada',
    Remote: 'no',
    Desktop: 'ubuntu',
    Type: 'wayland',
    Class: 'user',
    Active: 'yes',
    State: 'active',
    IdleHint: 'no',
    IdleSinceHint: '0',
    LockedHint: 'no',
    ...changes,
  }
  return Object.entries(values)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')
}

t.test('ids are the first column of every version of the list', async (t) => {
  const of252 =
    '      2 1000 ada seat0 tty2\n     c1  120 gdm seat0 tty1\n     17 1000 ada       pts/3\n'
  t.strictSame(parseSessionIds(of252), ['2', 'c1', '17'])
  const of256 = '2 1000 ada seat0 2290 user tty2 no -\n1 1000 ada - 2280 manager - no -\n'
  t.strictSame(parseSessionIds(of256), ['2', '1'])
  t.strictSame(parseSessionIds(''), [])
  t.strictSame(parseSessionIds('-p evil\n--help x\n'), [], 'what looks like an option is no id')
  t.equal(parseSessionIds('7 1000 ada\n'.repeat(500)).length, 64)
})

t.test('which sessions count', async (t) => {
  const table: [string, Record<string, string>, boolean][] = [
    ['a person at the screen', {}, true],
    ['on X11', { Type: 'x11' }, true],
    ['in the background', { Active: 'no', State: 'online' }, true],
    ['a text console', { Type: 'tty' }, false],
    ['SSH', { Type: 'tty', Remote: 'yes', Desktop: '' }, false],
    ['a remote desktop', { Remote: 'yes' }, false],
    ['the login screen', { Class: 'greeter', Name: 'gdm' }, false],
    ["systemd's own", { Class: 'manager', Type: 'unspecified' }, false],
    ['one that ends', { State: 'closing' }, false],
    ['light sessions of newer versions', { Class: 'user-light' }, true],
  ]
  for (const [what, changes, counts] of table)
    t.equal(parseSessions(block(changes), NOW).length, counts ? 1 : 0, what)
  const both = `${block()}\n${block({ Id: '5', Name: 'bob', Active: 'no' })}`
  t.match(parseSessions(both, NOW), [
    { id: '2', user: 'ada', type: 'wayland', desktop: 'ubuntu', isActive: true, isLocked: false },
    { id: '5', user: 'bob', isActive: false },
  ])
})

t.test('what the hint says', async (t) => {
  const since = String((NOW - 240_000) * 1_000)
  const table: [string, Record<string, string>, number | undefined][] = [
    ['idle', { IdleHint: 'yes', IdleSinceHint: since }, 240_000],
    ['idle since the future: the clock was set', { IdleHint: 'yes', IdleSinceHint: '9e18' }, 0],
    ['in use, where the desktop is known to set it', {}, 0],
    ['in use, since it was set before', { Desktop: 'sway', IdleSinceHint: since }, 0],
    ['never set', { Desktop: 'sway' }, undefined],
    ['KDE says nothing by it', { Desktop: 'KDE' }, undefined],
    ['no hint at all', { IdleHint: '' }, undefined],
    ['not a number', { IdleHint: 'yes', IdleSinceHint: 'n/a' }, undefined],
  ]
  for (const [what, changes, idleFor] of table)
    t.equal(parseSessions(block(changes), NOW)[0]?.idleFor, idleFor, what)
  t.equal(parseSessions(block({ LockedHint: 'yes' }), NOW)[0]?.isLocked, true)
})

t.test('asks for all sessions at once, and only if there are some', async (t) => {
  const { signal } = new AbortController()
  const { run, calls } = scriptedRun({
    'loginctl list-sessions': '2 1000 ada seat0 tty2\n3 1000 ada\n',
    'loginctl show-session': block(),
  })
  t.equal((await readSessions(run, () => NOW, signal))?.length, 1)
  t.match(calls[1], /--property=LockedHint 2 3$/)
  const empty = scriptedRun({ 'loginctl list-sessions': '' })
  t.strictSame(await readSessions(empty.run, () => NOW, signal), [])
  t.equal(empty.calls.length, 1)
  t.equal(await readSessions(scriptedRun({}).run, () => NOW, signal), undefined, 'no logind')
})
