import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { tinyModelPath } from '../../src/config/root.ts'
import { ModelError } from '../../src/models/errors.ts'
import { parseGgufHead, readGgufHeads, textOf } from '../../src/models/gguf.ts'
import { shapeOf } from '../../src/models/shape.ts'
import { ggufBytes } from '../support/gguf.ts'
import { LLAMA_8B } from '../support/known-models.ts'
import { headBytes, metaOf, tensorsOf } from '../support/model-heads.ts'

const { signal } = new AbortController()
const tensors = tensorsOf({ ...LLAMA_8B, layers: 2 })
const whole = headBytes(metaOf({ ...LLAMA_8B, layers: 2 }, { words: false }), tensors)
const broken = (how: RegExp) => ({ code: 'MODEL_LOAD', message: how })

t.test('tensors are listed with name, dimensions and kind', async (t) => {
  t.strictSame(parseGgufHead(whole)?.tensors, tensors)
  t.equal(textOf(parseGgufHead(whole)?.metadata ?? new Map(), 'general.architecture'), 'llama')
  for (const length of [0, 4, 30, whole.length - 1])
    t.equal(parseGgufHead(whole.subarray(0, length)), undefined, `it ends after ${length} bytes`)
})

t.test('heads of a real file, and of a model in several', async (t) => {
  const [tiny] = await readGgufHeads(tinyModelPath(), signal)
  t.equal(tiny?.tensors.length, 38)
  t.match(tiny?.tensors[0], { name: 'token_embd.weight', dimensions: [128, 640] })
  const folder = t.testdir()
  const first = join(folder, 'm-00001-of-00002.gguf')
  const meta = metaOf({ ...LLAMA_8B, layers: 2 }, { words: false })
  await writeFile(first, headBytes({ ...meta, 'split.count': 2 }, tensors.slice(0, 5)))
  const rest = headBytes({ 'split.no': 1, 'split.count': 2 }, tensors.slice(5))
  await writeFile(join(folder, 'm-00002-of-00002.gguf'), rest)
  const heads = await readGgufHeads(first, signal)
  t.strictSame(
    heads.map((head) => head.tensors.length),
    [5, tensors.length - 5],
  )
  t.strictSame(shapeOf(heads), shapeOf([{ metadata: heads[0]?.metadata ?? new Map(), tensors }]))
})

t.test('what has no measure is refused before it is read', async (t) => {
  const spoilt = (at: number, value: bigint, bytes: Buffer = whole) => {
    const copy = Buffer.from(bytes)
    copy.writeBigUInt64LE(value, at)
    return () => parseGgufHead(copy)
  }
  t.throws(spoilt(8, 300_000n), broken(/too many tensors/))
  t.throws(spoilt(16, 70_000n), broken(/too many keys/))
  t.throws(spoilt(24, 100n * 1024n * 1024n), broken(/a text in it is too long/))
  t.throws(spoilt(24, 1n << 62n), broken(/beyond all measure/))
  const list = ggufBytes({ words: [1, 2, 3] })
  t.throws(spoilt(24 + 8 + 5 + 4 + 4, 10_000_000n, list), broken(/lists are too long/))
  const wide = { name: 'a', dimensions: [2 ** 20, 2 ** 20, 2 ** 20], type: 0 }
  t.throws(() => parseGgufHead(headBytes({}, [wide])), broken(/tensor of it is beyond all/))
  const deep = { name: 'a', dimensions: [1, 1, 1, 1, 1], type: 0 }
  t.throws(() => parseGgufHead(headBytes({}, [deep])), broken(/5 dimensions/))
})

t.test('bytes of any kind are read, refused or not enough', async (t) => {
  const isOurs = (parse: () => unknown) => {
    try {
      parse()
      return true
    } catch (error) {
      return error instanceof ModelError && error.code === 'MODEL_LOAD'
    }
  }
  const read = (bytes: Uint8Array) => () => {
    const head = parseGgufHead(bytes)
    if (head !== undefined) shapeOf([head])
  }
  const start = Buffer.from(whole.subarray(0, 24))
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) =>
      isOurs(read(Buffer.concat([start, bytes]))),
    ),
  )
  const small = Buffer.from(
    headBytes(
      metaOf({ ...LLAMA_8B, layers: 1 }, { words: false }),
      tensorsOf({ ...LLAMA_8B, layers: 1 }),
    ),
  )
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(small.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
      (changes) => {
        const copy = Buffer.from(small)
        for (const [at, value] of changes) copy[at] = value
        return isOurs(read(copy))
      },
    ),
    { numRuns: 500 },
  )
  t.pass('over bytes of chance and over heads that were changed')
})
