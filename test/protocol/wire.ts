import fc from 'fast-check'
import t from 'tap'
import { concat, hex, unhex, utf8 } from '../../src/base/bytes.ts'
import { Reader, requireUnicode, type Tag, Writer } from '../../src/protocol/wire.ts'

/** Reads the fields of `bytes` as field number and value, taking each by its wire type. */
function read(bytes: Uint8Array): [number, bigint | string][] {
  const reader = new Reader(bytes)
  const out: [number, bigint | string][] = []
  for (const tag of reader) {
    if (tag.wire === 0) out.push([tag.field, reader.int64(tag)])
    else if (tag.wire === 2) out.push([tag.field, hex(reader.bytes(tag))])
    else reader.skip(tag)
  }
  return out
}

function skipAll(bytes: Uint8Array): Tag[] {
  const reader = new Reader(bytes)
  const tags: Tag[] = []
  for (const tag of reader) {
    tags.push(tag)
    reader.skip(tag)
  }
  return tags
}

t.test('what is written', async (t) => {
  const written = (make: (writer: Writer) => Writer) => hex(make(new Writer()).finish())
  t.equal(
    written((w) => w),
    '',
  )
  t.equal(
    written((w) => w.varint(1, 0).string(2, '').bytes(3, new Uint8Array(0))),
    '',
    'no zeros',
  )
  t.equal(
    written((w) => w.bytes(4, undefined).message(5, undefined)),
    '',
    'nothing absent',
  )
  t.equal(
    written((w) => w.message(1, new Writer())),
    '0a00',
    'an empty message',
  )
  t.equal(
    written((w) => w.element(2, '').element(2, 'a')),
    '1200120161',
    'empty elements',
  )
  t.equal(
    written((w) => w.varint(4, 300).varint(5, -1n)),
    '20ac0228ffffffffffffffffff01',
  )
  t.equal(
    written((w) => w.string(16, 'é')),
    '820102c3a9',
    'a tag of two bytes',
  )
  const long = written((w) => w.bytes(1, new Uint8Array(128)))
  t.equal(long, `0a8001${'00'.repeat(128)}`, 'a length of two bytes')
})

t.test('what is refused', async (t) => {
  const malformed: Record<string, string> = {
    'a varint without an end': '0880',
    'a varint of eleven bytes': '088080808080808080808001',
    'a varint of ten bytes that goes on': '0880808080808080808080',
    'a length past the end': '0a02ff',
    'a length of 2^63': '0a80808080808080808001',
    'a tag alone': '0a',
    'field number 0': '0205',
    'a tag of 33 bits': '8880808010',
    'a lone end group': '0c',
    'an end group before its start': '0c0b',
    'a group without an end': '0b',
    'a group with an end too many': '0b0c0c',
    'field number 0 in a group': '0b00000c',
    'wire type 6': '0e',
    'wire type 7': '0f',
    'a cut fixed32': '0d010203',
    'a cut fixed64': '0901020304050607',
  }
  for (const [what, bytes] of Object.entries(malformed))
    t.throws(() => read(unhex(bytes)), { code: 'WIRE' }, what)
  const [tag] = skipAll(unhex('0801'))
  t.ok(tag)
  if (tag === undefined) return
  for (const take of ['bytes', 'string', 'message'] as const)
    t.throws(() => new Reader(unhex('01'))[take](tag), { code: 'WIRE' }, `a varint as ${take}`)
  const text: Tag = { field: 1, wire: 2 }
  for (const take of ['int64', 'uint32'] as const)
    t.throws(() => new Reader(unhex('01'))[take](text), { code: 'WIRE' }, `bytes as ${take}`)
  for (const bytes of ['02c328', '01ff', '03eda080'])
    t.throws(() => new Reader(unhex(bytes)).string(text), { code: 'WIRE' }, `text ${bytes}`)
})

t.test('what Go lets pass', async (t) => {
  t.same(read(unhex('08858000')), [[1, 5n]], 'a varint with needless groups')
  t.same(read(unhex('08ffffffffffffffffff7f')), [[1, -1n]], 'bits past 64')
  t.same(
    read(unhex('0a83006162638880800005')),
    [
      [1, '616263'],
      [1, 5n],
    ],
    'overlong length and tag',
  )
  const code: Tag = { field: 2, wire: 0 }
  t.equal(new Reader(unhex('8580808010')).uint32(code), 5, 'bits past 32')
  t.equal(skipAll(unhex('0b13080115aa000000140c0801')).length, 2, 'a group within a group')
})

t.test('text comes out as the bytes that went in', async (t) => {
  const bom = concat(unhex('03'), unhex('efbbbf'))
  const text = new Reader(bom).string({ field: 1, wire: 2 })
  t.same(utf8(text), unhex('efbbbf'), 'a byte order mark is kept')
  t.throws(() => requireUnicode('a\ud800'), { code: 'WIRE' })
  t.throws(() => requireUnicode('\udc00b'), { code: 'WIRE' })
  t.doesNotThrow(() => requireUnicode('\u{1f600} ok'))
})

t.test('bytes are copied out of the buffer, whatever its class', async (t) => {
  for (const buffer of [unhex('01aa'), Buffer.from('01aa', 'hex')]) {
    const value = new Reader(buffer).bytes({ field: 1, wire: 2 })
    buffer.fill(0)
    t.strictSame(value, unhex('aa'))
  }
})

const fields = fc.array(
  fc.tuple(
    fc.integer({ min: 1, max: 2 ** 29 - 1 }),
    fc.oneof(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).filter((value) => value !== 0n),
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
    ),
  ),
)

t.test('reading gives what was written', async (t) => {
  fc.assert(
    fc.property(fields, (list) => {
      const writer = new Writer()
      for (const [field, value] of list)
        if (typeof value === 'bigint') writer.varint(field, value)
        else writer.bytes(field, value)
      const bytes = writer.finish()
      const expected = list.map(([f, v]) => [f, typeof v === 'bigint' ? v : hex(v)])
      t.same(read(bytes), expected)
      t.equal(skipAll(bytes).length, list.length)
    }),
  )
})

t.test('whatever the bytes, it reads them or refuses them', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      try {
        skipAll(bytes)
      } catch (error) {
        return (error as { code?: string }).code === 'WIRE'
      }
      return true
    }),
    { numRuns: 2_000 },
  )
})
