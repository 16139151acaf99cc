import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { systemDisk } from '../../src/models/disk.ts'
import type { PullProgress } from '../../src/models/pull-options.ts'
import { sha256, weights } from '../support/hostile-server.ts'
import { CHUNK, scene } from '../support/pulling.ts'

t.test('a file comes in ranges, and is there under its digest', async (t) => {
  const { server, data, file, blob, models, pull } = await scene(t)
  const seen: PullProgress[] = []
  await using pulled = await pull({ options: { onProgress: (one) => seen.push(one) } })
  const { fileName, bytes } = file
  t.strictSame(pulled.files, [{ fileName, bytes, sha256: sha256(data) }])
  t.ok((await readFile(blob)).equals(data))
  t.equal(server.requests.length, 9)
  t.match(server.requests[1], { range: /^bytes=\d+-\d+$/, ifRange: /^"/ })
  t.match(seen.at(-1), { bytes, total: bytes })
  t.strictSame(await readdir(join(models, 'parts')), [`sha256-${sha256(data)}.lock`], 'locked')
  await pulled[Symbol.asyncDispose]()
  t.strictSame(await readdir(join(models, 'parts')), [])
  await using _again = await pull()
  t.equal(server.requests.length, 9, 'nothing is asked for what is here')
})

t.test('two at once in one process: one fetches', async (t) => {
  const { server, data, pull, notices } = await scene(t)
  const one = async () => {
    await using _pulled = await pull()
  }
  await Promise.all([one(), one()])
  t.equal(server.sent, data.length)
  t.match(notices, [/waiting for it/])
})

t.test('without a digest nothing is fetched, unless the owner says so', async (t) => {
  const { server, file, data, pull } = await scene(t)
  const { sha256: _, ...unknown } = file
  await t.rejects(pull({ files: [unknown] }), { code: 'DIGEST_UNKNOWN' })
  const open = { ...unknown, urls: ['http://example.com/m.gguf'] }
  const options = { unverified: true }
  await t.rejects(pull({ files: [open], options }), { code: 'SOURCE_UNSAFE', message: /nor https/ })
  t.equal(server.requests.length, 0)
  await using pulled = await pull({ files: [unknown], options })
  t.equal(pulled.files[0]?.sha256, sha256(data))
})

t.test('the room on the disk is looked at first', async (t) => {
  const { server, file, pull } = await scene(t)
  const free = async () => file.bytes + 1_000
  const disk = { ...systemDisk, free }
  await t.rejects(pull({ disk, options: { marginBytes: 1_001 } }), {
    code: 'DISK_FULL',
    retryable: true,
    data: { needed: file.bytes, margin: 1_001, free: file.bytes + 1_000 },
  })
  t.equal(server.requests.length, 0)
  await using _pulled = await pull({ disk, options: { marginBytes: 1_000 } })
})

t.test('a disk that is full keeps what came, and goes on with room', async (t) => {
  const { server, data, blob, pull } = await scene(t)
  let room = 3 * CHUNK
  const disk: typeof systemDisk = {
    ...systemDisk,
    open: async (path, flags) => {
      const file = await systemDisk.open(path, flags)
      if (!path.endsWith('.part')) return file
      return new Proxy(file, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name)
          if (typeof value !== 'function') return value
          if (name !== 'write') return value.bind(target)
          return async (bytes: Uint8Array, ...rest: number[]) => {
            room -= bytes.length
            if (room < 0)
              throw Object.assign(new Error('no space'), { code: 'ENOSPC', syscall: 'write' })
            return await value.call(target, bytes, ...rest)
          }
        },
      })
    },
  }
  await t.rejects(pull({ disk }), { code: 'DISK_FULL', retryable: true, message: /disk is full/ })
  await t.rejects(stat(blob))
  const asked = server.requests.length
  t.ok(asked < 9, 'it is not tried again and again')
  room = Number.POSITIVE_INFINITY
  server.sent = 0
  await using _pulled = await pull({ disk })
  t.ok((await readFile(blob)).equals(data))
  t.ok(server.sent < data.length - CHUNK, `${server.sent} of ${data.length} were still missing`)
})

t.test('what was found is read again, and fetched again where it is damaged', async (t) => {
  const { server, data, blob, models, pull } = await scene(t)
  server.behave = ({ index }) => (index === 6 ? { status: 404 } : {})
  await t.rejects(pull({ options: { parallel: 1 } }), { code: 'SOURCE_ABSENT' })
  const part = join(models, 'parts', `sha256-${sha256(data)}`)
  const bytes = await readFile(`${part}.part`)
  bytes.fill(0, CHUNK + 10, CHUNK + 20)
  await writeFile(`${part}.part`, bytes)
  const journal = await readFile(`${part}.journal`, 'utf8')
  await writeFile(`${part}.journal`, `${journal}no line\n${CHUNK} ${2 ** 40} 0\n123 45`)
  server.sent = 0
  await using _pulled = await pull()
  t.ok((await readFile(blob)).equals(data))
  t.ok(server.sent < data.length - 4 * CHUNK, `${server.sent} of ${data.length}`)
})

t.test('a journal that cannot be read is none', async (t) => {
  const { data, blob, models, pull } = await scene(t)
  await mkdir(join(models, 'parts'), { recursive: true })
  const part = join(models, 'parts', `sha256-${sha256(data)}`)
  for (const text of ['', 'x', '{"v":2}', `{"v":1,"bytes":5}\n0 5 0\n`]) {
    await writeFile(`${part}.journal`, text)
    await writeFile(`${part}.part`, 'GGUF and other things')
    await using _pulled = await pull()
    t.ok((await readFile(blob)).equals(data), text)
    await rm(blob)
  }
})

t.test('files that lie elsewhere are read and left', async (t) => {
  const { models, pull } = await scene(t)
  const folder = t.testdir()
  const names = ['m-00001-of-00002.gguf', 'm-00002-of-00002.gguf']
  const all = names.map(() => weights(1_000))
  for (const [at, name] of names.entries()) await writeFile(join(folder, name), all[at] ?? '')
  const files = names.map((fileName) => ({
    ...{ fileName, bytes: 1_000, urls: [] },
    place: join(folder, fileName),
  }))
  await using pulled = await pull({ files })
  t.strictSame(
    pulled.files.map((file) => file.sha256),
    all.map((data) => sha256(data)),
  )
  t.strictSame(await readdir(join(models, 'blobs')), [])
  const [first] = files
  if (first === undefined) return
  const wrong = [{ ...first, sha256: sha256('x') }, ...files.slice(1)]
  await t.rejects(pull({ files: wrong }), { code: 'DOWNLOAD_BROKEN' })
  await writeFile(join(folder, 'page.gguf'), '<html>')
  const page = { ...first, place: join(folder, 'page.gguf') }
  await t.rejects(pull({ files: [page] }), { code: 'DOWNLOAD_BROKEN', message: /web page/ })
})

t.test('several files, of which two are the same', async (t) => {
  const { server, file, data, pull } = await scene(t)
  const other = weights(5_000)
  server.files.set('/o.gguf', other)
  const second = {
    ...{ fileName: 'o.gguf', bytes: 5_000, sha256: sha256(other) },
    urls: [`${server.url}/o.gguf`],
  }
  await using pulled = await pull({ files: [file, second, { ...file, fileName: 'copy.gguf' }] })
  t.equal(pulled.files.length, 3)
  t.equal(server.sent, data.length + other.length)
})

t.test('a cap on the bandwidth is kept', async (t) => {
  const { file, pull } = await scene(t)
  const start = performance.now()
  await using _pulled = await pull({ options: { bytesPerSecond: file.bytes * 2 } })
  const took = performance.now() - start
  t.ok(took > 400, `${took} ms`)
})
