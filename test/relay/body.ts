import t from 'tap'
import { Body } from '../../src/relay/body.ts'

/** Put together from pieces of these sizes, filled so that a wrong place shows. */
function made(max: number, sizes: readonly number[]): { body: Body; all: Buffer } {
  const body = new Body(max)
  const pieces = sizes.map((size, i) => Buffer.alloc(size, (i % 255) + 1))
  for (const piece of pieces) body.add(piece)
  return { body, all: Buffer.concat(pieces) }
}

t.test('a body is what came, in whatever pieces', async (t) => {
  const ways = [[], [0], [5], [1, 2, 3], [0, 4, 0], [1_000, 1, 1_000, 1], Array(900).fill(1)]
  for (const sizes of [...ways, Array(3_000).fill(64)]) {
    const { body, all } = made(1_000_000, sizes)
    t.strictSame(Buffer.from(body.bytes ?? []), all, `${sizes.length} pieces`)
    t.equal(body.size, all.length)
    t.equal(body.isTooLarge, false)
  }
})

t.test('no more than twice of what came is held, and none of what is too large', async (t) => {
  const body = new Body(100_000)
  for (let i = 0; i < 100; i++) {
    body.add(Buffer.alloc(1_000))
    t.ok(body.held >= body.size && body.held <= 2 * body.size, `${body.held} for ${body.size}`)
  }
  t.equal(body.held, 100_000, 'and never more than may come')
  t.equal(body.bytes?.length, 100_000, 'just fits')
  body.add(Buffer.alloc(1))
  t.equal(body.bytes, undefined)
  t.equal(body.held, 0)
  body.add(Buffer.alloc(1))
  t.equal(body.held, 0)
  t.equal(body.size, 100_002, 'it is counted all the same')
})

t.test('a piece is copied as soon as there is a second', async (t) => {
  const body = new Body(100)
  const pieces = ['ab', 'cd', 'ef'].map((text) => Buffer.from(text))
  for (const piece of pieces) body.add(piece)
  for (const piece of pieces) piece.fill('x')
  t.not(Buffer.from(body.bytes ?? []).toString(), 'xxxxxx')
})

t.test('a body that comes in crumbs is not waited for', async (t) => {
  const body = new Body(1_000_000)
  const crumb = Buffer.alloc(1)
  for (let i = 0; i < 1_000; i++) body.add(crumb)
  t.throws(() => body.add(crumb), { code: 'REFUSED' })
  const fair = new Body(1_000_000)
  for (let i = 0; i < 10_000; i++) fair.add(Buffer.alloc(64))
  t.equal(fair.size, 640_000)
})
