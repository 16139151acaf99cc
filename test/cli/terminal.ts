import { PassThrough } from 'node:stream'
import t from 'tap'
import { askOn } from '../../src/cli/terminal.ts'

function terminal() {
  const stop = new AbortController()
  const input = new PassThrough()
  const output = new PassThrough()
  const interrupt = () => stop.abort(new Error('stopped by SIGINT'))
  const shown = () => String(output.read() ?? '')
  return { input, output, signal: stop.signal, interrupt, shown }
}

t.test('a question is shown, and so is what is typed', async (t) => {
  const { shown, ...on } = terminal()
  const answer = askOn(on, 'Stake? [y/N] ', false)
  on.input.write('yes\r')
  t.equal(await answer, 'yes')
  t.match(shown(), /Stake\? \[y\/N\] .*yes/s)
})

t.test('what is typed at a hidden question is not', async (t) => {
  const { shown, ...on } = terminal()
  const answer = askOn(on, 'Passphrase: ', true)
  on.input.write('secret wordx\x7f\r')
  t.equal(await answer, 'secret word', 'and can be corrected')
  const screen = shown()
  t.match(screen, /Passphrase: /)
  t.notMatch(screen, /s.?e.?c.?r|word/)
  t.match(screen, /\n$/, 'the line ends all the same')
})

t.test('two questions after one another', async (t) => {
  const { shown, ...on } = terminal()
  const first = askOn(on, 'First: ', true)
  on.input.write('one\r')
  t.equal(await first, 'one')
  const second = askOn(on, 'Second: ', true)
  on.input.write('two\r')
  t.equal(await second, 'two')
  t.match(shown(), /First: .*Second: /s)
})

t.test('Ctrl-C interrupts', async (t) => {
  const { shown, ...on } = terminal()
  const answer = askOn(on, 'Passphrase: ', true)
  on.input.write('half\x03')
  await t.rejects(answer, { message: 'stopped by SIGINT' })
  t.equal(on.signal.aborted, true)
  await t.rejects(askOn(on, 'Again: ', true), { message: 'stopped by SIGINT' })
  t.notMatch(shown(), /Again/, 'nothing is asked any more')
})

t.test('SIGTERM from outside ends the question too', async (t) => {
  const { shown, ...on } = terminal()
  const answer = askOn(on, 'Passphrase: ', true)
  on.interrupt()
  await t.rejects(answer, { message: 'stopped by SIGINT' })
  t.match(shown(), /Passphrase: /)
})

t.test('an input that ends is no answer', async (t) => {
  for (const end of ['Ctrl-D', 'a closed pipe']) {
    const { shown: _shown, ...on } = terminal()
    const answer = askOn(on, 'Passphrase: ', true)
    if (end === 'Ctrl-D') on.input.write('\x04')
    else on.input.end()
    await t.rejects(answer, { code: 'ANSWER' }, end)
    t.equal(on.signal.aborted, false, end)
  }
})
