import t from 'tap'
import { concat, hex, unhex, utf8 } from '../../src/base/bytes.ts'
import { decodeWireProof } from '../../src/smst/gob.ts'
import { GobReader, openGob, skipGob } from '../../src/smst/stream.ts'

/** A writer of type definitions: only what these tests define. */
const byte = (...values: number[]): Uint8Array => new Uint8Array(values)
const uint = (value: number): Uint8Array => {
  if (value < 0x80) return byte(value)
  const digits = value.toString(16)
  const bytes = unhex(digits.length % 2 === 0 ? digits : `0${digits}`)
  return concat(byte(256 - bytes.length), bytes)
}
const int = (value: number): Uint8Array => uint(value < 0 ? -2 * value - 1 : 2 * value)
const text = (value: string): Uint8Array => concat(uint(value.length), utf8(value))
const message = (...parts: Uint8Array[]): Uint8Array => {
  const content = concat(...parts)
  return concat(uint(content.length), content)
}
const common = (name: string, id: number): Uint8Array =>
  concat(byte(1), text(name), byte(1), int(id), byte(0))
/** `kind`: the field of Go's wireType, 0 to 6; `rest`: what follows name and id. */
const define = (id: number, kind: number, ...rest: Uint8Array[]): Uint8Array =>
  message(int(-id), byte(kind + 1), byte(1), common('T', id), ...rest, byte(0, 0))
const struct = (id: number, fields: readonly [name: string, id: number][]): Uint8Array => {
  const each = fields.map(([name, type]) =>
    concat(...(name === '' ? [byte(2)] : [byte(1), text(name), byte(1)]), int(type), byte(0)),
  )
  return define(id, 2, byte(1), uint(fields.length), ...each)
}

const PATH = new Uint8Array(32).fill(9)
const path = concat(byte(32), PATH)

/** A stream with one struct: `Path`, then a field of type `id`, then `Depth`. */
function foreign(id: number, value: Uint8Array, ...definitions: Uint8Array[]): Uint8Array {
  const type = struct(100, [
    ['Path', 5],
    ['Foreign', id],
    ['Depth', 5],
  ])
  const body = concat(byte(1), path, byte(1), value, byte(1, 1, 7), byte(0))
  return concat(...definitions, type, message(int(100), body))
}

t.test('fields that we do not know are skipped, whatever their type', async (t) => {
  const point = struct(101, [
    ['X', 2],
    ['Y', 2],
  ])
  const known: Record<string, Uint8Array> = {
    bool: foreign(1, byte(1)),
    int: foreign(2, int(-70_000)),
    uint: foreign(3, uint(70_000)),
    float: foreign(4, unhex('fef03f')),
    bytes: foreign(5, text('Depth')),
    string: foreign(6, text('Path')),
    complex: foreign(7, unhex('fef03ffef03f')),
    array: foreign(
      102,
      concat(byte(2), int(1), int(2)),
      define(102, 0, byte(1), int(2), byte(1), int(2)),
    ),
    slice: foreign(
      102,
      concat(byte(3), text('a'), text(''), text('b')),
      define(102, 1, byte(1), int(6)),
    ),
    struct: foreign(101, concat(byte(1), int(4), byte(1), int(5), byte(0)), point),
    'empty struct': foreign(101, byte(0), struct(101, [])),
    'slice of structs': foreign(
      102,
      concat(byte(2), byte(2), int(5), byte(0), byte(0)),
      define(102, 1, byte(1), int(101)),
      point,
    ),
    map: foreign(
      102,
      concat(byte(1), text('key'), int(3)),
      define(102, 3, byte(1), int(6), byte(1), int(2)),
    ),
    'own encoding': foreign(102, text('opaque'), define(102, 4)),
    'own binary encoding': foreign(102, text('opaque'), define(102, 5)),
    'own text encoding': foreign(102, text('opaque'), define(102, 6)),
  }
  for (const [name, bytes] of Object.entries(known)) {
    const proof = decodeWireProof(bytes)
    t.equal(hex(proof.path), hex(PATH), `${name}: the field before`)
    t.equal(hex(proof.depth), '07', `${name}: the field after`)
  }
})

t.test('fields are matched by name, not by position, and need their type', async (t) => {
  const swapped = struct(70, [
    ['Depth', 5],
    ['Path', 5],
  ])
  const value = message(int(70), byte(1, 1, 7), byte(1), path, byte(0))
  t.match(decodeWireProof(concat(swapped, value)), { path: PATH, depth: byte(7) })
  const ofInt = struct(70, [['Path', 2]])
  t.throws(() => decodeWireProof(concat(ofInt, message(int(70), byte(0)))), { code: 'GOB' })
  const arrays = define(71, 0, byte(1), int(5), byte(1), int(1))
  const ofArray = struct(70, [['FlippedBits', 71]])
  t.throws(() => decodeWireProof(concat(arrays, ofArray, message(int(70), byte(0)))), {
    code: 'GOB',
  })
  const ofNumber = struct(70, [['ClosestProof', 2]])
  t.throws(() => decodeWireProof(concat(ofNumber, message(int(70), byte(0)))), { code: 'GOB' })
})

t.test('a struct ends with its message, too', async (t) => {
  const type = struct(70, [['Path', 5]])
  const value = message(int(70), byte(1), path)
  t.equal(hex(decodeWireProof(concat(type, value)).path), hex(PATH))
})

t.test('streams that are none are refused', async (t) => {
  const type = struct(70, [['Path', 5]])
  const value = message(int(70), byte(1), path, byte(0))
  const bad: Record<string, Uint8Array> = {
    nothing: byte(),
    'an empty message': byte(0),
    'no value': type,
    'a value before its type': concat(value, type),
    'a type defined twice': concat(type, type, value),
    'a type with the id of a built-in one': struct(63, [['Path', 5]]),
    'more after a definition': concat(message(type.subarray(1), byte(0)), value),
    'a definition of nothing': concat(message(int(-70), byte(0)), value),
    'a definition of two things': message(
      int(-70),
      byte(2, 1),
      common('T', 70),
      byte(0),
      byte(1, 1),
      common('T', 70),
      byte(0, 0),
    ),
    'a type id of more than 32 bits': message(unhex('fb0200000000'), byte(0)),
    'no struct': concat(define(70, 1, byte(1), int(5)), message(int(70), byte(0, 0))),
    'a built-in type': message(int(5), byte(0), text('x')),
    'nothing of a proof': concat(
      struct(70, [['Other', 2]]),
      message(int(70), byte(1), int(1), byte(0)),
    ),
    'a struct without fields': concat(struct(70, []), message(int(70), byte(0))),
    'a field twice': concat(
      struct(70, [
        ['Path', 5],
        ['Path', 5],
      ]),
      message(int(70), byte(1), path, byte(0)),
    ),
    'a field past the last': concat(type, message(int(70), byte(2, 0))),
    'a type that is not defined': foreign(102, byte(0)),
    'an interface': foreign(8, concat(text('int'), int(2), byte(2, 0), int(1))),
    'a name that objects have': concat(struct(70, [['constructor', 2]]), message(int(70), byte(0))),
    'a map with more entries than bytes': foreign(
      102,
      unhex('f8ffffffffffffffff'),
      define(102, 3, byte(1), int(101), byte(1), int(101)),
      struct(101, []),
    ),
  }
  for (const [name, bytes] of Object.entries(bad))
    t.throws(() => decodeWireProof(bytes), { name: 'SmstError', code: 'GOB' }, name)
  t.equal(hex(decodeWireProof(concat(type, value)).path), hex(PATH), 'unlike the good one')
})

t.test('nesting has an end', async (t) => {
  const nested = struct(101, [['Next', 101]])
  const depth = (levels: number) =>
    concat(...Array.from({ length: levels }, () => byte(1)), new Uint8Array(levels + 1))
  t.doesNotThrow(() => decodeWireProof(foreign(101, depth(60), nested)))
  t.throws(() => decodeWireProof(foreign(101, depth(70), nested)), { code: 'GOB' })
  t.throws(() => decodeWireProof(foreign(101, depth(100_000), nested)), { code: 'GOB' })
})

t.test('integers have up to 64 bits and a sign', async (t) => {
  for (const [encoded, value] of [
    ['00', 0n],
    ['7f', 127n],
    ['ff80', 128n],
    ['ffff', 255n],
    ['fe0100', 256n],
    ['fd010000', 65_536n],
    ['f8ffffffffffffffff', 2n ** 64n - 1n],
    ['ff05', 5n],
  ] as const)
    t.equal(new GobReader(unhex(encoded)).uint(), value, encoded)
  for (const [encoded, value] of [
    ['7f', -64n],
    ['ff81', -65n],
    ['ff80', 64n],
    ['ff82', 65n],
    ['f8ffffffffffffffff', -(2n ** 63n)],
    ['f8fffffffffffffffe', 2n ** 63n - 1n],
  ] as const)
    t.equal(new GobReader(unhex(encoded)).int(), value, encoded)
  for (const bad of ['', 'ff', 'fe01', 'f7010000000000000000', '80'])
    t.throws(() => new GobReader(unhex(bad)).uint(), { code: 'GOB' }, bad)
})

t.test('a stream is read up to its first value', async (t) => {
  const stream = concat(struct(70, [['Path', 5]]), message(int(70), byte(1), path, byte(0)))
  const { types, id, value } = openGob(concat(stream, byte(1, 2, 3)))
  t.strictSame(types, new Map([[70, { kind: 'struct', fields: [{ name: 'Path', id: 5 }] }]]))
  t.equal(id, 70)
  skipGob(types, id, value)
  t.equal(value.remaining, 0)
})
