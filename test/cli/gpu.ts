import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from 'commander'
import t, { type Test } from 'tap'
import { stringify } from 'yaml'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import { gpuCommand, type MachineSeams } from '../../src/cli/gpu.ts'
import { ownPrograms } from '../../src/cli/gpu-own.ts'
import { daemonPicture, type Picture } from '../../src/cli/gpu-picture.ts'
import { gpuText, WallClock } from '../../src/cli/gpu-text.ts'
import { Pauses } from '../../src/gpu/pauses.ts'
import type { RunResult } from '../../src/gpu/run.ts'
import type { GpuSample } from '../../src/gpu/sample.ts'
import { Admin } from '../../src/ops/admin.ts'
import type { Report } from '../../src/ops/report.ts'
import { FakeTerminal } from '../support/command.ts'
import { done, nvidiaOf, RecordedPrograms, treeOf } from '../support/gpu/recorded.ts'
import { report } from '../support/report.ts'

const ID = 'GPU-4b1c5f6e-92d1-0d5f-7a3b-6f0c1a2b3c4d'
const DESKTOP = nvidiaOf('rtx3060-desktop', ['pmon'])
/** Somebody trains on it with most of its memory: node, which a daemon with the number 4242 has started. */
const WORKS: Record<string, RunResult> = {
  'nvidia-smi --query-gpu': done(
    `0, ${ID}, 00000000:01:00.0, 550.144.03, 12288, 9611, 97, 71, 164.52, 170.00, Enabled, Disabled, NVIDIA GeForce RTX 3060\n`,
  ),
  'nvidia-smi pmon': done(
    '# gpu pid type sm mem enc dec jpg ofa fb ccpm command\n    0 77 C 96 40 - - - - 9000 0 node\n',
  ),
}

interface Place {
  readonly seams: MachineSeams
  readonly words: readonly string[]
  readonly data: string
}

/** A machine without a screen. @param machine settings; absent: no configuration file */
async function place(
  t: Test,
  answers: Record<string, RunResult>,
  machine: Record<string, unknown> | undefined = {},
): Promise<Place> {
  const root = treeOf(t, '', {
    'data/kept': '',
    'home/kept': '',
    'tmp/kept': '',
    'sys/kept': '',
    'proc/77/stat': '77 (node (engine)) S 70 1 1 0',
    'proc/70/stat': '70 (sh) S 4242 1 1 0',
  })
  const path = join(root, 'supplier.yaml')
  const config = {
    dataDir: 'data',
    chain: { rpc: ['http://127.0.0.1:9'] },
    operators: [{ keyFile: 'operator.json' }],
    services: [{ id: 'text', backend: { kind: 'llamacpp', model: 'tiny' } }],
    machine,
  }
  await writeFile(path, stringify(config))
  const seams: MachineSeams = {
    run: new RecordedPrograms(answers).run,
    ...{ platform: 'linux', enginePlatform: 'linux-x64', root, home: join(root, 'home') },
    roots: { sys: join(root, 'sys'), proc: join(root, 'proc'), pciIds: [] },
    apart: ms(10),
    beside: 'file:///nowhere/node_modules/node-llama-cpp/dist/index.js',
    list: async (folder) => (folder === '/usr/lib64' ? ['libvulkan.so.1'] : []),
  }
  return { seams, words: ['gpu', '--config', path], data: join(root, 'data') }
}

async function ran(terminal: FakeTerminal, seams: MachineSeams, words: readonly string[]) {
  const root = new Command().exitOverride().addCommand(gpuCommand(terminal.context, seams))
  await root.parseAsync(['node', 'pokt-supplier', ...words])
  return terminal.printed
}

async function shown(at: Place, ...more: string[]): Promise<string> {
  return await ran(new FakeTerminal(), at.seams, [...at.words, ...more])
}

async function pictured(at: Place): Promise<Picture> {
  return JSON.parse(await shown(at, '--json')) as Picture
}

/** The admin port of a daemon, without the daemon. */
async function daemon(t: Test, { data }: Place, over: Partial<Report> = {}): Promise<void> {
  const runFile = join(data, 'run.json')
  const nothing = async () => {}
  const admin = new Admin(
    {
      ...{ health: () => [], pause: nothing, resume: nothing, log: silentLog() },
      report: async () => report(over),
      randomBytes: (n) => new Uint8Array(n).fill(1),
    },
    { host: '127.0.0.1', port: 0, runFile, pid: 4242 },
  )
  t.teardown(() => admin.stop())
  await admin.listen()
}

t.test('what is there, who uses it, and that it may be used', async (t) => {
  const at = await place(t, DESKTOP)
  const text = await shown(at)
  t.match(text, /^machine {4}may be used \(serve: when-idle\)\n/)
  t.match(
    text,
    /\ngpu 0 {6}NVIDIA GeForce RTX 3060, 0\.6 of 12\.0 GiB used, load 0 %, 41 °C, 15 of 170 W/,
  )
  t.match(text, `\n           id ${ID}, driver 550.144.03\n`)
  t.match(
    text,
    /\n {11}used by Xorg \(246 MiB\), firefox \(201 MiB\), gnome-shell \(118 MiB\)\n {11}may be used\n/,
  )
  t.match(text, /\ninput {6}nobody is logged in at a screen \(told by no display\)\n/)
  t.match(text, /\npower {6}on mains\n/)
  t.match(
    text.replaceAll(/\n {11}/g, ' '),
    /\nengine {5}none is installed This machine has .* install its runtime first/,
  )
  t.match(text, /\ndaemon {5}not running\n/)
  for (const line of text.split('\n')) t.ok(line.length <= 100, line)
})

t.test('the same as data', async (t) => {
  const picture = await pictured(await place(t, DESKTOP))
  t.match(picture, {
    settings: 'file',
    serve: 'when-idle',
    mayServe: true,
    reasons: [],
    battery: 'mains',
    presence: { session: 'none', isLocked: false, source: 'no display' },
    engine: { best: 'vulkan', advice: /RTX 3060; no engine is installed/ },
    problems: [],
  })
  t.equal(picture.cards.length, 1)
  t.match(picture.cards[0], {
    ...{ number: 0, id: ID, memoryTotal: 12_288 * 1024 ** 2, load: 0, hasDisplay: true },
    foreign: { programs: [] },
    reasons: [],
  })
  t.match(picture.cards[0]?.programs, [{ pid: 1893, name: 'Xorg', isOurs: false }, {}, {}])
  t.equal(picture.daemon, undefined)
})

t.test("somebody's work has the card", async (t) => {
  const at = await place(t, WORKS)
  const text = await shown(at)
  t.match(text, /^machine {4}may be used \(serve: when-idle\), but none of its cards\n/)
  t.match(text, /used by node \(computes, 9000 MiB, 96 %\)\n {11}left to you: /)
  t.match((await pictured(at)).cards[0]?.reasons, [{ name: 'gpu-load' }, { name: 'gpu-memory' }])
})

t.test("the running daemon's engine is nobody else", async (t) => {
  const at = await place(t, WORKS)
  const engine = { ...report().engines[0], active: 1, device: 'cuda: RTX', state: 'ready' }
  await daemon(t, at, { engines: [engine as Report['engines'][number]] })
  const text = await shown(at)
  t.match(text, /^machine {4}may be used \(serve: when-idle\)\n/)
  t.match(text, /used by node \(ours, computes, 9000 MiB, 96 %\)\n {11}may be used\n/)
  t.match(text, /\ndaemon {5}process 4242, version 1\.2\.3\n/)
})

t.test('a pause, the hours and a problem are told', async (t) => {
  const machine = { hours: ['mon-sun 00:00-00:01'], timeZone: 'UTC', gpuLoadMax: 20 }
  const at = await place(t, { 'nvidia-smi --query-gpu': done('nonsense') }, machine)
  await new Pauses({ now: () => ms(0) }, join(at.data, 'pause.json')).pause(undefined, 'a film')
  const text = await shown(at)
  t.match(text, /^machine {4}left to you: paused by hand until you resume it \(a film\); outside/)
  t.match(text, /\ncards {6}none seen; models run on the processor\n/)
  t.match(text, /\nhours {6}mon-sun 00:00-00:01: closed until \w{3} 00:00\n/)
  t.match(text, /\npause {6}until you resume it, since .*1 Jan 00:00: a film\n/)
  t.match(text, /\nPROBLEM {4}\w/)
  t.match(await pictured(at), { mayServe: false, reasons: [{ name: 'paused' }, {}] })
})

t.test('it works before there is a configuration', async (t) => {
  const { seams } = await place(t, DESKTOP)
  const text = await ran(new FakeTerminal(), seams, ['gpu'])
  t.match(text, /judged by the defaults: there is no supplier\.yaml here/)
  t.match(text, /^machine {4}may be used/)
  const missing = ['gpu', '--config', '/nowhere/supplier.yaml']
  await t.rejects(ran(new FakeTerminal(), seams, missing), { code: 'CONFIG_MISSING' })
})

t.test('a daemon that does not answer as expected is a problem and no failure', async (t) => {
  const at = await place(t, DESKTOP)
  await daemon(t, at, { earnings: 'many' as never })
  t.match(await shown(at), /\nPROBLEM {4}the daemon at http.* answers with 200\n/)
})

t.test('an engine on the processor is told where all for the card is there', async (t) => {
  const at = await place(t, DESKTOP)
  const modules = join(at.data, 'engines/3.22.1/node_modules')
  for (const name of ['node-llama-cpp', '@node-llama-cpp/linux-x64-vulkan']) {
    await mkdir(join(modules, name, 'bins'), { recursive: true })
    await writeFile(join(modules, name, 'package.json'), '{"version":"3.22.1"}')
  }
  t.match(await shown(at), /\nengine {5}vulkan, the best here\n/)
  await daemon(t, at)
  t.match(await shown(at), /computes on the processor although an NVIDIA/)
})

t.test('--watch tells changes until Ctrl-C, which is how it ends', async (t) => {
  const at = await place(t, DESKTOP, { resumeAfter: '1s' })
  const pauses = new Pauses({ now: () => ms(Date.now()) }, join(at.data, 'pause.json'))
  const terminal = new FakeTerminal()
  const running = ran(terminal, at.seams, [...at.words, '--watch'])
  const until = async (what: RegExp) => {
    for (let turn = 0; turn < 200 && !what.test(terminal.printed); turn++)
      await new Promise((resolve) => setTimeout(resolve, 50))
    t.match(terminal.printed, what)
  }
  await until(/\ndaemon /)
  await pauses.pause()
  await until(/\n\w{3} \d\d:\d\d {2}left to you: paused by hand until you resume it\n$/)
  await pauses.resume()
  await until(/\n\w{3} \d\d:\d\d {2}may be used \(serve: when-idle\)\n$/)
  terminal.interrupt()
  await running
  const changes = terminal.printed.match(/^\w{3} \d\d:\d\d {2}/gm) ?? []
  t.equal(changes.length, 2, 'what was there from the beginning is no change')
})

t.test('what the daemon does for its owner is told by newer ones', async (t) => {
  const reasons = [{ name: 'input', text: 'you used it' }]
  const owner = {
    ...{ serve: 'when-idle', since: 1, reasons, problems: [] },
    cards: [
      { id: ID, reasons: [{ name: 'heat', text: 'it is hot' }] },
      { id: 'gone', reasons },
    ],
    engines: [{ services: ['text'], state: 'has yielded' }],
    yields: { count: 3, p50: 840, p99: 1_900 },
  }
  const at = await place(t, DESKTOP)
  await daemon(t, at, { owner })
  t.strictSame((await pictured(at)).daemon, { pid: 4242, version: '1.2.3', owner })
  t.match(
    (await shown(at)).replaceAll(/\n {11}/g, '\n'),
    /version 1\.2\.3\ntext: has yielded\nleaves it to you: you used it\nleaves gpu 0 to you: it is hot\nleaves card gone to you: you used it\ngave it back 3 times, half within 0\.8 s/,
  )
  t.strictSame(daemonPicture(report()), { pid: 4242, version: '1.2.3' })
})

t.test('a card that sleeps, one without figures, and a slice', async (t) => {
  const picture = await pictured(await place(t, DESKTOP))
  const bare = { number: 1, id: 'a', vendor: 'amd', name: 'X', isShared: false } as const
  const cards = [
    { ...bare, isAsleep: true, foreign: { programs: [] }, reasons: [] },
    { ...bare, isAsleep: false, foreign: { programs: [] }, reasons: [], partOf: 'GPU-9' },
  ]
  const text = gpuText({ ...picture, cards }, new WallClock())
  t.match(text, /X, asleep: nobody uses it, .*\n {11}id a\n {11}used by nobody\n {11}may be used\n/)
  t.match(text, /X, unknown GiB used, load unknown\n {11}id a, part of GPU-9\n {11}its driver/)
})

t.test('times of a wall clock', async (t) => {
  const wall = new WallClock('Europe/Berlin')
  const now = Date.UTC(2026, 10, 29, 10, 0)
  t.equal(wall.at(now, now), 'Sun 11:00')
  t.equal(wall.at(now + 7 * 86_400_000, now), 'Sun 6 Dec 11:00')
  t.equal(wall.at(Date.UTC(2026, 10, 29, 23, 5), now), 'Mon 00:05')
})

t.test('whose programs they are under Windows', async (t) => {
  const data = t.testdir()
  const runFile = join(data, 'run.json')
  const run = new RecordedPrograms({
    'powershell.exe -NoLogo': done('77 70\r\n70 4242\r\n5 1\r\n'),
  })
  const deps = { run: run.run, platform: 'win32', proc: '/none', runFile }
  const process = (pid: number) => ({ pid, kind: 'compute' as const })
  const card: GpuSample = {
    ...{ id: 'a', vendor: 'nvidia', index: 0, name: 'X', isShared: false, isAsleep: false },
    processes: [process(77), process(5)],
  }
  const { signal } = new AbortController()
  const own = async () => [...(await ownPrograms(deps, { gpus: [card], problems: [] }, signal))]
  t.strictSame(await own(), [], 'no daemon')
  await writeFile(
    runFile,
    JSON.stringify({ pid: 4242, url: 'http://127.0.0.1:1', token: 'a'.repeat(64) }),
  )
  t.strictSame(await own(), [77])
})
