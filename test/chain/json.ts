import t from 'tap'
import { ChainError } from '../../src/chain/errors.ts'
import { Json } from '../../src/chain/json.ts'

const read = (value: unknown) => new Json(value, 'result')

t.test('reads the forms that CometBFT writes', async (t) => {
  const node = read({
    height: '73',
    code: 7,
    flag: false,
    hash: 'AB'.repeat(32),
    value: 'ChwI',
    time: '2026-11-24T22:03:22.100779876Z',
    items: [{ name: 'a' }, { name: 'b' }],
    none: null,
  })
  t.equal(node.get('height').height(), 73)
  t.equal(node.get('height').big(), 73n)
  t.equal(node.get('code').integer(), 7)
  t.equal(node.get('flag').boolean(), false)
  t.strictSame(node.get('hash').hash(), new Uint8Array(32).fill(0xab))
  t.strictSame(node.get('value').base64(), Uint8Array.of(0x0a, 0x1c, 0x08))
  t.equal(node.get('time').time(), Date.parse('2026-11-24T22:03:22.100Z'))
  const items = node.get('items').list()
  t.strictSame(
    items.map((item) => item.get('name').text()),
    ['a', 'b'],
  )
  t.strictSame(node.get('none').list(), [], 'an empty list is null')
  t.strictSame(node.get('none').base64(), new Uint8Array(0), 'empty bytes are null')
  t.strictSame(node.get('absent').list(), [])
  t.ok(node.get('absent').isNull)
  t.ok(node.get('toString').isNull, 'what objects inherit is absent')
  t.strictSame(
    read({ a: '1', b: '2' })
      .entries()
      .map(([name, field]) => `${name}=${field.text()}`),
    ['a=1', 'b=2'],
  )
})

t.test('names the field that is wrong', async (t) => {
  const cases: [id: string, run: () => unknown, path: string][] = [
    ['absent text', () => read({}).get('a').text(), 'result.a'],
    ['number for text', () => read({ a: 1 }).get('a').text(), 'result.a'],
    [
      'nested',
      () =>
        read({ a: { b: true } })
          .get('a')
          .get('b')
          .text(),
      'result.a.b',
    ],
    ['in a list', () => read([1, 'x']).list()[1]?.integer(), 'result[1]'],
    ['field of text', () => read('x').get('a'), 'result'],
    ['field of a list', () => read([]).get('a'), 'result'],
    ['field of null', () => read({}).get('a').get('b'), 'result.a'],
    ['object for list', () => read({ a: {} }).get('a').list(), 'result.a'],
    ['list for entries', () => read([]).entries(), 'result'],
    ['number for int64', () => read({ a: 73 }).get('a').big(), 'result.a'],
    ['words for int64', () => read({ a: 'x' }).get('a').big(), 'result.a'],
    ['empty int64', () => read({ a: '' }).get('a').big(), 'result.a'],
    ['fraction for int32', () => read({ a: 1.5 }).get('a').integer(), 'result.a'],
    ['height 0', () => read({ a: '0' }).get('a').height(), 'result.a'],
    ['negative height', () => read({ a: '-1' }).get('a').height(), 'result.a'],
    [
      'huge height',
      () =>
        read({ a: '9'.repeat(19) })
          .get('a')
          .height(),
      'result.a',
    ],
    ['text for boolean', () => read({ a: 'true' }).get('a').boolean(), 'result.a'],
    ['odd hex', () => read({ a: 'abc' }).get('a').hex(), 'result.a'],
    ['short hash', () => read({ a: 'ab' }).get('a').hash(), 'result.a'],
    ['empty hash', () => read({ a: '' }).get('a').hash(), 'result.a'],
    ['bad base64', () => read({ a: 'zz' }).get('a').base64(), 'result.a'],
    ['bad time', () => read({ a: 'yesterday' }).get('a').time(), 'result.a'],
  ]
  for (const [id, run, field] of cases) {
    t.throws(run, { name: 'ChainError', code: 'RESPONSE', data: { field }, retryable: false }, id)
  }
})

t.test('keeps the cause', async (t) => {
  try {
    read({ a: 'x' })
      .get('a')
      .as('JSON', () => JSON.parse('{'))
    t.fail('did not throw')
  } catch (error) {
    t.ok(error instanceof ChainError && error.cause instanceof SyntaxError)
  }
})
