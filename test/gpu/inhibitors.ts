import t from 'tap'
import {
  parseActiveWindow,
  parseAssertions,
  parseInhibitorsJson,
  parseInhibitorsTable,
  parseRequests,
  parseWindow,
  readInhibitors,
} from '../../src/gpu/inhibitors.ts'
import { scriptedRun } from '../support/scripted-run.ts'

const { signal } = new AbortController()

const JSON_LIST = JSON.stringify({
  type: 'a(ssssuu)',
  data: [
    [
      ['sleep', 'NetworkManager', 'NetworkManager needs to turn off networks', 'delay', 0, 1001],
      ['handle-power-key:handle-suspend-key', 'ada', 'GNOME handling keypresses', 'block', 1000, 2],
      ['sleep:idle', 'Firefox', 'video-playing', 'block', 1000, 4242],
      ['idle', 'Weak', 'newer kind', 'block-weak', 1000, 4243],
      ['idle', 'Late', 'only delays', 'delay', 1000, 4244],
      ['shutdown', 'Packages', 'an update', 'block', 0, 99],
    ],
  ],
})

const TABLE = `ModemManager        0    root 1145 ModemManager    sleep                                 ModemManager needs to reset devices                    delay
ada                 1000 ada  2231 gsd-media-keys  handle-power-key:handle-suspend-key   GNOME handling keypresses                              block
user session        1000 ada  2190 gnome-session-b idle                                  user session inhibited                                 block
UPower              0    root 1302 upowerd         sleep                                 Pause device polling                                   delay
`

const ASSERTIONS = `2026-11-29 10:00:00 +0100
Assertion status system-wide:
   BackgroundTask                 0
   PreventUserIdleDisplaySleep    1
   PreventUserIdleSystemSleep     1
Listed by owning process:
   pid 96(powerd): [0x0000000100010001] 00:12:01 PreventUserIdleSystemSleep named: "Powerd - Prevent sleep while display is on"
   pid 611(Google Chrome): [0x0000a1b200018db1] 00:03:10 PreventUserIdleDisplaySleep named: "Video Wake Lock"
\tTimeout will fire in 12 secs Action=TimeoutActionRelease
   pid 377(zoom.us): [0x0000a1b200058db2] 00:00:09 NoDisplaySleepAssertion named: "Zoom Video Communications"
`

const REQUESTS = `DISPLAY:\r
[PROCESS] \\Device\\HarddiskVolume3\\Program Files\\VideoLAN\\VLC\\vlc.exe\r
Wiedergabe\r
\r
SYSTEM:\r
[DRIVER] Realtek High Definition Audio\r
An audio stream is currently in use.\r
\r
AWAYMODE:\r
Keine.\r
`

t.test('logind: only what keeps the screen awake', async (t) => {
  t.strictSame(parseInhibitorsJson(JSON_LIST), [
    { who: 'Firefox', why: 'video-playing' },
    { who: 'Weak', why: 'newer kind' },
  ])
  for (const wrong of ['', 'null', '{}', '{"data":[]}', '{"data":[7]}'])
    t.equal(parseInhibitorsJson(wrong), undefined, wrong)
  t.strictSame(parseInhibitorsJson('{"data":[[7,["idle"],["idle","","x\\u001b[1m","block"]]]}'), [
    { who: 'a program', why: 'x [1m' },
  ])
  t.strictSame(parseInhibitorsTable(TABLE), [
    { who: 'user session', why: 'user session inhibited' },
  ])
  t.strictSame(parseInhibitorsTable('No inhibitors.\n'), [])
})

t.test('macOS: the screen, not the machine', async (t) => {
  t.strictSame(parseAssertions(ASSERTIONS), [
    { who: 'Google Chrome', why: 'Video Wake Lock' },
    { who: 'zoom.us', why: 'Zoom Video Communications' },
  ])
  t.strictSame(parseAssertions('Assertion status system-wide:\n'), [])
})

t.test('Windows: the part of the screen, in any language', async (t) => {
  t.strictSame(parseRequests(REQUESTS), [{ who: 'vlc.exe', why: '' }])
  t.strictSame(parseRequests('DISPLAY:\r\nNone.\r\n\r\nSYSTEM:\r\n[DRIVER] Audio\r\n'), [])
  t.strictSame(parseRequests('This command requires administrator privileges'), [])
})

t.test('X11: the window in front, when it fills the screen', async (t) => {
  t.equal(parseActiveWindow('_NET_ACTIVE_WINDOW(WINDOW): window id # 0x3a00007\n'), '0x3a00007')
  t.equal(parseActiveWindow('_NET_ACTIVE_WINDOW(WINDOW): window id # 0x0\n'), undefined)
  t.equal(parseActiveWindow('_NET_ACTIVE_WINDOW:  no such atom on any window.\n'), undefined)
  const state = '_NET_WM_STATE(ATOM) = _NET_WM_STATE_FOCUSED'
  const name = 'WM_CLASS(STRING) = "steam_app_620", "steam_app_620"\n'
  t.strictSame(parseWindow(`${state}, _NET_WM_STATE_FULLSCREEN\n${name}`), {
    who: 'steam_app_620',
    why: 'a full-screen window',
  })
  t.equal(parseWindow(`${state}\n${name}`), undefined)
  t.match(parseWindow(`${state}, _NET_WM_STATE_FULLSCREEN\n`), { who: 'a program' })
})

t.test('asks who can be asked', async (t) => {
  const read = (platform: string, answers: Record<string, string>) =>
    readInhibitors(scriptedRun(answers).run, platform, 'local', signal)
  const linux = { 'busctl call org.freedesktop.login1': JSON_LIST }
  t.match(await read('linux', linux), [{ who: 'Firefox' }, { who: 'Weak' }])
  t.match(await read('linux', { 'systemd-inhibit --list': TABLE }), [{ who: 'user session' }])
  t.strictSame(await read('linux', {}), [], 'a machine without any of it')
  const gnome = 'gdbus call --session --dest=org.gnome.SessionManager'
  t.match(await read('linux', { [gnome]: '(true,)\n' }), [{ why: 'it keeps the screen awake' }])
  t.strictSame(await read('linux', { [gnome]: '(false,)\n' }), [])
  const kde = 'gdbus call --session --dest=org.kde.Solid.PowerManagement.PolicyAgent'
  t.equal((await read('linux', { [kde]: '(true,)\n' }))?.length, 1)
  const game = {
    'xprop -root': '_NET_ACTIVE_WINDOW(WINDOW): window id # 0x3a00007\n',
    'xprop -id 0x3a00007':
      '_NET_WM_STATE(ATOM) = _NET_WM_STATE_FULLSCREEN\nWM_CLASS(STRING) = "a", "b"\n',
  }
  t.match(await read('linux', game), [{ who: 'b', why: 'a full-screen window' }])
  t.equal((await read('darwin', { 'pmset -g assertions': ASSERTIONS }))?.length, 2)
  t.equal(await read('darwin', {}), undefined, 'not known')
  t.equal((await read('win32', { 'powercfg.exe /requests': REQUESTS }))?.length, 1)
  t.strictSame(await read('win32', {}), [], 'only an administrator may ask')
})

t.test('our own lock does not count, nor anything without a screen', async (t) => {
  const ours = JSON.stringify({ data: [[['idle', 'pokt-supplier', 'serving', 'block', 0, 1]]] })
  const { run, calls } = scriptedRun({ 'busctl call': ours })
  t.strictSame(await readInhibitors(run, 'linux', 'local', signal), [])
  calls.length = 0
  t.strictSame(await readInhibitors(run, 'linux', 'none', signal), [])
  t.equal(calls.length, 0)
})
