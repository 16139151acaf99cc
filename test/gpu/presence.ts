import t from 'tap'
import { presenceReader } from '../../src/gpu/presence.ts'
import { ManualClock } from '../support/clock.ts'
import { scriptedRun } from '../support/scripted-run.ts'

t.test('each system is asked in its own way', async (t) => {
  const { signal } = new AbortController()
  const clock = new ManualClock()
  const answers = {
    'loginctl list-sessions': '',
    'ioreg -n Root': '"IOConsoleUsers" = ()',
    'powershell.exe': 'session=1 idle=7 locked=0',
  }
  const { run } = scriptedRun(answers)
  const read = (platform: string) =>
    presenceReader({ clock, run, platform, root: t.testdir() })(signal)
  t.match(await read('linux'), { session: 'none', source: 'logind' })
  t.match(await read('darwin'), { session: 'none', source: 'ioreg' })
  t.match(await read('win32'), { session: 'local', idleFor: 7 })
  t.match(await read('freebsd'), { session: 'unknown', problems: [/freebsd/] })
})

t.test('this very machine can be asked without harm', async (t) => {
  const { signal } = new AbortController()
  const { run } = scriptedRun({})
  const { platform } = process
  const presence = await presenceReader({ clock: new ManualClock(), run, platform })(signal)
  if (platform === 'linux') t.match(presence?.session, /^(none|unknown)$/)
  else t.equal(presence, undefined, 'no program answers')
})
