import t from 'tap'
import { macPresence, parseConsole, parseHidIdle } from '../../src/gpu/presence-macos.ts'
import { scriptedRun } from '../support/scripted-run.ts'

const INPUT = `+-o Root  <class IORegistryEntry, id 0x100000100, retain 37>
  +-o J314sAP  <class IOPlatformExpertDevice, id 0x100000227, registered, matched, active>
    +-o IOResources  <class IOResources, id 0x10000022a, registered, matched, active>
      +-o IOHIDSystem  <class IOHIDSystem, id 0x1000003a8, registered, matched, active, busy 0>
          {
            "HIDIdleTime" = 12345678901
            "HIDScrollCountMaxTimeDeltaBetween" = 600
            "IOClass" = "IOHIDSystem"
          }
`

function root(users: string): string {
  return `+-o Root  <class IORegistryEntry, id 0x100000100, retain 37>
    {
      "IOKitBuildVersion" = "Darwin Kernel Version 24.6.0"
      "IOConsoleLocked" = No
      "IOConsoleUsers" = (${users})
      "OS Build Version" = "24G90"
    }
`
}

const ADA =
  '{"kCGSSessionGroupIDKey"=20,"kCGSSessionOnConsoleKey"=Yes,"kSCSecuritySessionID"=100018,"kCGSSessionUserNameKey"="ada","kCGSessionLoginDoneKey"=Yes,"kCGSSessionUserIDKey"=501}'

t.test('the least of all input systems, in ms', async (t) => {
  t.equal(parseHidIdle(INPUT), 12_345.678901)
  t.equal(parseHidIdle(`${INPUT}"HIDIdleTime" = 2000000`), 2)
  t.equal(parseHidIdle('nothing'), undefined)
})

t.test('who is at the console', async (t) => {
  const locked = ADA.replace('{', '{"CGSSessionScreenIsLocked"=Yes,')
  const away = ADA.replace('OnConsoleKey"=Yes', 'OnConsoleKey"=No')
  const window = ADA.replace('LoginDoneKey"=Yes', 'LoginDoneKey"=No')
  t.strictSame(parseConsole(root(ADA)), { hasUser: true, isLocked: false })
  t.strictSame(parseConsole(root(locked)), { hasUser: true, isLocked: true })
  t.strictSame(parseConsole(root(`${locked},${away}`)), { hasUser: true, isLocked: true })
  t.strictSame(parseConsole(root(away)), { hasUser: false, isLocked: false })
  t.strictSame(parseConsole(root(window)), { hasUser: false, isLocked: false }, 'the login window')
  t.strictSame(parseConsole(root('')), { hasUser: false, isLocked: false })
  t.equal(parseConsole('no such thing'), undefined)
})

t.test('puts both together', async (t) => {
  const { signal } = new AbortController()
  const read = (answers: Record<string, string>) => macPresence(scriptedRun(answers).run, signal)
  const input = { 'ioreg -c IOHIDSystem': INPUT }
  t.match(await read({ 'ioreg -n Root': root(ADA), ...input }), {
    session: 'local',
    idleFor: 12_345.678901,
    isLocked: false,
    problems: [],
  })
  t.match(await read({ 'ioreg -n Root': root(''), ...input }), { session: 'none' })
  t.match(await read(input), { session: 'unknown', idleFor: 12_345.678901 })
  t.match(await read({ 'ioreg -n Root': root(ADA) }), { session: 'local', problems: [/ioreg/] })
  t.equal(await read({}), undefined)
})
