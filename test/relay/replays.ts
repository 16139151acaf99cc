import t from 'tap'
import { concat, utf8 } from '../../src/base/bytes.ts'
import { encodeRing, parseRing } from '../../src/crypto/ring.ts'
import {
  encodeRelayRequest,
  type RelayRequest,
  type RelayResponse,
  requestSignableHash,
} from '../../src/protocol/relay.ts'
import { StoreError } from '../../src/store/errors.ts'
import { answered, Bench, bench, hang, pending, until } from '../support/relay-bench.ts'
import {
  errorOf,
  isRefusal,
  isSigned,
  signed,
  turned,
  withSignature,
} from '../support/relay-gateway.ts'

const MAX = 9

/** Length-delimited fields, in the order given: any decoder takes them, no encoder writes them so. */
function field(number: number, value: Uint8Array): Uint8Array {
  const length =
    value.length < 128 ? [value.length] : [(value.length & 127) | 128, value.length >> 7]
  return Uint8Array.of((number << 3) | 2, ...length, ...value)
}

/** The same request with its fields in the opposite order and one that nobody knows. */
function reordered({ meta, payload }: RelayRequest): Uint8Array {
  const header = meta?.sessionHeader
  if (meta === undefined || header === undefined) throw new RangeError('no header')
  const int = (number: number, value: bigint) => Uint8Array.of(number << 3, Number(value))
  const inner = concat(
    int(5, header.sessionEndBlockHeight),
    int(4, header.sessionStartBlockHeight),
    field(3, utf8(header.sessionId)),
    field(2, utf8(header.serviceId)),
    field(1, utf8(header.applicationAddress)),
  )
  const outer = concat(
    field(3, utf8(meta.supplierOperatorAddress)),
    field(2, meta.signature),
    field(1, inner),
  )
  return concat(field(15, utf8('unknown')), field(2, payload), field(1, outer))
}

const isReplay = (response: RelayResponse) =>
  isRefusal(response) && errorOf(response) === 'relay_authenticator 4'

t.test('a request is answered and mined once', async (t) => {
  const b = await bench(t, { relaysMax: MAX })
  const bytes = b.bytes()
  t.ok(isSigned(await b.send(bytes)))
  for (let i = 0; i < 3; i++) t.ok(isReplay(await b.send(bytes)), `time ${i}`)
  t.equal(b.inference.requests.length, 1)
  t.strictSame([(await b.mined()).length, await b.served()], [1, 1])
  t.equal(await b.left(), MAX - 1)
  t.equal(b.gate.inFlight(b.key()), 0)
})

t.test('of ten copies at once one is answered', async (t) => {
  const b = await bench(t, { relaysMax: MAX })
  const bytes = b.bytes()
  const hold = pending<void>()
  b.inference.reply = async () => {
    await hold.done
    return answered({ body: utf8(`{"n":${b.inference.requests.length}}`) })
  }
  const all = Promise.all(Array.from({ length: 10 }, () => b.send(bytes)))
  await until(() => b.handler.counts.rejected === 9)
  hold.end()
  const responses = await all
  t.equal(responses.filter(isSigned).length, 1)
  t.equal(responses.filter(isReplay).length, 9)
  t.equal(b.inference.requests.length, 1)
  t.strictSame([(await b.mined()).length, await b.served()], [1, 1])
  t.equal(await b.left(), MAX - 1)
})

t.test('the same request in another order of its fields is the same request', async (t) => {
  const b = await bench(t)
  const request = b.request()
  const other = reordered(request)
  t.not(other.length, encodeRelayRequest(request).length)
  t.ok(isSigned(await b.send(other)))
  t.ok(isReplay(await b.send(request)))
  t.ok(isReplay(await b.send(other)))
  t.equal(b.inference.requests.length, 1)
  t.equal((await b.mined()).length, 1)
})

t.test('a ring signature that was turned by a stranger is the same request', async (t) => {
  const b = await bench(t, { relaysMax: MAX })
  const request = b.request()
  const ring = parseRing(request.meta?.signature ?? utf8(''))
  const other = withSignature(request, encodeRing(turned(requestSignableHash(request), ring)))
  t.ok(isSigned(await b.send(request)))
  t.ok(isReplay(await b.send(other)))
  t.equal(await b.left(), MAX - 1)
})

t.test('a gateway that signs its request anew sends another relay', async (t) => {
  const b = await bench(t)
  const draft = b.draft()
  t.ok(isSigned(await b.send(signed(draft))))
  t.ok(isSigned(await b.send(signed(draft))))
  t.strictSame([(await b.mined()).length, await b.served()], [2, 2])
})

t.test('after a restart what was answered is still known', async (t) => {
  const b = await bench(t, { relaysMax: MAX })
  const bytes = b.bytes()
  await b.send(bytes)
  const again = new Bench(b.store, { relaysMax: MAX })
  t.ok(isReplay(await again.send(bytes)))
  t.equal(again.inference.requests.length, 0)
  t.equal(await again.left(), MAX - 1, 'and so is what it cost')
})

t.test('a relay of which no leaf was made is a replay too', async (t) => {
  const b = await bench(t)
  b.chain.target = new Uint8Array(32)
  const bytes = b.bytes()
  t.ok(isSigned(await b.send(bytes)))
  t.ok(isReplay(await b.send(bytes)))
})

/** What ends a first attempt without an answer that counts. */
const FAILURES: Record<string, (b: Bench, bytes: Uint8Array) => Promise<unknown>> = {
  'the engine failed': (b, bytes) => {
    b.inference.reply = async () => answered({ status: 502, failed: 'engine' })
    return b.send(bytes)
  },
  'it was refused': (b, bytes) => {
    b.inference.reply = async () => answered({ status: 429, refused: true })
    return b.send(bytes)
  },
  'the client left': async (b, bytes) => {
    b.inference.reply = hang
    const gone = new AbortController()
    const left = b.send(bytes, gone.signal).catch(() => {})
    await until(() => b.inference.requests.length === 1)
    gone.abort(new RangeError('gone'))
    await left
  },
  'the disk refused it': async (b, bytes) => {
    b.disk = Promise.reject(new StoreError('QUEUE_FULL', 'slow', { retryable: true }))
    b.disk.catch(() => {})
    await b.send(bytes)
    b.disk = Promise.resolve()
  },
  'the chain was silent': async (b, bytes) => {
    b.chain.fall(true, 'sessionParams')
    await b.send(bytes)
    b.chain.fall(false)
  },
}

for (const [name, fail] of Object.entries(FAILURES))
  t.test(`when ${name}, the same request may be sent again`, async (t) => {
    const b = await bench(t, { relaysMax: MAX })
    const bytes = b.bytes()
    await fail(b, bytes)
    t.equal(await b.served(), 0)
    b.inference.reply = async () => answered()
    t.ok(isSigned(await b.send(bytes)))
    t.equal(errorOf(await b.send(bytes)), 'relay_authenticator 4')
    t.strictSame([(await b.mined()).length, await b.left()], [1, MAX - 1])
  })
