import t from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { ms } from '../../src/base/units.ts'
import { type RunResult, rememberMissing, systemRunner, textOnly } from '../../src/gpu/run.ts'
import { ManualClock } from '../support/clock.ts'

const { signal } = new AbortController()
const node = process.execPath
const run = systemRunner({ clock: systemClock, environment: { LC_ALL: 'de_DE', WORD: 'seen' } })

t.test('a program that ends well', async (t) => {
  const script =
    'process.stdout.write([process.env.LC_ALL, process.env.WORD, process.env.HOME].join())'
  t.strictSame(await run(node, ['-e', script], signal), { is: 'done', text: 'C,seen,' })
})

t.test('not there, and failed, are two answers', async (t) => {
  t.strictSame(await run('/no/such/program', [], signal), { is: 'missing' })
  t.strictSame(
    await run(node, ['-e', 'console.log("out"); console.error("err"); process.exit(9)'], signal),
    { is: 'failed', text: 'out\n\nerr' },
  )
  t.strictSame(
    await run(node, ['-e', 'process.stdout.write("a".repeat(2 ** 20 + 1))'], signal),
    { is: 'failed', text: 'a'.repeat(2_000) },
    'more than any program has to say',
  )
  const text = textOnly(run)
  t.equal(await text('/no/such/program', [], signal), undefined)
  t.equal(await text(node, ['-e', 'console.log(1)'], signal), '1\n')
})

t.test('one that hangs, and does not hear a polite request, is left', async (t) => {
  const short = systemRunner({ clock: systemClock, environment: {}, limit: ms(400) })
  const hang = ['-e', 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)']
  t.strictSame(await short(node, hang, signal), { is: 'late' })
  const controller = new AbortController()
  const reason = new Error('stopped')
  const waiting = run(node, hang, controller.signal)
  controller.abort(reason)
  await t.rejects(waiting, reason)
  await t.rejects(run(node, hang, controller.signal), reason, 'nothing is started then')
})

t.test('what is not installed is not looked for each time', async (t) => {
  const clock = new ManualClock()
  let asked = 0
  let answer: RunResult = { is: 'missing' }
  const remembering = rememberMissing(async () => {
    asked++
    return answer
  }, clock)
  const ask = () => remembering('nvidia-smi', [], signal)
  t.same([await ask(), await ask(), asked], [{ is: 'missing' }, { is: 'missing' }, 1])
  await remembering('ioreg', [], signal)
  t.equal(asked, 2, 'another program')
  answer = { is: 'done', text: '' }
  await clock.advance(299_000)
  t.same(await ask(), { is: 'missing' })
  await clock.advance(1_000)
  t.same([await ask(), await ask(), asked], [answer, answer, 4], 'it was installed meanwhile')
})
