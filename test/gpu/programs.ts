import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import {
  matchPrograms,
  parsePs,
  parseTasklist,
  programName,
  readPrograms,
} from '../../src/gpu/programs.ts'
import { scriptedRun } from '../support/scripted-run.ts'

const { signal } = new AbortController()
const { run } = scriptedRun({})

t.test('names', async (t) => {
  const table: [string, string][] = [
    ['/usr/bin/blender', 'blender'],
    ['Z:\\Games\\Witcher 3\\bin\\Witcher3.EXE', 'witcher3'],
    ['steam.exe', 'steam'],
    ['/Applications/Final Cut Pro.app/Contents/MacOS/Final Cut Pro', 'final cut pro'],
    ['', ''],
  ]
  for (const [path, name] of table) t.equal(programName(path), name, path)
})

t.test('the list is matched as its owner wrote it', async (t) => {
  const running = [
    '/usr/bin/blender',
    'Z:\\g\\Cyberpunk2077.exe',
    'DaVinci Resolve',
    'a-very-long-nam',
  ]
  t.strictSame(matchPrograms(running, ['Blender', 'steam', 'cyberpunk2077']), [
    'Blender',
    'cyberpunk2077',
  ])
  t.strictSame(matchPrograms(running, ['davinci resolve.exe']), ['davinci resolve.exe'])
  t.strictSame(matchPrograms(running, ['a-very-long-name-of-a-program']), [
    'a-very-long-name-of-a-program',
  ])
  t.strictSame(matchPrograms(running, ['blend', '', '.exe']), [], 'a part of a name is no name')
})

t.test('lists of other systems', async (t) => {
  const csv =
    '"System Idle Process","0","Services","0","8 K"\r\n"steam.exe","4242","Console","1","9 K"\r\n'
  t.strictSame(parseTasklist(csv), ['System Idle Process', 'steam.exe'])
  const ps = '/sbin/launchd\n/Applications/Final Cut Pro.app/Contents/MacOS/Final Cut Pro\n\n'
  t.equal(parsePs(ps).length, 2)
  const windows = scriptedRun({ 'tasklist.exe /fo csv /nh': csv })
  t.strictSame(await readPrograms({ run: windows.run, platform: 'win32' }, ['Steam'], signal), [
    'Steam',
  ])
  const mac = scriptedRun({ 'ps -axo comm=': ps })
  const wanted = ['final cut pro', 'steam']
  t.strictSame(await readPrograms({ run: mac.run, platform: 'darwin' }, wanted, signal), [
    'final cut pro',
  ])
  t.equal(await readPrograms({ run, platform: 'darwin' }, wanted, signal), undefined)
  t.strictSame(await readPrograms({ run, platform: 'darwin' }, [], signal), [], 'nobody is asked')
})

t.test('Linux: by the name of the process and its first argument', async (t) => {
  const root = t.testdir()
  const put = async (pid: string, comm: string, cmdline: string) => {
    await mkdir(join(root, 'proc', pid), { recursive: true })
    await writeFile(join(root, 'proc', pid, 'comm'), `${comm}\n`)
    await writeFile(join(root, 'proc', pid, 'cmdline'), cmdline)
  }
  await put('1', 'systemd', '/sbin/init\0splash\0')
  await put('7', 'blender', '')
  await put('4242', 'Cyberpunk2077.e', 'Z:\\games\\bin\\x64\\Cyberpunk2077.exe\0-skip\0')
  await put('4300', 'MainThread', '/usr/lib/steam/steam\0--silent\0')
  await put('self', 'never', 'never\0')
  await mkdir(join(root, 'proc', '5000'))
  const wanted = ['cyberpunk2077', 'STEAM', 'blender', 'never', 'splash', 'mainthread']
  t.strictSame(await readPrograms({ run, platform: 'linux', root }, wanted, signal), [
    'cyberpunk2077',
    'STEAM',
    'mainthread',
  ])
  const empty = { run, platform: 'linux', root: join(root, 'none') }
  t.equal(await readPrograms(empty, wanted, signal), undefined, 'no /proc')
  const reason = new Error('gone')
  const aborted = readPrograms({ run, platform: 'linux', root }, wanted, AbortSignal.abort(reason))
  await t.rejects(aborted, reason)
})

t.test('a real program is found', { skip: process.platform !== 'linux' }, async (t) => {
  const wanted = ['sleep']
  const child = spawn('sleep', ['30'])
  t.teardown(() => child.kill())
  await once(child, 'spawn')
  t.strictSame(await readPrograms({ run, platform: 'linux' }, wanted, signal), wanted)
})
