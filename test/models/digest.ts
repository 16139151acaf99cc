import { readFile, rename, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { concat, hex, sha256, utf8 } from '../../src/base/bytes.ts'
import { Digests, shardsOf } from '../../src/models/digest.ts'

const hash = (text: string | Uint8Array) =>
  hex(sha256(typeof text === 'string' ? utf8(text) : text))

function setUp(t: Test, files: Record<string, string> = { 'a.gguf': 'weights' }) {
  const folder = t.testdir(files)
  const cacheFile = join(folder, 'digests.json')
  const controller = new AbortController()
  return {
    path: join(folder, 'a.gguf'),
    folder,
    cacheFile,
    controller,
    signal: controller.signal,
    /** A new one each time: what it knows it has from the file. */
    of: (
      path: string,
      more: { again?: boolean; onProgress?: (a: number, b: number) => void } = {},
    ) => new Digests({ cacheFile }).of(path, { signal: controller.signal, ...more }),
  }
}

t.test('a file is read once', async (t) => {
  const { path, of } = setUp(t)
  const file = { path, sha256: hash('weights'), bytes: 7, isCached: false }
  t.strictSame(await of(path), { sha256: hash('weights'), bytes: 7, files: [file] })
  t.strictSame((await of(path)).files, [{ ...file, isCached: true }])
  t.strictSame((await of(path, { again: true })).files, [file], 'and again on request')
})

t.test('is read anew when it is another one', async (t) => {
  const { path, folder, of } = setUp(t, { 'a.gguf': 'weights', b: 'WEIGHTS' })
  const { mtime, atime } = await stat(path)
  await of(path)
  await utimes(path, atime, new Date(mtime.getTime() - 5_000))
  t.strictSame(
    (await of(path)).files.map((file) => file.isCached),
    [false],
    'by its time',
  )
  t.strictSame(
    (await of(path)).files.map((file) => file.isCached),
    [true],
  )
  await utimes(join(folder, 'b'), atime, new Date(mtime.getTime() - 5_000))
  await rename(join(folder, 'b'), path)
  t.equal((await of(path)).sha256, hash('WEIGHTS'), 'by its inode: time and size are the same')
  const then = new Date(1_700_000_000_000)
  await utimes(path, then, then)
  await of(path)
  await writeFile(path, 'longer weights')
  await utimes(path, then, then)
  t.equal((await of(path)).sha256, hash('longer weights'), 'by its size')
})

t.test('a model in several files', async (t) => {
  const names = ['m-00001-of-00002.gguf', 'm-00002-of-00002.gguf']
  const { folder, of } = setUp(t, { [names[0] as string]: 'one', [names[1] as string]: 'two' })
  const [first = '', second = ''] = names.map((name) => join(folder, name))
  t.strictSame(shardsOf(first), [first, second])
  t.strictSame(shardsOf('/x/m.gguf'), ['/x/m.gguf'])
  const seen: [number, number][] = []
  const digest = await of(first, { onProgress: (...at) => seen.push(at) })
  t.equal(digest.sha256, hash(concat(sha256(utf8('one')), sha256(utf8('two')))))
  t.equal(digest.bytes, 6)
  t.strictSame(seen, [
    [3, 6],
    [6, 6],
  ])
  await writeFile(second, 'TWO!')
  const again = await of(first)
  t.strictSame(
    again.files.map(({ isCached }) => isCached),
    [true, false],
    'only what has changed is read',
  )
  t.throws(() => shardsOf(second), { code: 'MODEL_LOAD' }, 'the first one stands for all')
})

t.test('whoever asks at the same time shares the reading', async (t) => {
  const { path, cacheFile, signal } = setUp(t)
  const digests = new Digests({ cacheFile })
  const all = await Promise.all([1, 2, 3].map(() => digests.of(path, { signal })))
  t.strictSame(
    all.map(({ files }) => files[0]?.isCached),
    [false, true, true],
  )
})

t.test('says what is wrong', async (t) => {
  const { path, folder, cacheFile, signal, of } = setUp(t)
  await t.rejects(of(join(folder, 'none.gguf')), { code: 'MODEL_LOAD', message: /none\.gguf/ })
  await t.rejects(of(folder), { code: 'MODEL_LOAD' }, 'a folder')
  await writeFile(cacheFile, '{"v":1,"files":[{"path":"../x"}]}')
  t.equal((await of(path)).sha256, hash('weights'), 'a cache of another make is not believed')
  await writeFile(cacheFile, 'not JSON')
  t.equal((await of(path)).sha256, hash('weights'))
  t.match(JSON.parse(await readFile(cacheFile, 'utf8')), { v: 1, files: [{ path }] })
  const digests = new Digests({ cacheFile })
  const changed = digests.of(path, {
    signal,
    again: true,
    onProgress: () => void writeFile(path, 'changed'),
  })
  await t.rejects(changed, { code: 'MODEL_LOAD', retryable: true }, 'a file that changes meanwhile')
  t.equal((await digests.of(path, { signal })).sha256, hash('changed'), 'the next one goes on')
})

t.test('an abort ends the wait at once, and the reading', async (t) => {
  const { path, cacheFile, controller, signal } = setUp(t)
  const digests = new Digests({ cacheFile })
  const reason = new Error('gone')
  let read = 0
  const onProgress = () => {
    read++
    controller.abort(reason)
  }
  const first = digests.of(path, { signal, onProgress })
  const second = digests.of(path, { signal })
  await t.rejects(first, reason)
  await t.rejects(second, reason)
  await t.rejects(digests.of(path, { signal }), reason)
  t.equal(read, 1)
  const other = new AbortController().signal
  t.equal((await digests.of(path, { signal: other })).files[0]?.isCached, false, 'nothing is kept')
})
