import { Agent } from 'node:http'
import { connect } from 'node:net'
import t from 'tap'
import { ms } from '../../src/base/units.ts'
import { ManualClock } from '../support/clock.ts'
import { EchoBackend } from '../support/echo-backend.ts'
import { ask, localServer, type Reply, talk, until } from '../support/local-server.ts'
import {
  ChatCompletion,
  EmbeddingList,
  ErrorObject,
  Model,
  ModelList,
  TextCompletion,
} from '../support/openai-schema.ts'

const json = ({ text }: Reply) => JSON.parse(text)
const errorOf = (reply: Reply) => ErrorObject.parse(json(reply)).error
const chat = (content: string, more: object = {}) => ({
  messages: [{ role: 'user', content }],
  ...more,
})
/** Answers when `open` is called; until then it holds its slot, unless it is broken off. */
function held() {
  const waiting: (() => void)[] = []
  const gate = (_: unknown, signal: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      waiting.push(resolve)
      signal.addEventListener('abort', () => reject(signal.reason))
    })
  return { gate, waiting, open: () => waiting.splice(0).forEach((end) => void end()) }
}

t.test('every path of the API', async (t) => {
  const { url } = await localServer(t)
  const about = await ask(`${url}/v1/chat/completions`, { body: chat('a b') })
  t.equal(about.status, 200)
  t.equal(about.headers['content-type'], 'application/json')
  t.equal(Number(about.headers['content-length']), Buffer.byteLength(about.text))
  t.equal(ChatCompletion.parse(json(about)).choices[0]?.message.content, 'You said: a b')
  const completion = await ask(`${url}/completions`, { body: { prompt: 'a' } })
  t.equal(TextCompletion.parse(json(completion)).choices[0]?.text, 'You said: a')
  EmbeddingList.parse(json(await ask(`${url}/v1/embeddings`, { body: { input: 'a' } })))
  t.equal(json(await ask(`${url}/v1/responses`, { body: { input: 'a' } })).object, 'response')
  const { tokens } = json(await ask(`${url}/tokenize`, { body: { content: 'a b' } }))
  t.equal(json(await ask(`${url}/detokenize`, { body: { tokens } })).content, 'a b')
  t.equal(ModelList.parse(json(await ask(`${url}/v1/models`))).data[0]?.id, 'echo')
  t.equal(Model.parse(json(await ask(`${url}/v1/models/echo`))).id, 'echo')
  for (const name of ['manifest', 'config', 'config-hash'])
    t.equal((await ask(`${url}/pokt/${name}`)).status, 200, name)
})

t.test('several services at one port', async (t) => {
  const { url } = await localServer(t, [
    { serviceId: 'big', backend: new EchoBackend(), model: 'org/large', rules: { basePath: '/x' } },
    { serviceId: 'small', backend: new EchoBackend({ contextSize: 9 }), model: 'tiny' },
    { serviceId: 'chat', backend: new EchoBackend(), model: 'third' },
  ])
  const modelAt = async (path: string, model?: string) =>
    json(await ask(url + path, { body: chat('a', model === undefined ? {} : { model }) })).model
  t.equal(await modelAt('/v1/chat/completions'), 'org/large', 'the first by default')
  t.equal(await modelAt('/v1/chat/completions', 'gpt-4'), 'org/large', 'for any name')
  t.equal(await modelAt('/v1/chat/completions', 'tiny'), 'tiny', 'by the model')
  t.equal(await modelAt('/v1/chat/completions', 'small'), 'tiny', 'by the id as a model')
  t.equal(await modelAt('/small/v1/chat/completions', 'org/large'), 'tiny', 'by the path first')
  t.equal(await modelAt('/small'), 'tiny', 'at the bare path')
  t.equal(await modelAt('/chat/completions'), 'org/large', 'a path of the API is no name')
  t.equal(await modelAt('/chat/completions', 'chat'), 'third')
  const list = ModelList.parse(json(await ask(`${url}/v1/models?limit=5`)))
  t.strictSame(
    list.data.map(({ id }) => id),
    ['org/large', 'tiny', 'third'],
  )
  const one = ModelList.parse(json(await ask(`${url}/small/v1/models`)))
  t.strictSame(
    one.data.map(({ id }) => id),
    ['tiny'],
  )
  t.equal(json(await ask(`${url}/models/tiny`)).context_length, 9)
  t.equal(json(await ask(`${url}/v1/models/org/large`)).context_length, 256)
  t.equal(json(await ask(`${url}/v1/models/org%2Flarge`)).context_length, 256)
  const none = await ask(`${url}/v1/models/other`)
  t.strictSame([none.status, errorOf(none).code], [404, 'model_not_found'])
  t.match(json(await ask(`${url}/small/pokt/config`)), { model_public_name: 'tiny' })
  t.equal((await ask(`${url}/other/v1/nothing`)).status, 404)
  const broken = await ask(`${url}/v1/chat/completions`, { body: '{"model": "tiny", ' })
  t.strictSame([broken.status, errorOf(broken).param], [400, 'body'])
})

t.test('a stream', async (t) => {
  await t.test('comes as it is made, and its connection lives on', async (t) => {
    const gates = held()
    const backend = new EchoBackend({ gate: gates.gate, tokenDelay: ms(2) })
    const { url } = await localServer(t, [{ serviceId: 'llm', backend }])
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    t.teardown(() => agent.destroy())
    const pieces: string[] = []
    const work = ask(`${url}/v1/chat/completions`, {
      agent,
      body: chat('one two three four', { stream: true }),
      onText: (text) => pieces.push(text),
    })
    await until(() => gates.waiting.length === 1, 'it is under way')
    gates.open()
    const { status, headers, text } = await work
    t.equal(status, 200)
    t.hasStrict(headers, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      'transfer-encoding': 'chunked',
      connection: 'keep-alive',
    })
    t.ok(pieces.length >= 4, `${pieces.length} pieces`)
    t.match(text, /^data: \{.*\n\ndata: \[DONE\]\n\n$/s)
    t.equal(Object.values(agent.freeSockets).flat().length, 1, 'kept')
    const [kept] = Object.values(agent.freeSockets).flat()
    const port = kept?.localPort
    await ask(`${url}/v1/models`, { agent })
    t.equal(Object.values(agent.freeSockets).flat()[0]?.localPort, port, 'and used again')
  })

  await t.test('that cannot begin is an ordinary refusal', async (t) => {
    const { url } = await localServer(t)
    const reply = await ask(`${url}/v1/chat/completions`, {
      body: chat('a '.repeat(300), { stream: true }),
    })
    t.equal(reply.headers['content-type'], 'application/json')
    t.hasStrict(errorOf(reply), { code: 'context_length_exceeded', param: 'messages' })
  })

  await t.test('whose client hangs up gives its slot back', async (t) => {
    const gates = held()
    const backend = new EchoBackend({ slots: 1, gate: gates.gate })
    const { url, server } = await localServer(t, [{ serviceId: 'llm', backend }])
    for (const stream of [true, false]) {
      const leaving = new AbortController()
      const work = ask(`${url}/v1/chat/completions`, {
        body: chat('a', { stream }),
        signal: leaving.signal,
      })
      await until(() => backend.stats().active === 1, 'it is under way')
      const at = Date.now()
      leaving.abort()
      await t.rejects(work, { name: 'AbortError' })
      await until(() => backend.stats().active === 0 && server.inFlight === 0, 'the slot is free')
      t.ok(Date.now() - at < 2_000)
    }
  })

  await t.test('whose client does not read is let go', async (t) => {
    const word = `${'x'.repeat(200)} `
    const backend = new EchoBackend({ contextSize: 100_000 })
    const services = [{ serviceId: 'llm', backend, rules: { bodyBytesMax: 2 ** 24 } }]
    const { port, server } = await localServer(t, services, { unsentMax: 20_000 })
    const body = JSON.stringify(chat(word.repeat(15_000), { stream: true }))
    const socket = connect(port, '127.0.0.1')
    socket.pause()
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n`)
    socket.write(`Content-Length: ${body.length}\r\n\r\n${body}`)
    await until(() => backend.stats().active === 1, 'it is under way')
    await until(() => backend.stats().active === 0, 'it is broken off')
    t.equal(server.inFlight, 0)
    let came = ''
    socket.setEncoding('latin1').on('data', (piece) => {
      came += piece
    })
    socket.on('error', () => {})
    socket.resume()
    await until(() => socket.destroyed, 'the connection is closed')
    t.match(came, /^HTTP\/1.1 200 OK/)
    t.notMatch(came.slice(-100), /DONE/, `after ${came.length} bytes`)
  })
})

t.test('too much at once is refused with when to come again', async (t) => {
  const gates = held()
  const backend = new EchoBackend({ slots: 1, gate: gates.gate })
  const { url } = await localServer(t, [{ serviceId: 'llm', backend }], { pool: { queueMax: 0 } })
  const first = ask(`${url}/v1/chat/completions`, { body: chat('a') })
  await until(() => gates.waiting.length === 1, 'the slot is taken')
  const second = await ask(`${url}/v1/chat/completions`, { body: chat('b') })
  t.strictSame([second.status, second.headers['retry-after']], [429, '1'])
  t.hasStrict(errorOf(second), { type: 'rate_limit_error', code: 'queue_full' })
  gates.open()
  t.equal((await first).status, 200)

  const full = await localServer(t, [{ serviceId: 'llm', backend }], { connectionsMax: 1 })
  const ahead = `POST /v1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 33\r\n\r\n`
  const last = 'GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
  const came = talk(
    full.port,
    `${ahead}${JSON.stringify({ prompt: 'a', model: 'abcdefgh' })}${last}`,
  )
  await until(() => gates.waiting.length === 1, 'one is under way')
  gates.open()
  t.match(
    await came,
    /^HTTP\/1.1 200 OK.*HTTP\/1.1 429 .*Retry-After: 1/s,
    'sent ahead on one connection',
  )
})

t.test('every answer has an id: the one it was sent with, or a new one', async (t) => {
  const { url } = await localServer(t)
  const given = await ask(`${url}/v1/models`, { headers: { 'X-Request-Id': 'abc-1.2' } })
  t.equal(given.headers['x-request-id'], 'abc-1.2')
  const ids = new Set<unknown>()
  for (const [path, id] of [
    ['/v1/models', ''],
    ['/v1/nothing', 'with spaces in it'],
    ['/v1/nothing', 'a'.repeat(65)],
  ] as const) {
    const reply = await ask(url + path, { headers: id === '' ? {} : { 'X-Request-Id': id } })
    t.match(reply.headers['x-request-id'], /^req_[0-9a-f]{24}$/)
    ids.add(reply.headers['x-request-id'])
  }
  t.equal(ids.size, 3)
})

t.test('stopping', async (t) => {
  const gates = held()
  const clock = new ManualClock()
  const backend = new EchoBackend({ gate: gates.gate })
  const { url, server } = await localServer(t, [{ serviceId: 'llm', backend }], { clock })
  const ends = ask(`${url}/v1/chat/completions`, { body: chat('a') })
  await until(() => gates.waiting.length === 1, 'the first is under way')
  const left = ask(`${url}/v1/chat/completions`, { body: chat('b') })
  const lost = t.rejects(left, { code: 'ECONNRESET' })
  await until(() => gates.waiting.length === 2, 'the second is under way')
  const stopped = server.stop()
  t.equal(server.stop(), stopped, 'once')
  await t.rejects(ask(`${url}/v1/models`), { code: 'ECONNREFUSED' })
  gates.waiting[0]?.()
  const { status, headers } = await ends
  t.strictSame([status, headers.connection], [200, 'close'], 'what runs may end')
  await clock.advance(10_000)
  await Promise.all([lost, stopped])
  t.equal(backend.stats().active, 0, 'what does not end in time is broken off')
})
