import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ms } from '../../src/base/units.ts'
import { Pauses, parsePause } from '../../src/gpu/pauses.ts'
import { ManualClock } from '../support/clock.ts'

function setUp(t: Test) {
  const clock = new ManualClock()
  const folder = t.testdir()
  const file = join(folder, 'pause.json')
  const pauses = () => new Pauses({ now: () => clock.now() }, file)
  return { clock, folder, file, pauses }
}

t.test('holds until its end, over a restart', async (t) => {
  const { clock, folder, pauses } = setUp(t)
  t.strictSame(await pauses().current(), {})
  const until = ms(clock.now() + 60_000)
  const pause = await pauses().pause(until, 'a film')
  t.strictSame(pause, { since: clock.now(), until, note: 'a film' })
  t.strictSame(await pauses().current(), { pause }, 'another process sees it')
  await clock.advance(59_999)
  t.strictSame(await pauses().current(), { pause })
  await clock.advance(1)
  t.strictSame(await pauses().current(), {}, 'over')
  t.strictSame(await readdir(folder), ['pause.json'], 'no parts are left')
})

t.test('without an end it holds until it is taken back', async (t) => {
  const { clock, pauses } = setUp(t)
  await pauses().pause(ms(clock.now() + 5))
  await pauses().pause()
  await clock.advance(1e10)
  t.match(await pauses().current(), { pause: { until: undefined } })
  await pauses().resume()
  t.strictSame(await pauses().current(), {})
  await pauses().resume()
})

t.test('a file that is not one counts as no pause, and that is said', async (t) => {
  const { file, pauses } = setUp(t)
  const wrong = [
    '',
    '{"v":1',
    'null',
    '[]',
    '{"v":2,"since":1}',
    '{"v":1}',
    '{"v":1,"since":"x"}',
    '{"v":1,"since":1,"until":-1}',
    '{"v":1,"since":1,"until":null}',
    `{"v":1,"since":1,"note":"${'x'.repeat(5_000)}"}`,
  ]
  for (const text of wrong) {
    await writeFile(file, text)
    const state = await pauses().current()
    t.equal(state.pause, undefined, text.slice(0, 40))
    t.match(state.problem, /pause\.json holds no pause/, text.slice(0, 40))
  }
  await rm(file)
  await mkdir(file)
  t.match(await pauses().current(), { problem: /cannot be read/ })
})

t.test('a note is short, and nothing else is kept', async (t) => {
  const { file, pauses } = setUp(t)
  await pauses().pause(undefined, 'x'.repeat(1_000))
  t.equal((await pauses().current()).pause?.note?.length, 200)
  t.strictSame(Object.keys(JSON.parse(await readFile(file, 'utf8'))), ['v', 'since', 'note'])
  t.strictSame(parsePause('{"v":1,"since":1,"evil":true,"note":7}'), { since: 1 })
})
