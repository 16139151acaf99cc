import t from 'tap'
import {
  parseWindowsInput,
  WINDOWS_INPUT,
  windowsPresence,
} from '../../src/gpu/presence-windows.ts'
import { scriptedRun } from '../support/scripted-run.ts'

t.test('what the command prints', async (t) => {
  t.strictSame(parseWindowsInput('session=1 idle=5312 locked=0\r\n'), {
    session: 'local',
    idleFor: 5_312,
    isLocked: false,
    source: 'Windows',
    problems: [],
  })
  t.match(parseWindowsInput('session=2 idle=0 locked=1'), { isLocked: true })
  t.match(parseWindowsInput('session=0 idle=1 locked=0'), {
    session: 'unknown',
    idleFor: undefined,
    problems: [/at logon/],
  })
  t.match(parseWindowsInput('session=1 idle=4294967295 locked=0'), {
    session: 'local',
    idleFor: undefined,
    problems: [/does not say/],
  })
  t.equal(parseWindowsInput('Add-Type : Access denied'), undefined)
})

t.test('is one PowerShell command without a profile', async (t) => {
  const { signal } = new AbortController()
  const { run, calls } = scriptedRun({ 'powershell.exe': 'session=1 idle=1 locked=0' })
  t.match(await windowsPresence(run, signal), { session: 'local' })
  t.equal(calls.length, 1)
  t.match(calls[0], /^powershell\.exe -NoLogo -NoProfile -NonInteractive -Command /)
  t.match(WINDOWS_INPUT, /GetLastInputInfo/)
  t.equal(await windowsPresence(scriptedRun({}).run, signal), undefined)
})
