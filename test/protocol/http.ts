import fc from 'fast-check'
import t from 'tap'
import { hex, unhex } from '../../src/base/bytes.ts'
import * as gen from '../../src/protocol/gen/sdk/types/http.ts'
import {
  canonicalHeader,
  decodeHttpRequest,
  decodeHttpResponse,
  encodeHttpRequest,
  encodeHttpResponse,
  type HttpHeader,
} from '../../src/protocol/http.ts'
import { rows } from '../support/vectors.ts'

interface MessageJson {
  method: string
  url: string
  status_code: number
  header?: { map_key: string; key: string; values: string[] }[]
  header_b64?: Record<string, string[]>
  body: string
}

interface HttpRow {
  request?: MessageJson | null
  response: MessageJson
  bytes?: string
  error?: string
}

/** Text cannot hold what is not UTF-8; half of a surrogate pair stands for it. */
const NOT_UNICODE = '\ud800'

function headersOf(message: MessageJson): HttpHeader[] {
  const broken = Object.keys(message.header_b64 ?? {}).map((name) => [name, NOT_UNICODE] as const)
  return [...(message.header ?? []).map((h) => [h.map_key, ...h.values] as const), ...broken]
}

function requestOf(message: MessageJson) {
  const { method, url, body } = message
  return { method, url, headers: headersOf(message), body: unhex(body) }
}

function responseOf(message: MessageJson) {
  return { status: message.status_code, headers: headersOf(message), body: unhex(message.body) }
}

t.test('every request of the Go implementation', async (t) => {
  const all = [
    ...rows<HttpRow>('http.jsonl', 'request-from-wire'),
    ...rows<HttpRow>('http.jsonl', 'request'),
  ]
  t.equal(all.length, 61)
  for (const row of all) {
    const what = `${row.id} ${row.note}`
    if (!row.request) continue // invalid UTF-8 that never became a message
    const request = requestOf(row.request)
    if (row.error) {
      t.throws(() => encodeHttpRequest(request), { code: 'WIRE' }, what)
      continue
    }
    const bytes = unhex(row.bytes ?? '')
    t.strictSame(decodeHttpRequest(bytes), request, what)
    const canonical = request.headers.every(([name]) => name === canonicalHeader(name))
    if (canonical) {
      t.equal(hex(encodeHttpRequest(request)), row.bytes, what)
      continue
    }
    // Go writes such a name as it is, with the values of its canonical form. Ours joins the two.
    const joined = new Set(request.headers.map(([name]) => canonicalHeader(name)))
    const written = decodeHttpRequest(encodeHttpRequest(request)).headers.map(([name]) => name)
    t.strictSame(written, [...joined].sort(), what)
  }
})

t.test('every response of the Go implementation', async (t) => {
  const all = rows<HttpRow>('http.jsonl', 'response')
  t.equal(all.length, 37)
  for (const row of all) {
    const what = `${row.id} ${row.note}`
    const response = responseOf(row.response)
    if (row.error) {
      t.throws(() => encodeHttpResponse(response), { code: 'WIRE' }, what)
      continue
    }
    t.equal(hex(encodeHttpResponse(response)), row.bytes, what)
    t.strictSame(decodeHttpResponse(unhex(row.bytes ?? '')), response, what)
  }
})

t.test('what is read of odd bytes', async (t) => {
  const all = rows<HttpRow>('http.jsonl', 'decode-request')
  for (const row of all) {
    const what = `${row.id} ${row.note}`
    const decode = () => decodeHttpRequest(unhex(row.bytes ?? ''))
    if (row.error || !row.request) t.throws(decode, { code: 'WIRE' }, what)
    else t.strictSame(decode(), requestOf(row.request), what)
  }
  const wrongTypes = decodeHttpRequest(unhex('08051801200312020805'))
  t.strictSame(wrongTypes, { method: '', url: '', headers: [['']], body: new Uint8Array(0) })
  t.throws(() => decodeHttpResponse(unhex('12080a0141120412 02c328'.replace(' ', ''))), {
    code: 'WIRE',
  })
  t.throws(
    () => decodeHttpResponse(unhex('120612040a02c328')),
    { code: 'WIRE' },
    'a bad inner name',
  )
  t.throws(() => decodeHttpResponse(unhex('08c80104')), { code: 'WIRE' }, 'a lone end group')
})

t.test('header names in canonical form', async (t) => {
  const names: Record<string, string> = {
    'content-type': 'Content-Type',
    'CONTENT-TYPE': 'Content-Type',
    'x-1a-b_c.d': 'X-1a-B_c.d',
    '-x-': '-X-',
    'a--b': 'A--B',
    'X y': 'X y',
    'x:y': 'x:y',
    'ünïcode-x': 'ünïcode-x',
    '': '',
  }
  for (const [name, canonical] of Object.entries(names)) t.equal(canonicalHeader(name), canonical)
})

t.test('names that become equal are joined, names are sorted as bytes', async (t) => {
  const body = new Uint8Array(0)
  const headers = [
    ['x-b', '1'],
    ['X-B', '2', '3'],
    ['X-A', 'é'],
  ] as const
  const bytes = encodeHttpResponse({ status: 200, headers, body })
  t.strictSame(decodeHttpResponse(bytes).headers, [
    ['X-A', 'é'],
    ['X-B', '1', '2', '3'],
  ])
  const nameless = encodeHttpResponse({ status: 0, headers: [['', '']], body })
  t.equal(hex(nameless), '12060a0012021200', 'both fields of an entry are there, even if empty')
  // U+FFFD sorts before U+1F600 as bytes, after it as UTF-16.
  const sorted = decodeHttpResponse(
    encodeHttpResponse({ status: 200, headers: [['\u{1f600}'], ['\ufffd']], body }),
  )
  t.strictSame(sorted.headers, [['\ufffd'], ['\u{1f600}']])
})

t.test('text that is not Unicode is refused in every place', async (t) => {
  const body = new Uint8Array(0)
  const good = { method: 'GET', url: '/', headers: [], body }
  for (const part of ['method', 'url'])
    t.throws(() => encodeHttpRequest({ ...good, [part]: NOT_UNICODE }), { code: 'WIRE' }, part)
  t.throws(() => encodeHttpResponse({ status: 200, headers: [[NOT_UNICODE]], body }), {
    code: 'WIRE',
  })
})

const name = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,12}$/).map(canonicalHeader)
const headers = fc
  .uniqueArray(
    fc.tuple(name, fc.array(fc.string({ unit: 'grapheme', maxLength: 30 }), { maxLength: 3 })),
    {
      selector: ([key]) => key,
      maxLength: 6,
    },
  )
  .map((list) =>
    list.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, values]) => [key, ...values] as const),
  )
const body = fc.uint8Array({ maxLength: 300 })
const text = fc.string({ unit: 'grapheme', maxLength: 40 })

t.test('reading gives what was written, and the generated code reads it alike', async (t) => {
  fc.assert(
    fc.property(text, text, headers, body, (method, url, list, body) => {
      const request = { method, url, headers: list, body }
      const bytes = encodeHttpRequest(request)
      t.strictSame(decodeHttpRequest(bytes), request)
      const other = gen.POKTHTTPRequest.decode(bytes)
      t.strictSame(
        [...other.header].map(([key, header]) => [key, ...header.values]),
        list,
      )
      t.strictSame([other.method, other.url, other.bodyBz], [method, url, body])
    }),
  )
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 999 }), headers, body, (status, list, body) => {
      const response = { status, headers: list, body }
      const bytes = encodeHttpResponse(response)
      t.strictSame(decodeHttpResponse(bytes), response)
      t.equal(gen.POKTHTTPResponse.decode(bytes).statusCode, status)
    }),
  )
})
