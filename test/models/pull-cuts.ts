import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { sha256 } from '../support/hostile-server.ts'
import { CHUNK, QUICK, type Scene, scene } from '../support/pulling.ts'

const PULLER = fileURLToPath(new URL('../support/puller.js', import.meta.url))

t.test('cut at any byte, in one go: the right file, at most a chunk twice', async (t) => {
  const { server, data, pull, models } = await scene(t)
  for (let n = 0; n < 60; n++) {
    const cutAt = n < 5 ? n : randomInt(data.length)
    let left = 1
    server.behave = ({ range }) => {
      const [, from, to] = /(\d+)-(\d+)/.exec(range ?? '') ?? []
      const isIn = Number(from) <= cutAt && cutAt <= Number(to)
      return isIn && left-- > 0 ? { cutAt } : {}
    }
    server.sent = 0
    const folder = join(models, String(n))
    await using _pulled = await pull({ models: folder })
    const blob = await readFile(join(folder, 'blobs', `sha256-${sha256(data)}`))
    t.ok(blob.equals(data), `cut at ${cutAt}`)
    t.ok(server.sent - data.length <= CHUNK, `cut at ${cutAt}: ${server.sent} of ${data.length}`)
  }
})

t.test('cut at any byte, and begun anew: the right file, at most a chunk twice', async (t) => {
  const { server, data, pull, models } = await scene(t)
  const retry = { ...QUICK.retry, attemptsMax: 1 }
  for (let n = 0; n < 60; n++) {
    const cutAt = randomInt(data.length)
    server.behave = () => ({ cutAt })
    server.sent = 0
    const folder = join(models, String(n))
    const cut = pull({ models: folder, options: { retry } })
    await t.rejects(cut, { code: 'SOURCE_UNREACHABLE', retryable: true }, `cut at ${cutAt}`)
    server.behave = () => ({})
    await using _pulled = await pull({ models: folder })
    const blob = await readFile(join(folder, 'blobs', `sha256-${sha256(data)}`))
    t.ok(blob.equals(data), `cut at ${cutAt}`)
    t.ok(server.sent - data.length <= CHUNK, `cut at ${cutAt}: ${server.sent} of ${data.length}`)
  }
})

function puller(t: Test, { models, file }: Scene, parallel = 4): ChildProcess & { said: string } {
  const asked = { ...file, models, url: file.urls[0], chunkBytes: 16 * CHUNK, parallel }
  const child = spawn('/usr/bin/env', [
    ...['-u', 'NODE_OPTIONS', process.execPath, PULLER],
    JSON.stringify(asked),
  ])
  const watched = Object.assign(child, { said: '' })
  child.stdout.on('data', (chunk: Buffer) => {
    watched.said += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => t.comment(chunk.toString()))
  t.teardown(() => child.kill('SIGKILL'))
  return watched
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 5))
}

t.test('a process that is killed loses at most a chunk', { timeout: 30_000 }, async (t) => {
  const all = await scene(t, { bytes: 100 * CHUNK })
  const { server, data, blob } = all
  // Slow enough that what was sent has arrived.
  server.behave = () => ({ drip: { bytes: 8_192, every: 2 } })
  for (const part of [0.3, 0.7]) {
    const child = puller(t, all)
    await until(() => server.sent > part * data.length)
    child.kill('SIGKILL')
    await once(child, 'close')
    t.notMatch(child.said, 'done')
  }
  server.behave = () => ({})
  const last = puller(t, all)
  await once(last, 'close')
  t.match(last.said, 'done')
  t.ok((await readFile(blob)).equals(data))
  const again = server.sent - data.length
  t.ok(again <= 2 * 16 * CHUNK, `${again} bytes were sent again after two kills`)
  t.comment(`${again} bytes again, a chunk has ${16 * CHUNK}`)
})

t.test('of two processes one fetches, and the other finds it there', async (t) => {
  const all = await scene(t, { bytes: 30 * CHUNK, idle: 10_000 })
  const { server, data, blob } = all
  const both = [puller(t, all), puller(t, all)]
  const hold = until(() => both.some(({ said }) => said.includes('waits')))
  server.behave = () => ({ hold })
  await Promise.all(both.map((child) => once(child, 'close')))
  for (const { said } of both) t.match(said, 'done')
  t.equal(server.sent, data.length)
  t.ok((await readFile(blob)).equals(data))
})

t.test('the second goes on when the first is killed', async (t) => {
  const all = await scene(t, { bytes: 60 * CHUNK })
  const { server, data, blob } = all
  server.behave = ({ index }) => (index < 4 ? { stallAt: 20 * CHUNK } : {})
  const first = puller(t, all)
  await until(() => server.sent > data.length / 3)
  const second = puller(t, all)
  await until(() => second.said.includes('waits'))
  first.kill('SIGKILL')
  await once(second, 'close')
  t.match(second.said, 'done')
  t.ok((await readFile(blob)).equals(data))
  t.ok(server.sent - data.length <= 16 * CHUNK, `${server.sent} of ${data.length}`)
})
