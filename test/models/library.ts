import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { Library } from '../../src/models/library.ts'
import { tryLock } from '../../src/models/lock.ts'
import type { Resolved, ResolvedFile } from '../../src/models/resolved.ts'
import { ManualClock } from '../support/clock.ts'
import { sha256, weights } from '../support/hostile-server.ts'
import { scene } from '../support/pulling.ts'

const { signal } = new AbortController()

async function setUp(t: Test) {
  const all = await scene(t, { bytes: 5_000 })
  const library = new Library({ clock: new ManualClock(1_000) }, all.models)
  const resolved: Resolved = { name: 'm', source: all.file.urls[0] ?? '', files: [all.file] }
  const add = async (more: Partial<Resolved> = {}, update = false) => {
    const whole = { ...resolved, ...more }
    await using pulled = await all.pull({ files: whole.files })
    return await library.add(whole, pulled, { signal, update })
  }
  const shards = (names: readonly string[]): ResolvedFile[] =>
    names.map((fileName) => {
      const data = weights(3_000)
      all.server.files.set(`/${fileName}`, data)
      const urls = [`${all.server.url}/${fileName}`]
      return { fileName, bytes: data.length, sha256: sha256(data), urls }
    })
  return { ...all, library, resolved, add, shards }
}

t.test('what was pulled is here by its name', async (t) => {
  const { library, add, file, data, blob, models, resolved } = await setUp(t)
  t.strictSame([...(await library.list())], [])
  const model = await add({ revision: 'abc', license: 'mit' })
  const { fileName, bytes } = file
  t.strictSame(model, {
    source: resolved.source,
    revision: 'abc',
    files: [{ fileName, bytes, sha256: sha256(data) }],
    addedAt: 1_000,
    license: 'mit',
  })
  t.strictSame(await library.find('m'), model)
  t.equal(await library.pathOf('m'), blob)
  const text = JSON.parse(await readFile(join(models, 'models.lock.json'), 'utf8'))
  t.strictSame(text, { version: 1, models: { m: model } })
  for (const name of ['none', '../m', '__proto__', 'constructor'])
    await t.rejects(library.pathOf(name), { code: 'MODEL_ABSENT' }, name)
})

t.test('of several files the engine finds all by their names', async (t) => {
  const { library, add, shards, models } = await setUp(t)
  const names = ['big-00001-of-00002.gguf', 'big-00002-of-00002.gguf']
  await add({ name: 'big', files: shards(names) })
  t.equal(await library.pathOf('big'), join(models, 'sets', 'big', names[0] ?? ''))
  t.strictSame(await readdir(join(models, 'sets', 'big')), names)
  t.strictSame(
    (await library.verify('big', { signal })).map(({ state }) => state),
    ['right', 'right'],
  )
  await library.remove('big', { signal })
  t.strictSame(await readdir(join(models, 'sets')), [])
  t.strictSame(await readdir(join(models, 'blobs')), [])
})

t.test('a file that another model uses stays', async (t) => {
  const { library, add, blob, file } = await setUp(t)
  await add()
  await add({ name: 'same' })
  t.equal(await library.remove('m', { signal }), 0)
  t.ok(await stat(blob))
  t.ok((await library.remove('same', { signal })) >= file.bytes)
  await t.rejects(stat(blob))
  await t.rejects(library.remove('same', { signal }), { code: 'MODEL_ABSENT' })
})

t.test('a file that lies elsewhere is never removed', async (t) => {
  const { library, add } = await setUp(t)
  const place = join(t.testdir(), 'mine.gguf')
  await writeFile(place, weights(999))
  await add({ name: 'mine', files: [{ fileName: 'mine.gguf', bytes: 999, urls: [], place }] })
  t.equal(await library.pathOf('mine'), place)
  t.strictSame(
    (await library.verify('mine', { signal })).map(({ state }) => state),
    ['right'],
  )
  await library.remove('mine', { signal })
  await library.prune({ signal })
  t.ok(await stat(place))
})

t.test('a digest that was pinned holds, until the owner says otherwise', async (t) => {
  const { library, add, server, file, blob, resolved } = await setUp(t)
  await add()
  const later = weights(file.bytes)
  server.files.set('/m.gguf', later)
  const changed = { ...resolved, files: [{ ...file, sha256: sha256(later) }] }
  await t.rejects(library.pinned(changed), { code: 'DIGEST_CHANGED', message: /is pinned/ })
  const { sha256: _, ...unknown } = file
  const pinned = await library.pinned({ ...resolved, files: [unknown] })
  t.equal(pinned.files[0]?.sha256, file.sha256, 'it stands for a source that says none')
  await t.rejects(library.pinned({ ...resolved, source: 'hf:a/b/c.gguf' }), { code: 'MODEL_NAME' })
  await t.rejects(add(changed), { code: 'DIGEST_CHANGED' })
  t.ok(await stat(blob))
  await add(changed, true)
  t.equal((await library.find('m'))?.files[0]?.sha256, sha256(later))
  await t.rejects(stat(blob), 'the one before is gone')
})

t.test('verify tells what is damaged, and what is missing', async (t) => {
  const { library, add, blob, data, file } = await setUp(t)
  await add()
  const seen: number[] = []
  const state = async () => {
    const onProgress = (done: number) => seen.push(done)
    return (await library.verify('m', { signal, onProgress }))[0]?.state
  }
  t.equal(await state(), 'right')
  t.equal(seen.at(-1), file.bytes)
  const flipped = Buffer.from(data)
  flipped.writeUInt8(flipped.readUInt8(4_000) ^ 1, 4_000)
  await writeFile(blob, flipped)
  t.equal(await state(), 'damaged')
  await rm(blob)
  t.equal(await state(), 'missing')
})

t.test('prune removes what no model names, and nothing that is being fetched', async (t) => {
  const { library, add, blob, models } = await setUp(t)
  await add()
  const key = `sha256-${'e'.repeat(64)}`
  const busy = `sha256-${'f'.repeat(64)}`
  await writeFile(join(models, 'blobs', key), Buffer.alloc(8_192))
  await writeFile(join(models, 'blobs', 'README'), 'not ours')
  for (const name of [key, busy]) {
    await writeFile(join(models, 'parts', `${name}.part`), 'x')
    await writeFile(join(models, 'parts', `${name}.journal`), 'x')
  }
  await using _held = await tryLock(join(models, 'parts', `${busy}.lock`))
  t.ok((await library.prune({ signal })) >= 8_192)
  t.strictSame((await readdir(join(models, 'blobs'))).sort(), ['README', blob.split('/').at(-1)])
  t.strictSame((await readdir(join(models, 'parts'))).sort(), [
    `${busy}.journal`,
    `${busy}.lock`,
    `${busy}.part`,
  ])
})

t.test('changes at the same time do not undo each other', async (t) => {
  const { models, resolved, file, data, add } = await setUp(t)
  await add()
  const { fileName, bytes } = file
  const files = [{ fileName, bytes, sha256: sha256(data) }]
  const each = (name: string) =>
    new Library({ clock: systemClock }, models).add({ ...resolved, name }, { files }, { signal })
  await Promise.all(['a', 'b', 'c', 'd'].map(each))
  const after = await new Library({ clock: systemClock }, models).list()
  t.strictSame([...after.keys()], ['a', 'b', 'c', 'd', 'm'])
})

t.test('a lock file that is not as it should be is not rewritten', async (t) => {
  const { library, add, models, file } = await setUp(t)
  await add()
  const path = join(models, 'models.lock.json')
  const good = JSON.parse(await readFile(path, 'utf8'))
  const { m } = good.models
  const rows: readonly [text: string, message: RegExp][] = [
    ['{', /is not JSON/],
    ['{"version":2,"models":{}}', /wrong at version/],
    [JSON.stringify({ ...good, more: 1 }), /more/],
    [JSON.stringify({ version: 1, models: { '../x': m } }), /models/],
    [JSON.stringify({ version: 1, models: { m: { ...m, files: [] } } }), /files/],
    [
      JSON.stringify({
        version: 1,
        models: { m: { ...m, files: [{ ...file, urls: undefined, fileName: '../../x' }] } },
      }),
      /fileName/,
    ],
  ]
  for (const [text, message] of rows) {
    await writeFile(path, text)
    await t.rejects(library.list(), { code: 'LIBRARY_BROKEN', message }, text.slice(0, 40))
    await t.rejects(library.remove('m', { signal }), { code: 'LIBRARY_BROKEN' })
    t.equal(await readFile(path, 'utf8'), text)
  }
})
