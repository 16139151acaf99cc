import t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { StoreError } from '../../src/store/errors.ts'
import { answered, bench, hang, pending, until } from '../support/relay-bench.ts'
import { checkSigned as check, minedAs } from '../support/relay-checks.ts'
import { errorOf, innerOf, isRefusal } from '../support/relay-gateway.ts'

const MAX = 5

t.test('while draining, relays are refused and those that run go on', async (t) => {
  const b = await bench(t, { relaysMax: MAX })
  const hold = pending<void>()
  b.inference.reply = async () => {
    await hold.done
    return answered()
  }
  const running = b.send(b.request())
  await until(() => b.inference.requests.length === 1)
  b.handler.drain()
  const refused = await b.send(b.request())
  check(t, b, refused, 429, 'relayer_proxy 10')
  t.equal(innerOf(refused).headers['Retry-After'], '30')
  t.ok(isRefusal(await b.send(utf8('garbage'))), 'what cannot be authorised is still not signed')
  hold.end()
  check(t, b, await running, 200, undefined)
  t.equal(b.inference.requests.length, 1)
  t.equal(await b.left(), MAX - 1)
})

t.test('a client that leaves before the record cancels its relay', async (t) => {
  const b = await bench(t, { relaysMax: MAX })
  b.inference.reply = hang
  const gone = new AbortController()
  const left = t.rejects(b.send(b.request(), gone.signal), new RangeError('gone'))
  await until(() => b.inference.requests.length === 1)
  gone.abort(new RangeError('gone'))
  await left
  t.equal((await b.mined()).length + (await b.served()), 0)
  t.equal(await b.left(), MAX)
  t.equal(b.handler.counts.gone, 1)
  t.equal(b.gate.inFlight(b.key()), 0)
})

t.test('an engine that answers a client that has left is not recorded', async (t) => {
  const b = await bench(t, { relaysMax: MAX })
  const gone = new AbortController()
  b.inference.reply = async () => {
    gone.abort(new RangeError('gone'))
    return answered()
  }
  await t.rejects(b.send(b.request(), gone.signal), new RangeError('gone'))
  t.equal(await b.served(), 0)
  t.equal(await b.left(), MAX)
})

t.test('a client that leaves during the record changes nothing', async (t) => {
  const b = await bench(t, { relaysMax: MAX })
  const disk = pending<void>()
  b.disk = disk.done
  const gone = new AbortController()
  const request = b.request()
  const answer = b.send(request, gone.signal)
  await until(() => b.writes === 1)
  gone.abort(new RangeError('gone'))
  disk.end()
  const response = await answer
  check(t, b, response, 200, undefined)
  t.ok(await minedAs(b, request, response))
  t.equal(await b.left(), MAX - 1)
  t.equal(b.handler.counts.mined, 1)
})

t.test('a session that is sealed under a running relay answers it 504', async (t) => {
  const b = await bench(t, { relaysMax: MAX })
  b.inference.reply = hang
  const running = b.send(b.request())
  await until(() => b.inference.requests.length === 1)
  await b.gate.seal(b.key(), true, async () => 'root')
  check(t, b, await running, 504, 'relayer_proxy 10')
  t.equal((await b.mined()).length + (await b.served()), 0)
  t.equal(b.gate.inFlight(b.key()), 0)
  t.equal(await b.left(), MAX)
  const late = await b.send(b.request())
  t.ok(isRefusal(late))
  t.equal(errorOf(late), 'relay_authenticator 1', 'later ones are too late')
  t.equal(b.inference.requests.length, 1)
})

t.test('a seal waits for a relay that is being written, and its answer goes out', async (t) => {
  const b = await bench(t, { relaysMax: MAX })
  const disk = pending<void>()
  b.disk = disk.done
  const request = b.request()
  const answer = b.send(request)
  await until(() => b.writes === 1)
  const sealed = b.gate.seal(b.key(), true, async () => (await b.mined()).length)
  disk.end()
  t.equal(await sealed, 1, 'it is in the root')
  const response = await answer
  check(t, b, response, 200, undefined)
  t.ok(await minedAs(b, request, response))
})

t.test('an answer that comes when the session was just sealed is not recorded', async (t) => {
  const b = await bench(t, { relaysMax: MAX })
  const hold = pending<void>()
  b.inference.reply = async () => {
    await hold.done
    return answered()
  }
  const running = b.send(b.request())
  await until(() => b.inference.requests.length === 1)
  await b.gate.seal(b.key(), true, async () => 'root')
  hold.end()
  check(t, b, await running, 504, 'relayer_proxy 10')
  t.equal(await b.served(), 0)
})

for (const method of ['difficulty', 'computeUnitsPerRelay', 'sessionParams'])
  t.test(`a chain that does not say the ${method} refuses the relay, signed`, async (t) => {
    const b = await bench(t, { relaysMax: MAX })
    const request = b.request()
    b.chain.fall(true, method)
    const response = await b.send(request)
    check(t, b, response, 429, 'relayer_proxy 10')
    t.equal(innerOf(response).headers['Retry-After'], '5')
    t.equal(b.inference.requests.length, 0)
    t.equal(b.handler.counts.refused, 1)
    b.chain.fall(false)
    check(t, b, await b.send(request), 200, undefined)
    t.equal(await b.left(), MAX - 1)
  })

t.test('a disk that does not take the relay is our fault, signed, and costs nothing', async (t) => {
  const b = await bench(t, { relaysMax: MAX })
  b.disk = Promise.reject(new StoreError('DISK', 'full', { retryable: true }))
  b.disk.catch(() => {})
  check(t, b, await b.send(b.request()), 502, 'relayer_proxy 5')
  t.equal(await b.left(), MAX)
  t.equal(b.handler.counts.failed, 1)
  t.equal(b.gate.inFlight(b.key()), 0)
})

t.test('an engine that throws is our fault, signed, and costs nothing', async (t) => {
  const b = await bench(t, { relaysMax: MAX })
  b.inference.reply = () => Promise.reject(new TypeError('a bug that quotes a prompt'))
  const response = await b.send(b.request())
  check(t, b, response, 502, 'relayer_proxy 5')
  t.notMatch(innerOf(response).body, /prompt/, 'and nothing of ours gets out')
  t.equal(await b.left(), MAX)
})
