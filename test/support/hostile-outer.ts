/**
 * Bytes on a connection that are no request, two requests in one, or a request that two readers would
 * take apart differently. Each has a good relay in it, which may be served once or not at all.
 */
import { concat, utf8 } from '../../src/base/bytes.ts'
import { decodeRelayResponse } from '../../src/protocol/relay.ts'

/**
 * Statuses of what came, in order; of a relay's refusal the code. Undefined if something came that is
 * neither whole answers nor whole replies.
 */
export function statusesOf(received: Uint8Array): string | undefined {
  const statuses: string[] = []
  for (let at = 0; at < received.length; ) {
    const text = Buffer.from(received.subarray(at)).toString('latin1')
    const head = /^HTTP\/1\.1 (\d+) [^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n/.exec(text)
    if (head === null) return undefined
    const isEmpty = /\r\ntransfer-encoding: chunked\r\n/i.test(head[0])
    const size = isEmpty ? 5 : Number(/\r\ncontent-length: (\d+)\r\n/i.exec(head[0])?.[1] ?? 0)
    const body = received.subarray(at + head[0].length, at + head[0].length + size)
    if (body.length !== size) return undefined
    const code = head[1] === '200' ? decodeRelayResponse(body).relayMinerError?.code : undefined
    statuses.push(String(code ?? head[1]))
    at += head[0].length + size
  }
  return statuses.join(' ')
}

/** @param relay the bytes of a good relay */
export type Outer = readonly [
  name: string,
  make: (relay: Uint8Array) => Uint8Array,
  /** As `statusesOf`; empty: cut off without a word. */
  statuses: string,
  /** Relays that count. */
  served?: number,
]

const latin = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'))
const LINE = 'POST / HTTP/1.1\r\n'
const END = '\r\n\r\n'

/** A request line and headers, and the relay as the body. */
const request =
  (headers: (length: number) => string, line = LINE) =>
  (relay: Uint8Array) =>
    concat(latin(`${line}Host: x\r\nConnection: close\r\n${headers(relay.length)}${END}`), relay)
const lined = (line: string) => request((n) => `Content-Length: ${n}`, line)
const headed = (header: string) => request((n) => `Content-Length: ${n}\r\n${header}`)
const length = (value: (length: number) => string) => request((n) => `Content-Length: ${value(n)}`)
const chunk = (relay: Uint8Array, size = relay.length.toString(16)) =>
  concat(latin(`${size}\r\n`), relay, latin('\r\n'))
const coded =
  (coding: string, pieces = (relay: Uint8Array) => concat(chunk(relay), latin(`0${END}`))) =>
  (relay: Uint8Array) =>
    concat(latin(`${LINE}Host: x\r\nConnection: close\r\n${coding}${END}`), pieces(relay))
const CHUNKED = 'Transfer-Encoding: chunked'
const chunked = (pieces: (relay: Uint8Array) => Uint8Array) => coded(CHUNKED, pieces)
const raw = (text: string) => () => latin(text)
const before = (text: string) => (relay: Uint8Array) => concat(latin(text), lined(LINE)(relay))

export const OUTERS: readonly Outer[] = [
  ['a good request', lined(LINE), '200', 1],
  ['a length and chunks', coded(`Content-Length: 4\r\n${CHUNKED}`), '400'],
  ['chunks and a length', coded(`${CHUNKED}\r\nContent-Length: 4`), '400'],
  ['two lengths', length((n) => `${n}\r\nContent-Length: ${n + 1}`), '400'],
  ['the same length twice', length((n) => `${n}\r\nContent-Length: ${n}`), '400'],
  ['a list of lengths', length((n) => `${n}, ${n}`), '400'],
  ['a length with a plus', length((n) => `+${n}`), '400'],
  ['a length below 0', length((n) => `-${n}`), '400'],
  ['a length in hex', length((n) => `0x${n.toString(16)}`), '400'],
  ['a length with a letter', length((n) => `${n}a`), '400'],
  ['a length with a fraction', length((n) => `${n}.0`), '400'],
  ['a length in two parts', length((n) => `${n} 0`), '400'],
  ['an empty length', length(() => ''), '400'],
  ['a length beyond 64 bits', length(() => '9'.repeat(25)), '400'],
  ['a length of 2^64', length(() => String(2n ** 64n)), '400'],
  ['a length with zeros before', length((n) => `0000${n}`), '200', 1],
  ['a length with spaces around', length((n) => `  ${n}  `), '200', 1],
  ['a length with a space before the colon', request((n) => `Content-Length : ${n}`), '400'],
  ['a length on the next line', request((n) => `Content-Length:\r\n ${n}`), '400'],
  ['a length of one less', length((n) => String(n - 1)), '400'],
  ['a length of nothing', length(() => '0'), '400'],
  ['no length', request(() => 'X: y'), '400'],
  ['chunks', coded(CHUNKED), '200', 1],
  ['chunks in capitals', coded('TRANSFER-ENCODING: CHUNKED'), '200', 1],
  ['chunks by another name', coded('Transfer-Encoding: xchunked'), '400'],
  ['chunks that are not last', coded('Transfer-Encoding: chunked, identity'), '400'],
  ['chunks twice', coded('Transfer-Encoding: chunked, chunked'), '400'],
  ['chunks and none', coded(`${CHUNKED}\r\nTransfer-Encoding: identity`), '400'],
  ['no chunks', coded('Transfer-Encoding: identity'), '400'],
  ['compressed', coded('Transfer-Encoding: gzip'), '400'],
  ['a tab before the chunks', coded('Transfer-Encoding:\x0bchunked'), '400'],
  ['a space before the colon', coded('Transfer-Encoding : chunked'), '400'],
  ['a chunk without a size', chunked((relay) => concat(latin('\r\n'), relay)), '400'],
  ['a chunk size of letters', chunked((relay) => chunk(relay, 'zz')), '400'],
  ['a chunk size below 0', chunked((relay) => chunk(relay, '-1')), '400'],
  ['a chunk size with a plus', chunked((relay) => chunk(relay, '+1')), '400'],
  ['a chunk size in C', chunked((relay) => chunk(relay, '0x10')), '400'],
  ['a chunk size beyond 64 bits', chunked((relay) => chunk(relay, 'f'.repeat(17))), '400'],
  ['a chunk that is longer than it says', chunked((relay) => chunk(relay, '10')), '400'],
  ['a chunk without its end', chunked((relay) => concat(latin('1\r\n'), relay)), '400'],
  ['a chunk line without return', chunked((relay) => concat(latin('10\n'), relay)), '400'],
  [
    'chunks with extensions',
    chunked((relay) =>
      concat(chunk(relay, `${relay.length.toString(16)};a=b`), latin(`0;c${END}`)),
    ),
    '200',
    1,
  ],
  ['a chunk extension without end', chunked(() => latin(`1;${'a'.repeat(40_000)}`)), '413'],
  ['trailers', chunked((relay) => concat(chunk(relay), latin(`0\r\nX: y${END}`))), '200', 1],
  [
    'a trailer with a length',
    chunked((relay) => concat(chunk(relay), latin(`0\r\nContent-Length: 1${END}`))),
    '400',
  ],
  [
    'trailers without end',
    chunked((relay) => concat(chunk(relay), latin(`0\r\n${'X: y\r\n'.repeat(20_000)}`))),
    '431',
  ],
  [
    'a request behind the last chunk',
    (relay) => concat(coded(CHUNKED)(relay), lined(LINE)(relay)),
    '400',
  ],

  ['a method in small letters', lined('post / HTTP/1.1\r\n'), '400'],
  ['an unknown method', lined('FOO / HTTP/1.1\r\n'), '400'],
  ['a method with a NUL', lined('POST\0 / HTTP/1.1\r\n'), '400'],
  ['a method of another protocol', lined('SETUP / RTSP/1.0\r\n'), '200', 1],
  ['a tunnel', lined('CONNECT x:1 HTTP/1.1\r\n'), ''],
  ['TRACE', lined('TRACE / HTTP/1.1\r\n'), '200', 1],
  ['PROPFIND', lined('PROPFIND / HTTP/1.1\r\n'), '200', 1],
  ['HTTP/0.9', raw('GET /\r\n\r\n'), ''],
  ['HTTP/1.2', lined('POST / HTTP/1.2\r\n'), '400'],
  ['HTTP/2.0', lined('POST / HTTP/2.0\r\n'), ''],
  ['HTTP/9.9', lined('POST / HTTP/9.9\r\n'), '400'],
  ['HTTP/1.0', lined('POST / HTTP/1.0\r\n'), '200', 1],
  ['a version without number', lined('POST / HTTP/\r\n'), '400'],
  ['no path', lined('POST HTTP/1.1\r\n'), '400'],
  ['two paths', lined('POST / / HTTP/1.1\r\n'), '400'],
  ['a path with a NUL', lined('POST /\0 HTTP/1.1\r\n'), '400'],
  ['a path with a tab', lined('POST /\t HTTP/1.1\r\n'), '400'],
  ['a path up', lined('POST /../../etc/passwd HTTP/1.1\r\n'), '200', 1],
  ['a path of 40,000 letters', lined(`POST /${'a'.repeat(40_000)} HTTP/1.1\r\n`), '431'],
  ['a whole url of somebody else', lined('POST http://evil.example.com/ HTTP/1.1\r\n'), '200', 1],
  ['a url with a user', lined('POST http://a:b@127.0.0.1:1/ HTTP/1.1\r\n'), '200', 1],
  ['a file', lined('POST file:///etc/passwd HTTP/1.1\r\n'), '200', 1],
  ['a star', lined('OPTIONS * HTTP/1.1\r\n'), '200', 1],
  ['empty lines before', before('\r\n\r\n'), '200', 1],
  ['a space before', before(' '), '400'],
  ['a NUL before', before('\0'), '400'],
  ['a byte order mark before', before('\xef\xbb\xbf'), '400'],

  [
    'no host',
    (relay) => concat(latin(`${LINE}Content-Length: ${relay.length}${END}`), relay),
    '400',
  ],
  ['two hosts', headed('Host: y'), '200', 1],
  ['a header without a colon', headed('nonsense'), '400'],
  ['a header without a name', headed(': y'), '400'],
  ['a name with a space', headed('a b: y'), '400'],
  ['a name with a NUL', headed('a\0b: y'), '400'],
  ['a name that is not ASCII', headed('\xff: y'), '400'],
  ['a value with a NUL', headed('X: a\0b'), '400'],
  ['a value with a return', headed('X: a\rb'), '400'],
  ['a value on two lines', headed('X: a\r\n b'), '400'],
  ['a line without return', headed('X: a\nY: b'), '400'],
  ['a value that is not ASCII', headed('X: \xff\xfe'), '200', 1],
  ['6,000 headers', headed(Array.from({ length: 6_000 }, () => 'a:').join('\r\n')), '200', 1],
  ['40,000 headers', headed(Array.from({ length: 40_000 }, () => 'a:').join('\r\n')), '431'],
  ['a header of 40,000 letters', headed(`X: ${'a'.repeat(40_000)}`), '431'],
  ['a name of 40,000 letters', headed(`${'a'.repeat(40_000)}: y`), '431'],
  ['forwarded', headed('X-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1'), '200', 1],
  ['another method meant', headed('X-HTTP-Method-Override: DELETE'), '200', 1],
  ['headers to be taken off', headed('Connection: Content-Length, Host'), '200', 1],
  ['a proxy meant', headed('Proxy-Connection: keep-alive\r\nTE: trailers'), '200', 1],
  ['compressed, it says', headed('Content-Encoding: gzip'), '200', 1],
  ['a continue expected', headed('Expect: 100-continue'), '100 200', 1],
  ['something else expected', headed('Expect: a miracle'), '417'],
  ['another protocol offered', headed('Upgrade: foo/1'), '200', 1],
  [
    'HTTP/2 offered',
    headed('Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk'),
    '200',
    1,
  ],
  ['TLS offered', headed('Connection: Upgrade\r\nUpgrade: TLS/1.2'), '200', 1],
  ['HEAD', lined('HEAD / HTTP/1.1\r\n'), '200'],

  ['the preface of HTTP/2', raw('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0'), '400'],
  ['a TLS hello', raw('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'), '400'],
  ['a proxy says who it is for', before('PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n'), '400'],
  ['it says so in bytes', before('\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c'), '400'],
  ['SSH', raw('SSH-2.0-OpenSSH_9.6\r\n'), '400'],
  ['SOCKS', raw('\x05\x01\x00'), '400'],
  ['mail', raw('EHLO x\r\n'), '400'],
  ['a database', raw('*1\r\n$4\r\nPING\r\n'), '400'],
  ['an answer', raw('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'), '400'],
  ['zeros', () => new Uint8Array(100_000), '400'],
  ['the relay alone', (relay) => relay, '400'],
  ['a line without end', () => utf8('A'.repeat(100_000)), '400'],
]
