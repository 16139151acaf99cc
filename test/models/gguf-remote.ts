import t from 'tap'
import { HEAD_FIRST } from '../../src/models/gguf.ts'
import { type RangeReader, readRemoteGguf, readRemoteHeads } from '../../src/models/gguf-remote.ts'
import { ggufBytes } from '../support/gguf.ts'
import { LLAMA_8B } from '../support/known-models.ts'
import { headBytes, metaOf, tensorsOf } from '../support/model-heads.ts'

const { signal } = new AbortController()

/** A file somewhere else, and which pieces of it were asked for. */
function remote(bytes: Uint8Array) {
  const asked: [from: number, length: number][] = []
  const reader: RangeReader = async (from, length) => {
    asked.push([from, length])
    return bytes.subarray(from, from + length)
  }
  return { reader, asked }
}

const tensors = tensorsOf({ ...LLAMA_8B, layers: 2 })
const small = headBytes(metaOf({ ...LLAMA_8B, layers: 2 }, { words: false }), tensors)
const data = Buffer.alloc(3 * HEAD_FIRST)

t.test('one piece is enough for a small head', async (t) => {
  const { reader, asked } = remote(Buffer.concat([small, data]))
  const head = await readRemoteGguf(reader, signal)
  t.strictSame(head.tensors, tensors)
  t.strictSame(asked, [[0, HEAD_FIRST]])
})

t.test('pieces grow, and none is asked for twice', async (t) => {
  const plan = { ...LLAMA_8B, layers: 2 }
  const { reader, asked } = remote(
    Buffer.concat([headBytes(metaOf(plan, { words: true }), tensors), data]),
  )
  const head = await readRemoteGguf(reader, signal)
  t.strictSame(head.tensors, tensors)
  t.strictSame(asked, [
    [0, HEAD_FIRST],
    [HEAD_FIRST, 3 * HEAD_FIRST],
  ])
})

t.test('a file that ends within its head, or is none, is refused', async (t) => {
  const read = (bytes: Uint8Array) => readRemoteGguf(remote(bytes).reader, signal)
  await t.rejects(read(small.subarray(0, 200)), { code: 'MODEL_LOAD', message: /ends within/ })
  await t.rejects(read(Buffer.from('<html>not here</html>')), {
    code: 'MODEL_LOAD',
    message: /not begin with GGUF/,
  })
})

t.test('a head without end is given up', async (t) => {
  const start = Buffer.alloc(24 + 8 + 4 + 12)
  start.write('GGUF')
  start.writeUInt32LE(3, 4)
  start.writeBigUInt64LE(1n, 16)
  // A key without a name, with a list of millions of numbers.
  start.writeUInt32LE(9, 32)
  start.writeUInt32LE(4, 36)
  start.writeBigUInt64LE(8_000_000n, 40)
  let bytes = 0
  const zeros: RangeReader = async (from, length) => {
    bytes += length
    const piece = Buffer.alloc(length)
    if (from === 0) start.copy(piece)
    return piece
  }
  const most = 6 * HEAD_FIRST
  await t.rejects(readRemoteGguf(zeros, signal, most), {
    code: 'MODEL_LOAD',
    message: /longer than 6291456 bytes/,
  })
  t.equal(bytes, most, 'no more is asked for')
})

t.test('all files of a model', async (t) => {
  const files = [
    headBytes({ 'general.architecture': 'llama', 'split.count': 3 }, tensors.slice(0, 1)),
    headBytes({ 'split.no': 1 }, tensors.slice(1, 3)),
    headBytes({ 'split.no': 2 }, tensors.slice(3)),
  ]
  const open = (order: readonly number[]) => (shard: number) =>
    remote(files[order[shard] ?? 0] as Buffer).reader
  const heads = await readRemoteHeads(open([0, 1, 2]), signal)
  t.strictSame(
    heads.flatMap((head) => head.tensors),
    tensors,
  )
  await t.rejects(readRemoteHeads(open([0, 2, 1]), signal), { message: /part 2 of it says/ })
  const many = remote(ggufBytes({ 'split.count': 600 })).reader
  await t.rejects(
    readRemoteHeads(() => many, signal),
    { message: /600 parts/ },
  )
})

t.test('an abort ends it', async (t) => {
  const reason = new Error('gone')
  await t.rejects(readRemoteGguf(remote(small).reader, AbortSignal.abort(reason)), reason)
  const controller = new AbortController()
  const reader: RangeReader = async () => {
    controller.abort(reason)
    return small
  }
  await t.rejects(readRemoteGguf(reader, controller.signal), reason)
})
