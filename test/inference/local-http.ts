import { Agent } from 'node:http'
import fc from 'fast-check'
import t from 'tap'
import { ms } from '../../src/base/units.ts'
import { EchoBackend } from '../support/echo-backend.ts'
import { ask, localServer, type Reply, talk } from '../support/local-server.ts'
import { ChatCompletion, ErrorObject } from '../support/openai-schema.ts'

const json = ({ text }: Reply) => JSON.parse(text)
const errorOf = (reply: Reply) => ErrorObject.parse(json(reply)).error
const chat = (content: string) => ({ messages: [{ role: 'user', content }] })

t.test('a body that is too large for a relay is taken from the owner', async (t) => {
  const rules = { bodyBytesMax: 500 }
  const { url } = await localServer(t, [
    { serviceId: 'llm', backend: new EchoBackend({ contextSize: 8_192 }), rules },
  ])
  const body = JSON.stringify(chat('a '.repeat(1_000)))
  t.equal((await ask(`${url}/v1/chat/completions`, { body })).status, 200)
})

t.test('bodies', async (t) => {
  const { url, port } = await localServer(t, undefined, { bodyMax: 2_000 })
  const path = `${url}/v1/chat/completions`
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())

  const chunks = ['{"messages":[{"role":"user",', '"content":"a', ' b"}]}']
  const chunked = await ask(path, { body: chunks, agent })
  t.equal(ChatCompletion.parse(json(chunked)).choices[0]?.message.content, 'You said: a b')
  const crumbs = await ask(path, { body: [...JSON.stringify(chat('crumbs'))], agent })
  t.match(crumbs.text, /You said: crumbs/)

  for (const body of [
    Buffer.alloc(2_001, 32),
    [Buffer.alloc(1_500, 32), Buffer.alloc(1_500, 32)],
  ]) {
    const large = await ask(path, { body, agent })
    t.equal(large.status, 413)
    t.hasStrict(errorOf(large), { type: 'invalid_request_error', code: 'request_too_large' })
    t.equal(large.headers.connection, 'keep-alive')
  }
  t.equal((await ask(path, { body: chat('still here'), agent })).status, 200)

  for (const encoding of ['gzip', 'br', 'GZIP, identity']) {
    const packed = await ask(path, { body: 'x', headers: { 'Content-Encoding': encoding }, agent })
    t.equal(packed.status, 415)
    t.hasStrict(errorOf(packed), { param: 'content-encoding', code: 'unsupported_encoding' })
  }
  t.equal(Object.values(agent.freeSockets).flat().length, 1, 'all on one connection')

  const head = 'POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n'
  const small = JSON.stringify(chat('a'))
  const welcome = await talk(
    port,
    `${head}Content-Length: ${small.length}\r\nConnection: close\r\n\r\n${small}`,
  )
  t.match(welcome, /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK/)
  const unwelcome = await talk(port, `${head}Content-Length: 9999\r\n\r\n`)
  t.match(unwelcome, /^HTTP\/1.1 413 /, 'refused before it is sent')
  t.match(unwelcome, /"code":"request_too_large"/)
})

t.test('methods', async (t) => {
  const { url, port } = await localServer(t)
  const get = await ask(`${url}/v1/models`)
  const head = await ask(`${url}/v1/models`, { method: 'HEAD' })
  t.strictSame([head.status, head.text], [200, ''])
  t.equal(head.headers['content-length'], get.headers['content-length'])
  const options = await ask(`${url}/v1/chat/completions`, { method: 'OPTIONS' })
  t.strictSame([options.status, options.text, options.headers.allow], [204, '', 'POST, OPTIONS'])
  t.match(
    await talk(port, 'OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'),
    /^HTTP\/1.1 204 /,
  )
  for (const [method, path, allow] of [
    ['GET', '/v1/chat/completions', 'POST, OPTIONS'],
    ['HEAD', '/v1/completions', 'POST, OPTIONS'],
    ['DELETE', '/v1/models/echo', 'GET, HEAD, OPTIONS'],
    ['PUT', '/v1/models', 'GET, HEAD, OPTIONS'],
  ] as const) {
    const wrong = await ask(url + path, { method })
    t.strictSame([wrong.status, wrong.headers.allow], [405, allow], `${method} ${path}`)
    if (method !== 'HEAD') t.equal(errorOf(wrong).code, 'method_not_allowed')
  }
  const unknown = await ask(`${url}/v1/audio/speech`, { body: {} })
  t.strictSame([unknown.status, errorOf(unknown).code], [404, 'unknown_url'])
})

t.test('what is no request is told so', async (t) => {
  const { port } = await localServer(t, undefined, {
    headersTimeout: ms(150),
    receiveTimeout: ms(300),
  })
  const cases = [
    ['nonsense', 'GARBAGE\r\n\r\n', 400, 'malformed_request'],
    [
      'long headers',
      `GET / HTTP/1.1\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`,
      431,
      'headers_too_large',
    ],
    ['headers that never end', 'GET / HTTP/1.1\r\nHost: localhost\r\n', 408, 'timeout'],
    [
      'a body that never ends',
      'POST /v1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{',
      408,
      'timeout',
    ],
    ['no Host', 'GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n', 403, 'host_not_allowed'],
    [
      'a whole URL',
      'GET http://localhost/v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
      400,
      'invalid_url',
    ],
  ] as const
  await Promise.all(
    cases.map(async ([what, text, status, code]) => {
      const came = await talk(port, text)
      t.match(came, new RegExp(`^HTTP/1.1 ${status} `), what)
      const body = came.slice(came.indexOf('\r\n\r\n') + 4)
      t.equal(ErrorObject.parse(JSON.parse(body)).error.code, code, what)
    }),
  )
})

t.test('any bytes are answered with HTTP or the end of the connection', async (t) => {
  const { port, url, server } = await localServer(t, undefined, {
    headersTimeout: ms(100),
    receiveTimeout: ms(200),
    bodyMax: 500,
  })
  const line = fc.constantFrom(
    ...['POST /v1/chat/completions HTTP/1.1', 'GET /v1/models HTTP/1.0', 'HEAD // HTTP/1.1'],
    ...['Host: localhost', 'Host: evil', 'Content-Length: 3', 'Content-Length: -1', 'Expect: tea'],
    ...['Transfer-Encoding: chunked', 'Transfer-Encoding: gzip, chunked', 'Upgrade: h2c', 'TE: x'],
    ...['Connection: upgrade', 'Connection: close', 'Content-Encoding: br', '', '3', '{}x', '0'],
  )
  const text = fc.oneof(
    fc.array(line, { maxLength: 12 }).map((lines) => `${lines.join('\r\n')}\r\n\r\n`),
    fc.string({ unit: 'binary' }),
  )
  const answers = await Promise.all(
    fc.sample(text, { numRuns: 150, seed: 20_260 }).map((sent) => talk(port, `${sent}\r\n\r\n`)),
  )
  const statuses = answers.map((came) => /^HTTP\/1\.1 (\d\d\d) /.exec(came)?.[1] ?? came)
  t.notMatch(statuses.join(), /5\d\d/)
  t.ok(
    statuses.every((status) => /^(\d\d\d)?$/.test(status)),
    [...new Set(statuses)].join(' '),
  )
  t.equal((await ask(`${url}/v1/models`)).status, 200, 'and it still answers')
  t.equal(server.inFlight, 0)
})
