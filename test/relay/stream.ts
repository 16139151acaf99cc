import t from 'tap'
import { concat, hex, utf8 } from '../../src/base/bytes.ts'
import { decodeHttpResponse } from '../../src/protocol/http.ts'
import { decodeRelayResponse, type RelayResponse } from '../../src/protocol/relay.ts'
import { wireError } from '../../src/relay/errors.ts'
import { EVENT_STREAM, signedResponse } from '../../src/relay/respond.ts'
import { FRAME_DELIMITER, FrameStream } from '../../src/relay/stream.ts'
import { ManualClock } from '../support/clock.ts'
import { errorOf, isSigned, operator } from '../support/relay-gateway.ts'
import { json } from '../support/vectors.ts'

/** Of the relay whose frame was made with the reference's rules. */
const HEADER = {
  applicationAddress: 'pokt1mrqt5f7qh8uxs27cjm9t7v9e74a9vvdnq5jva4',
  serviceId: 'svc1',
  sessionId: '4e6dc08e1c8e3b0a7a0a2b6d3c5f1e9d8c7b6a5f4e3d2c1b0a99887766554433',
  sessionStartBlockHeight: 1001n,
  sessionEndBlockHeight: 1020n,
}

/** Cuts at every delimiter, as whoever reads frames does; an empty rest is left out. */
function cut(bytes: Uint8Array): Uint8Array[] {
  const frames = Buffer.from(bytes).toString('latin1').split('||POKT_STREAM||')
  return frames.filter((frame) => frame !== '').map((frame) => Buffer.from(frame, 'latin1'))
}

const bodyOf = (response: RelayResponse) => decodeHttpResponse(response.payload).body
const textOf = (responses: readonly RelayResponse[]) =>
  new TextDecoder('utf-8', { fatal: true }).decode(concat(...responses.map(bodyOf)))

/** A stream over nothing: what was sent, and when it was opened. */
function setUp() {
  const clock = new ManualClock()
  const sent: Uint8Array[] = []
  const state = { opened: 0, signed: 0 }
  const stream = new FrameStream({
    clock,
    sink: {
      isAsked: true,
      open: () => {
        state.opened++
      },
      send: (frame) => sent.push(frame),
    },
    sign: (body, error) => {
      state.signed++
      const piece = { status: 200, contentType: EVENT_STREAM, body }
      return signedResponse(operator, HEADER, piece, error, 'piece')
    },
  })
  const frames = (bytes: Uint8Array = concat(...sent)) => cut(bytes).map(decodeRelayResponse)
  return { clock, stream, sent, state, frames }
}

t.test('a frame has the bytes that were worked out by hand, delimiter included', async (t) => {
  const { payload, payloadHash, signature } = json<{
    frame: { payload: string; payloadHash: string; signature: string }
  }>('documented.json').frame
  const { stream, frames } = setUp()
  stream.add('data: {"choices":[{"delta":{"content":"hi"}}]}\n\n')
  const bytes = stream.last()
  t.equal(bytes.length, 283 + 15)
  t.equal(hex(bytes.subarray(-15)), '7c7c504f4b545f53545245414d7c7c')
  const [frame] = frames(bytes)
  t.equal(hex(frame?.payload ?? utf8('')), payload)
  t.equal(hex(frame?.payloadHash ?? utf8('')), payloadHash)
  t.equal(hex(frame?.meta?.supplierOperatorSignature ?? utf8('')), signature)
})

t.test('events leave 100 ms after the first of them, though no other one comes', async (t) => {
  const { clock, stream, sent, state, frames } = setUp()
  stream.add('data: 1\n\n')
  await clock.advance(60)
  stream.add('data: 2\n\n')
  await clock.advance(39)
  t.strictSame([sent.length, state.opened], [0, 0])
  await clock.advance(1)
  t.strictSame([sent.length, state.opened], [1, 1])
  t.equal(textOf(frames()), 'data: 1\n\ndata: 2\n\n')
  await clock.advance(1_000)
  t.equal(sent.length, 1, 'nothing leaves where nothing came')
  stream.add('data: 3\n\n')
  await clock.advance(100)
  t.strictSame([sent.length, state.opened], [2, 1], 'each batch has its own time')
  for (const [n, frame] of frames().entries()) t.ok(isSigned(frame), `frame ${n}`)
})

t.test('what is full leaves with the next event, and the newest one stays', async (t) => {
  const { clock, stream, sent, frames } = setUp()
  for (let n = 0; n < 100; n++) stream.add(`data: ${n}\n\n`)
  t.equal(sent.length, 0)
  stream.add('data: 100\n\n')
  t.equal(textOf(frames()).split('\n\n').length - 1, 100, 'a hundred events')
  const large = `data: ${'x'.repeat(100 * 1024)}\n\n`
  stream.add(large)
  t.equal(sent.length, 1)
  stream.add('data: end\n\n')
  t.equal(textOf(frames().slice(1)), `data: 100\n\n${large}`, 'a hundred kilobytes')
  t.equal(textOf(frames(stream.last())), 'data: end\n\n')
  await clock.advance(1_000)
  t.equal(sent.length, 2, 'and nothing comes after the last')
})

t.test(
  'a stream that is over before its first frame is one frame, opened all the same',
  async (t) => {
    const { stream, sent, state, frames } = setUp()
    stream.add('data: all\n\n')
    t.equal(stream.isOpen, false)
    t.equal(textOf(frames(stream.last())), 'data: all\n\n')
    t.strictSame([stream.isOpen, sent.length, state.opened], [true, 0, 1])
  },
)

t.test('the last frame tells what went wrong, in place of what was held back', async (t) => {
  const { clock, stream, frames } = setUp()
  stream.add('data: 1\n\n')
  await clock.advance(100)
  stream.add('data: [DONE]\n\n')
  const [last] = frames(stream.last(wireError('LATE', ''), 'data: {"error":{}}\n\n'))
  t.equal(textOf(last === undefined ? [] : [last]), 'data: {"error":{}}\n\n')
  t.equal(last && errorOf(last), 'relayer_proxy 10')
  t.ok(last && isSigned(last))
  t.equal(frames().length, 1)
})

t.test('nothing leaves a stream that was stopped, even if its time had just come', async (t) => {
  const { clock, stream, sent } = setUp()
  stream.add('data: 1\n\n')
  const ticking = clock.advance(100)
  stream.stop()
  await ticking
  t.equal(sent.length, 0)
  stream.stop()
})

t.test('the delimiter in a text is cut in its middle, wherever it stands', async (t) => {
  const mark = '||POKT_STREAM||'
  const texts = [
    mark,
    `a${mark}b`,
    `${mark}${mark}${mark}`,
    `${mark}POKT_STREAM||`,
    `|${mark}|`,
    `${'ä'.repeat(50)}${mark}${'€'.repeat(50)}${mark}`,
    '||POKT_',
    'STREAM||',
    '|',
    '',
    ...Array.from({ length: 260 }, (_, n) => `|POKT_STREAM||${'x'.repeat(n)}`),
    ...Array.from({ length: 16 }, (_, n) => mark.slice(0, n)),
  ]
  for (const text of texts) {
    const { stream, frames, state } = setUp()
    stream.add(text)
    const bytes = stream.last(wireError('ENGINE', ''))
    const responses = frames(bytes)
    const name = JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}… ${text.length}` : text)
    t.equal(textOf(responses), text, name)
    t.ok(responses.every(isSigned), name)
    const errors = responses.map(errorOf)
    t.strictSame(errors.pop(), 'relayer_proxy 5', `${name}: the last one tells it`)
    t.ok(
      errors.every((error) => error === undefined),
      `${name}: and no other`,
    )
    t.ok(state.signed <= 2 * responses.length, name)
    t.equal(hex(bytes.subarray(-15)), hex(FRAME_DELIMITER), name)
  }
})

t.test('a text full of delimiters costs no more than one signature for each', async (t) => {
  const { stream, frames, state } = setUp()
  stream.add('||POKT_STREAM||'.repeat(1_000))
  const responses = frames(stream.last())
  t.equal(textOf(responses), '||POKT_STREAM||'.repeat(1_000))
  t.strictSame([responses.length, state.signed], [1_001, 1_001])
})
