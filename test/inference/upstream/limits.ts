import t from 'tap'
import { utf8 } from '../../../src/base/bytes.ts'
import type { InferenceError } from '../../../src/inference/errors.ts'
import { Breaker } from '../../../src/inference/upstream/breaker.ts'
import { UPSTREAM_DEFAULTS } from '../../../src/inference/upstream/options.ts'
import { promptTokensIn, refusalOf } from '../../../src/inference/upstream/refusal.ts'
import { Spend } from '../../../src/inference/upstream/spend.ts'
import { sseData } from '../../../src/inference/upstream/sse.ts'
import { ManualClock } from '../../support/clock.ts'

const BREAKER = UPSTREAM_DEFAULTS.breaker
const HOUR = 3_600_000

t.test('windows of time', (t) => {
  const clock = new ManualClock(0)
  const spend = new Spend({ clock }, { perHour: 10, perDay: 25 })
  const waits = (): number => {
    try {
      spend.check()
      return 0
    } catch (error) {
      return Number((error as InferenceError).data['retryAfterSeconds'])
    }
  }
  spend.add(9)
  t.equal(waits(), 0)
  spend.add(1)
  t.equal(waits(), 3_660, 'the last hour, by the minute')
  void clock.advance(2 * HOUR)
  t.strictSame(spend.spent, { hour: 0, day: 10 })
  t.equal(waits(), 0)
  spend.add(15)
  t.equal(waits(), 61 * 24 * 60 - 2 * 3_600, 'the last day, by 24 minutes')
  t.end()
})

t.test('a breaker', (t) => {
  const clock = new ManualClock()
  const breaker = new Breaker({ clock }, BREAKER)
  const fail = () => {
    breaker.begin()
    breaker.failed()
  }
  for (let count = 0; count < 2; count++) fail()
  breaker.succeeded()
  for (let count = 0; count < 2; count++) fail()
  t.equal(breaker.state, 'closed', 'a success in between starts the row again')
  fail()
  const rests: number[] = []
  for (let count = 0; count < 9; count++) {
    rests.push(breaker.restLeft)
    void clock.advance(breaker.restLeft)
    t.equal(breaker.state, 'half-open')
    fail()
    t.equal(breaker.allows, false)
  }
  t.strictSame(rests.slice(0, 4), [5_000, 10_000, 20_000, 40_000], 'longer each time')
  t.equal(rests.at(-1), 300_000, 'with an end')
  breaker.failed()
  t.equal(breaker.restLeft, 300_000, 'what was on its way does not make it longer')
  void clock.advance(300_000)
  breaker.begin()
  breaker.left()
  t.equal(breaker.allows, true, 'a probe that tells nothing is followed by another')
  breaker.begin()
  breaker.succeeded()
  t.equal(breaker.state, 'closed')
  for (let count = 0; count < 18; count++) {
    if (count % 2 === 0) fail()
    else breaker.succeeded()
  }
  t.equal(breaker.state, 'closed')
  fail()
  t.equal(breaker.state, 'open', 'half of the latest failed')
  t.end()
})

function refused(
  status: number,
  body: unknown = '',
  headers: Record<string, string> = {},
): InferenceError {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return refusalOf(status, headers, utf8(text), 'their-name')
}

t.test('whose fault a status is', async (t) => {
  const told = { error: { message: 'their-name: bad\ntop_p', param: 'top_p', code: 'bad_value' } }
  const rows: [code: number, expected: string, status?: number][] = [
    [301, 'ENGINE_FAILED'],
    [400, 'BAD_REQUEST', 400],
    [401, 'ENGINE_FAILED'],
    [402, 'ENGINE_FAILED'],
    [403, 'ENGINE_FAILED'],
    [404, 'ENGINE_FAILED'],
    [405, 'ENGINE_FAILED'],
    [408, 'ENGINE_FAILED'],
    [413, 'TOO_LARGE'],
    [415, 'ENGINE_FAILED'],
    [422, 'BAD_REQUEST', 422],
    [429, 'BUSY'],
    [500, 'ENGINE_FAILED'],
    [503, 'BUSY'],
    [504, 'ENGINE_FAILED'],
  ]
  for (const [code, expected, passed] of rows) {
    const error = refused(code, told)
    t.equal(error.code, expected, `${code}`)
    if (passed === undefined) continue
    t.strictSame(error.data, { status: passed, param: 'top_p', reason: 'bad_value' }, `${code}`)
    t.equal(error.message, 'the model: bad top_p', `${code}`)
  }
})

t.test('what a refusal says', async (t) => {
  const byCode = refused(400, { error: { message: 'no', code: 'context_length_exceeded' } })
  t.equal(byCode.code, 'CONTEXT_LENGTH', 'by code')
  const byText = refused(400, { error: "This model's maximum context length is 8 tokens." })
  t.equal(byText.code, 'CONTEXT_LENGTH', 'by text')
  t.equal(refused(400, '<html>').message, 'The request was not accepted.')
  t.equal(refused(400, { message: 'plain' }).message, 'plain')
  t.equal(refused(400, { error: { message: 'x'.repeat(9_999) } }).message.length, 500)
  const odd = refused(400, { error: { message: 'm', param: 'a b\n', code: 7 } })
  t.strictSame(odd.data, { reason: 'invalid_value', status: 400 }, 'odd names are dropped')
  for (const [header, seconds] of [
    ['20', 20],
    ['0', 1],
    ['99999999', 3_600],
    ['Wed, 21 Oct 2026 07:28:00 GMT', 1],
  ] as const)
    for (const code of [429, 503])
      t.equal(refused(code, '', { 'retry-after': header }).data['retryAfterSeconds'], seconds)
})

t.test('how long a prompt was, in the words of servers', async (t) => {
  const rows: [message: string, tokens: number | undefined][] = [
    ['you requested 290 tokens (200 in the messages, 90 in the completion)', 200],
    ['and your request has 17 input tokens (90 > 8 - 17)', 17],
    ['300 tokens from the input messages and 9 tokens for the completion', 300],
    ['the request exceeds the available context size', undefined],
  ]
  for (const [message, tokens] of rows) t.equal(promptTokensIn(message), tokens, message)
})

t.test('events on the wire', async (t) => {
  const wire =
    ': hello\r\n\r\nevent: x\r\ndata: one\r\n\r\ndata:two\ndata: 😀\n\n\n:p\rdata: three\r\rid: 7\n\ndata: [DONE]'
  for (const size of [1, 2, 3, 5, 1_000]) {
    const bytes = utf8(wire)
    async function* chunks() {
      for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size)
    }
    const data: string[] = []
    for await (const item of sseData(chunks(), 100)) data.push(item)
    t.strictSame(data, ['one', 'two\n😀', 'three', '[DONE]'], `cut into ${size}`)
  }
  async function* once(bytes: Uint8Array) {
    yield bytes
  }
  const drain = async (bytes: Uint8Array) => {
    for await (const _ of sseData(once(bytes), 100));
  }
  await t.rejects(drain(utf8(`data: ${'x'.repeat(200)}`)), /more than 100 characters/)
  await t.rejects(drain(utf8(`data: ${'x'.repeat(60)}\n`.repeat(2))), /more than 100 characters/)
  await t.rejects(drain(Uint8Array.of(0x64, 0xff, 0x0a)), /no UTF-8/)
})
