/**
 * What a relay that is rightly signed may ask of the engine's machine: paths that are not ours, methods,
 * hosts, headers, bodies. Nothing of it reaches an engine but a checked chat; what is the request's own
 * fault is answered and counts, as any answer.
 */
import { gzipSync } from 'node:zlib'
import { concat, utf8 } from '../../src/base/bytes.ts'
import type { HttpRequest } from '../../src/protocol/http.ts'
import { encodeRelayRequest } from '../../src/protocol/relay.ts'
import { asking, CHAT, type Hostile, SERVED, withPayload } from './hostile.ts'
import { block, varint } from './hostile-wire.ts'

const NO_PATH = 'inner 404'
const NO_METHOD = 'inner 405'
const BAD = 'inner 400'
const MAX = 512 * 1024
const OURS = CHAT.url
const HOST = 'https://relayminer.example.com'

const inner = (name: string, outcome: string, over: Partial<HttpRequest>): Hostile => ({
  name: `inner ${name}`,
  make: (b) => asking(b, over),
  outcome,
})
const url = (outcome: string, text: string): Hostile =>
  inner(`url ${JSON.stringify(text.slice(0, 60))}`, outcome, { url: text })
const method = (outcome: string, text: string): Hostile =>
  inner(`method ${JSON.stringify(text.slice(0, 20))}`, outcome, { method: text })
const body = (name: string, outcome: string, bytes: Uint8Array | string): Hostile =>
  inner(`body: ${name}`, outcome, { body: typeof bytes === 'string' ? utf8(bytes) : bytes })
const header = (name: string, ...values: string[]): Hostile =>
  inner(`header ${JSON.stringify(name)}: ${JSON.stringify(values).slice(0, 40)}`, SERVED, {
    headers: [...CHAT.headers, [name, ...values]],
  })
const payload = (name: string, outcome: string, make: () => Uint8Array): Hostile => ({
  name: `payload: ${name}`,
  make: (b) => withPayload(b, make()),
  outcome,
})

/** A relay of exactly so many bytes, by a field of its body that means nothing. */
const sized = (size: number, outcome: string): Hostile => ({
  name: `a relay of ${size} bytes`,
  make: (b) => {
    const padded = (pad: number) =>
      utf8(`{"messages":[{"role":"user","content":"a"}],"pad":"${'x'.repeat(pad)}"}`)
    const bytesOf = (pad: number) => encodeRelayRequest(asking(b, { body: padded(pad) }))
    const rest = size - bytesOf(size - 2_000).length
    return bytesOf(size - 2_000 + rest)
  },
  outcome,
})

const URLS: readonly Hostile[] = [
  ...[
    '/admin',
    '/metrics',
    '/health',
    '/slots',
    '/props',
    '/api/pull',
    '/api/tags',
    '/api/delete',
  ].map((path) => url(NO_PATH, `${HOST}${path}`)),
  ...['/v1/load', '/debug/pprof/', '/.env', '/v1/chat'].map((path) =>
    url(NO_PATH, `${HOST}${path}`),
  ),
  ...['/v1/completions', '/v1/embeddings'].map((path) => url(BAD, `${HOST}${path}`)),
  ...['/../', '/v1/../slots', '/v1/chat/completions/..', '/./v1/chat/completions', '/v1/..'].map(
    (path) => url(BAD, `${HOST}${path}`),
  ),
  ...['/%2e%2e/slots', '/v1/%2E%2E/%2e%2e/admin', '/..%2fslots', '/v1/.%2e/slots', '/%2e/v1'].map(
    (path) => url(BAD, `${HOST}${path}`),
  ),
  ...['/..\\slots', '/v1%5c..%5cslots', '/%00', '/v1/chat/completions%00', '/%0d%0aX: y'].map(
    (path) => url(BAD, `${HOST}${path}`),
  ),
  ...['/%', '/%zz', '/%ff', '/%c0%ae%c0%ae/slots', '/\u0000'].map((path) =>
    url(BAD, `${HOST}${path}`),
  ),
  url(BAD, `${OURS}\r\nX-Injected: yes`),
  url(BAD, `${OURS} HTTP/1.1\r\n\r\nGET /admin`),
  url(BAD, `${HOST}/${'a'.repeat(2_048)}`),
  url(BAD, 'x'.repeat(200_000)),
  url(NO_PATH, '/%252e%252e/slots'),
  url(NO_PATH, 'file:///etc/passwd'),
  url(NO_PATH, 'file:/etc/passwd'),
  url(NO_PATH, 'gopher://127.0.0.1:6379/_FLUSHALL'),
  url(NO_PATH, 'http://169.254.169.254/latest/meta-data/'),
  url(NO_PATH, 'http://127.0.0.1:11434/api/tags'),
  url(NO_PATH, 'unix:/var/run/docker.sock:/v1/info'),
  url(NO_PATH, 'javascript:alert(1)'),
  url(NO_PATH, '//127.0.0.1/admin'),
  url(NO_PATH, '///slots'),
  url(NO_PATH, `${HOST}/v1/chat/completions/extra`),
  url(NO_PATH, `${HOST}/V1/CHAT/COMPLETIONS`),
  url(SERVED, 'http://169.254.169.254/v1/chat/completions'),
  url(SERVED, 'http://user:password@127.0.0.1:22/v1/chat/completions'),
  url(SERVED, '//evil.example.com/v1/chat/completions'),
  url(SERVED, `${OURS}?path=/../admin&x=%0d%0a#/slots`),
  url(SERVED, `${OURS}#/../admin`),
  url(SERVED, '/v1//chat///completions/'),
  url(SERVED, '/admin/v1/chat/completions'),
  url(SERVED, ''),
]

const METHODS: readonly Hostile[] = [
  ...['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'CONNECT', 'TRACE', 'PROPFIND', ''].map(
    (text) => method(NO_METHOD, text),
  ),
  method(NO_METHOD, 'POST '),
  method(NO_METHOD, 'POST\r\nX: y'),
  method(NO_METHOD, 'POST /admin HTTP/1.1\r\n\r\n'),
  method(NO_METHOD, 'POST\0'),
  method(NO_METHOD, 'x'.repeat(100_000)),
  method(SERVED, 'post'),
]

const HEADERS: readonly Hostile[] = [
  header('Transfer-Encoding', 'chunked'),
  header('Transfer-Encoding', 'gzip, chunked', 'identity'),
  header('Content-Length', '1'),
  header('Content-Length', '1', '2'),
  header('Connection', 'close, Content-Type, Host'),
  header('Upgrade', 'websocket'),
  header('Host', '127.0.0.1', 'evil.example.com'),
  header('X-Forwarded-For', '127.0.0.1'),
  header('X-Forwarded-Host', 'localhost'),
  header('Forwarded', 'for=127.0.0.1;host=localhost'),
  header('X-Original-URL', '/admin'),
  header('X-HTTP-Method-Override', 'DELETE'),
  header('Authorization', 'Bearer of-somebody'),
  header('Cookie', 'session=1'),
  header('Expect', '100-continue'),
  header('Accept-Encoding', 'gzip;q=1.0'),
  header('X\r\nInjected', 'yes'),
  header('X', 'y\r\nInjected: yes\r\n\r\n'),
  header('', 'nameless'),
  header('__proto__', 'polluted'),
  header('X-Long', 'y'.repeat(200_000)),
  header('X-Many', ...Array.from({ length: 20_000 }, (_, i) => `${i}`)),
  inner('20,000 headers', SERVED, {
    headers: Array.from({ length: 20_000 }, (_, i) => [`X-${i}`, ''] as const),
  }),
]

const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`
const messages = '"messages":[{"role":"user","content":"a"}]'
const bomb = gzipSync(new Uint8Array(50_000_000))

const BODIES: readonly Hostile[] = [
  body('none', BAD, ''),
  body('a byte', BAD, '{'),
  body('not JSON', BAD, 'hello'),
  body('not UTF-8', BAD, concat(utf8('{"messages":"'), Uint8Array.of(0xff), utf8('"}'))),
  body('a list', BAD, '[]'),
  body('null', BAD, 'null'),
  body('an empty object', BAD, '{}'),
  body('200,000 brackets', BAD, nested(100_000)),
  body('200,000 brackets for messages', BAD, `{"messages":${nested(100_000)}}`),
  body('200,000 brackets beside', SERVED, `{${messages},"x":${nested(100_000)}}`),
  body('a polluting name', SERVED, `{${messages},"__proto__":{"stream":true}}`),
  body('a number beyond all', BAD, `{${messages},"max_tokens":1e999}`),
  body('a bomb', BAD, bomb),
  body('one byte over what is taken', 'refused 413', new Uint8Array(MAX + 1)),
  inner('body: a bomb that says so', BAD, {
    headers: [...CHAT.headers, ['Content-Encoding', 'gzip']],
    body: bomb,
  }),
  sized(MAX, SERVED),
  sized(MAX + 1, 'refused 413'),
  sized(2 * MAX, 'refused 413'),
]

const PAYLOADS: readonly Hostile[] = [
  payload('none', NO_PATH, () => new Uint8Array(0)),
  payload('text', BAD, () => utf8('{"not":"protobuf"}')),
  payload('ones', BAD, () => new Uint8Array(1_000).fill(255)),
  payload('half a length', BAD, () => Uint8Array.of(0x22, 0xff)),
  payload('a method that is not UTF-8', BAD, () => block(1, Uint8Array.of(0xff))),
  payload('a url that is not UTF-8', BAD, () => block(3, Uint8Array.of(0xc0, 0xaf))),
  payload('100,000 groups', BAD, () => new Uint8Array(100_000).fill(0x7b)),
  payload('2,000 headers that are empty', NO_PATH, () =>
    concat(...Array.from({ length: 2_000 }, () => block(2, new Uint8Array(0)))),
  ),
  payload('a field of a wrong type', NO_PATH, () => concat(Uint8Array.of(0x08), varint(7))),
]

export const INNERS: readonly Hostile[] = [...URLS, ...METHODS, ...HEADERS, ...BODIES, ...PAYLOADS]
