import { networkInterfaces } from 'node:os'
import t from 'tap'
import { LocalError } from '../../src/inference/local-access.ts'
import { EchoBackend } from '../support/echo-backend.ts'
import { ask, localServer, type Reply } from '../support/local-server.ts'
import { ErrorObject } from '../support/openai-schema.ts'

const llm = () => [{ serviceId: 'llm', backend: new EchoBackend() }]
const errorOf = ({ text }: Reply) => ErrorObject.parse(JSON.parse(text)).error
const cors = ({ headers }: Reply) =>
  Object.keys(headers).filter((name) => name.startsWith('access-control'))

t.test('the name by which it is called', async (t) => {
  const { url, port } = await localServer(t, llm(), { hostNames: ['Box.example'] })
  const statusFor = async (host: string) =>
    (await ask(`${url}/v1/models`, { headers: { Host: host } })).status
  for (const host of [
    'localhost',
    `LOCALHOST:${port}`,
    'localhost.',
    'api.localhost:1',
    '127.0.0.1',
    '127.8.9.1:80',
    '[::1]:8080',
    'box.example',
    'BOX.example:99',
  ])
    t.equal(await statusFor(host), 200, host)
  for (const host of [
    'evil.example',
    'localhost.evil.example',
    'evillocalhost',
    '127.0.0.1.evil.example',
    'other.box.example',
    '192.168.1.5',
    '[::2]',
    '127.1',
    'localhost:x',
    'user@localhost',
  ])
    t.equal(await statusFor(host), 403, host)
  const refused = await ask(`${url}/v1/models`, { headers: { Host: 'evil.example' } })
  t.hasStrict(errorOf(refused), { code: 'host_not_allowed', param: null })
})

t.test('a page of another origin', async (t) => {
  await t.test('may neither ask nor read by default', async (t) => {
    const { url } = await localServer(t, llm())
    const plain = await ask(`${url}/v1/models`)
    t.strictSame([plain.status, cors(plain), plain.headers.vary], [200, [], undefined])
    for (const origin of ['https://evil.example', 'null', url]) {
      const headers = { Origin: origin, 'Content-Type': 'text/plain' }
      const reply = await ask(`${url}/v1/chat/completions`, { headers, body: {} })
      t.strictSame([reply.status, cors(reply)], [403, []], origin)
      t.equal(errorOf(reply).code, 'origin_not_allowed')
      const preflight = await ask(`${url}/v1/chat/completions`, {
        method: 'OPTIONS',
        headers: { Origin: origin, 'Access-Control-Request-Method': 'POST' },
      })
      t.strictSame([preflight.status, cors(preflight)], [403, []], origin)
    }
  })

  await t.test('may if the owner has named it', async (t) => {
    const origin = 'http://localhost:3000'
    const { url } = await localServer(t, llm(), { origins: [origin], apiKey: 'secret' })
    const preflight = await ask(`${url}/v1/chat/completions`, {
      method: 'OPTIONS',
      headers: {
        Origin: origin,
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'authorization, content-type, x-stainless-os',
        'Access-Control-Request-Private-Network': 'true',
      },
    })
    t.equal(preflight.status, 204, 'it is asked without the key')
    t.hasStrict(preflight.headers, {
      vary: 'Origin',
      allow: 'POST, OPTIONS',
      'access-control-allow-origin': origin,
      'access-control-allow-methods': 'GET, POST',
      'access-control-allow-headers': 'authorization, content-type, x-stainless-os',
      'access-control-allow-private-network': 'true',
      'access-control-max-age': '600',
    })
    const headers = { Origin: origin, Authorization: 'Bearer secret' }
    for (const [reply, status] of [
      [await ask(`${url}/v1/models`, { headers }), 200],
      [await ask(`${url}/v1/nothing`, { headers }), 404],
      [await ask(`${url}/v1/models`, { headers: { Origin: origin } }), 401],
    ] as const) {
      t.equal(reply.status, status)
      t.equal(reply.headers['access-control-allow-origin'], origin)
      t.equal(reply.headers['access-control-allow-credentials'], undefined)
    }
    const stream = await ask(`${url}/v1/chat/completions`, {
      headers,
      body: { messages: [{ role: 'user', content: 'a' }], stream: true },
    })
    t.equal(stream.headers['access-control-allow-origin'], origin)
    for (const other of ['http://localhost:3001', 'https://localhost:3000', `${origin}.evil.com`]) {
      const reply = await ask(`${url}/v1/models`, { headers: { ...headers, Origin: other } })
      t.strictSame([reply.status, cors(reply)], [403, []], other)
    }
    const strange = await ask(`${url}/v1/models`, {
      method: 'OPTIONS',
      headers: {
        Origin: origin,
        'Access-Control-Request-Method': 'GET',
        'Access-Control-Request-Headers': 'a;b="c"',
      },
    })
    t.equal(strange.headers['access-control-allow-headers'], undefined)
  })

  await t.test('may if the owner has named all', async (t) => {
    const { url } = await localServer(t, llm(), { origins: ['*'] })
    const reply = await ask(`${url}/v1/models`, { headers: { Origin: 'app://notes' } })
    t.strictSame([reply.status, reply.headers['access-control-allow-origin']], [200, 'app://notes'])
  })
})

t.test('the key', async (t) => {
  const { url } = await localServer(t, llm(), { apiKey: 'sk-right' })
  const by = async (authorization?: string) =>
    await ask(`${url}/v1/models`, {
      headers: authorization === undefined ? {} : { Authorization: authorization },
    })
  for (const right of ['Bearer sk-right', 'bearer   sk-right'])
    t.equal((await by(right)).status, 200, right)
  for (const wrong of [
    undefined,
    '',
    'sk-right',
    'Basic sk-right',
    'Bearer sk-wrong',
    'Bearer sk-righ',
    'Bearer sk-right2',
    'Bearer SK-RIGHT',
    'Bearer ',
  ]) {
    const reply = await by(wrong)
    t.equal(reply.status, 401, String(wrong))
    t.equal(reply.headers['www-authenticate'], 'Bearer')
    t.hasStrict(errorOf(reply), { type: 'invalid_request_error', code: 'invalid_api_key' })
    t.notMatch(reply.text, /sk-/, 'nothing of a key is repeated')
  }
  const unread = await ask(`${url}/v1/chat/completions`, { body: 'x'.repeat(100_000) })
  t.equal(unread.status, 401, 'before the body is read')
})

t.test('other machines are let in with a key only', async (t) => {
  for (const host of ['0.0.0.0', '::', '192.0.2.1', 'box.example', 'localhost.evil.example', ''])
    await t.rejects(localServer(t, llm(), { host }), { code: 'OPEN_TO_OTHERS' }, host)
  await t.rejects(localServer(t, llm(), { host: '0.0.0.0', apiKey: '' }), LocalError)
  for (const host of ['127.0.0.1', 'localhost', '127.0.0.2'])
    t.ok((await localServer(t, llm(), { host })).port > 0, host)
  const { port } = await localServer(t, llm(), { host: '0.0.0.0', apiKey: 'k' })
  const headers = { Authorization: 'Bearer k' }
  t.equal((await ask(`http://127.0.0.1:${port}/v1/models`, { headers })).status, 200)
  const own = Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal)
  if (own === undefined) return t.comment('this machine has no other address')
  const called = await ask(`http://${own.address}:${port}/v1/models`, { headers })
  t.equal(called.status, 200, 'by the address that was called')
  const other = { ...headers, Host: '192.0.2.77' }
  t.equal((await ask(`http://${own.address}:${port}/v1/models`, { headers: other })).status, 403)
})
