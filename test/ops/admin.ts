import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { silentLog } from '../../src/base/log.ts'
import { Admin, type AdminDeps, askDaemon, readRunFile, tellDaemon } from '../../src/ops/admin.ts'
import { report } from '../support/report.ts'

const never = new AbortController().signal

async function open(t: Test, deps: Partial<AdminDeps> = {}, options: { port?: number } = {}) {
  const runFile = join(t.testdir(), 'run.json')
  let byte = 0
  const admin = new Admin(
    {
      health: () => [],
      report: async () => report(),
      pause: async () => {},
      resume: async () => {},
      randomBytes: (length) => new Uint8Array(length).map(() => byte++),
      log: silentLog(),
      ...deps,
    },
    { host: '127.0.0.1', port: 0, runFile, pid: 77, ...options },
  )
  t.teardown(() => admin.stop())
  const url = await admin.listen()
  return { admin, url, runFile, run: await readRunFile(runFile) }
}

async function get(url: string, headers: Record<string, string> = {}, method = 'GET') {
  const { statusCode, body } = await request(url, { method: method as 'GET', headers })
  return { status: statusCode, body: JSON.parse((await body.text()) || 'null') }
}

/** A server in the place of a daemon, with a run file that names it. */
async function standIn(t: Test, listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const runFile = join(t.testdir(), 'run.json')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await writeFile(runFile, JSON.stringify({ pid: 1, url, token: 'ab'.repeat(32) }))
  return runFile
}

t.test('who owns the run file gets the report', async (t) => {
  const { runFile, run, url } = await open(t)
  t.strictSame(await askDaemon(runFile, never), report())
  t.equal((await stat(runFile)).mode & 0o777, 0o600)
  t.match(run, { pid: 77, url, token: /^[0-9a-f]{64}$/ })
})

t.test('nobody else does', async (t) => {
  let asked = 0
  const { url, run } = await open(t, {
    report: async () => {
      asked++
      return report()
    },
  })
  for (const authorization of [
    '',
    'Bearer ',
    `Bearer ${'0'.repeat(64)}`,
    run.token,
    `Bearer ${run.token} `.repeat(2),
    `bearer ${run.token}`,
  ]) {
    const { status, body } = await get(`${url}/status`, authorization ? { authorization } : {})
    t.equal(status, 401, authorization)
    t.strictSame(Object.keys(body), ['error'], authorization)
  }
  t.equal(asked, 0)
})

t.test('health needs no token and has the status of its answer', async (t) => {
  const reasons: string[] = []
  const { url } = await open(t, { health: () => reasons })
  t.strictSame(await get(`${url}/healthz`), { status: 200, body: { ok: true, reasons: [] } })
  reasons.push('no block has been seen')
  t.strictSame(await get(`${url}/healthz`), {
    status: 503,
    body: { ok: false, reasons: ['no block has been seen'] },
  })
})

t.test('only this machine is answered, by its own name', async (t) => {
  const { url, run } = await open(t)
  const { port } = new URL(url)
  const authorization = `Bearer ${run.token}`
  const status = async (host: string) =>
    (await get(`${url}/status`, { host, authorization })).status
  for (const host of [
    `127.0.0.1:${port}`,
    'localhost',
    `localhost:${port}`,
    '[::1]:1',
    '127.1.2.3',
  ])
    t.equal(await status(host), 200, host)
  for (const host of [
    'evil.example',
    `evil.example:${port}`,
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'evil.example#127.0.0.1',
    '192.168.0.1',
  ])
    t.equal(await status(host), 403, host)
})

t.test('other methods and paths are refused', async (t) => {
  const { url, run } = await open(t)
  const authorization = `Bearer ${run.token}`
  t.equal((await get(`${url}/status`, { authorization }, 'POST')).status, 405)
  t.equal((await get(`${url}/healthz`, {}, 'DELETE')).status, 405)
  for (const path of ['/', '/status/', '/status?x', '/metrics', '//status'])
    t.equal((await get(url + path, { authorization })).status, 404, path)
})

t.test('a report that fails is an answer, and the next one works', async (t) => {
  let works = false
  const { runFile, url } = await open(t, {
    report: async () => {
      if (works) return report()
      throw new Error('the database is closed: secret detail')
    },
  })
  await t.rejects(askDaemon(runFile, never), { code: 'STATUS_UNREADABLE', message: /500/ })
  const { body } = await get(`${url}/status`, {
    authorization: `Bearer ${(await readRunFile(runFile)).token}`,
  })
  t.notMatch(JSON.stringify(body), 'secret detail')
  works = true
  t.equal((await askDaemon(runFile, never)).pid, 4242)
})

t.test('the report is given up when nobody waits for it any more', async (t) => {
  let gone: AbortSignal | undefined
  const { runFile } = await open(t, {
    report: (signal) => {
      gone = signal
      return new Promise((_, reject) => signal.addEventListener('abort', reject))
    },
  })
  const stop = new AbortController()
  const asking = askDaemon(runFile, stop.signal)
  while (gone === undefined) await new Promise((resolve) => setImmediate(resolve))
  stop.abort(new Error('not interested'))
  await t.rejects(asking, { message: 'not interested' })
  while (!gone.aborted) await new Promise((resolve) => setImmediate(resolve))
})

t.test('a port in use is said and leaves no run file', async (t) => {
  const { url, runFile: first } = await open(t)
  const runFile = `${first}.second`
  const second = new Admin(
    {
      health: () => [],
      report: async () => report(),
      pause: async () => {},
      resume: async () => {},
      randomBytes: (n) => new Uint8Array(n),
      log: silentLog(),
    },
    { host: '127.0.0.1', port: Number(new URL(url).port), runFile, pid: 78 },
  )
  await t.rejects(second.listen(), { code: 'EADDRINUSE' })
  await second.stop()
  await t.rejects(stat(runFile), { code: 'ENOENT' })
})

t.test('stopping removes the run file and cuts who still waits', async (t) => {
  const { admin, runFile, url } = await open(t)
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  await new Promise((resolve) => socket.once('connect', resolve))
  socket.write('GET /status HTTP/1.1\r\n')
  const cut = new Promise((resolve) => socket.once('close', resolve))
  socket.on('error', () => {})
  await admin.stop()
  await cut
  await t.rejects(readFile(runFile), { code: 'ENOENT' })
  await t.rejects(askDaemon(runFile, never), { code: 'NOT_RUNNING' })
  await admin.stop()
})

t.test('no run file, a torn one and a wrong one mean: not running', async (t) => {
  const folder = t.testdir()
  await mkdir(join(folder, 'is-a-folder'))
  const cases = {
    'torn.json': '{"pid":1,"url":"http://127.',
    'empty.json': '',
    'no-token.json': '{"pid":1,"url":"http://127.0.0.1:1"}',
    'no-url.json': `{"pid":1,"url":"nowhere","token":"${'a'.repeat(64)}"}`,
  }
  for (const [name, text] of Object.entries(cases)) await writeFile(join(folder, name), text)
  for (const name of ['none.json', 'is-a-folder', ...Object.keys(cases)])
    await t.rejects(askDaemon(join(folder, name), never), { code: 'NOT_RUNNING' }, name)
})

t.test('a daemon that was killed leaves a run file, and others may get its port', async (t) => {
  const runFile = join(t.testdir(), 'run.json')
  const url = 'http://127.0.0.1:1'
  await writeFile(runFile, JSON.stringify({ pid: 1, url, token: 'ab'.repeat(32) }))
  await t.rejects(askDaemon(runFile, never), { code: 'NOT_RUNNING', message: /no daemon answers/ })
  for (const status of [401, 403, 404, 405]) {
    const other = await standIn(t, (_, response) => response.writeHead(status).end('{}'))
    await t.rejects(
      askDaemon(other, never),
      { code: 'NOT_RUNNING', message: /another program/ },
      `status ${status}`,
    )
  }
  const { url: ours, runFile: theirs } = await open(t)
  const stale = `${theirs}.stale`
  await writeFile(stale, JSON.stringify({ pid: 1, url: ours, token: 'ab'.repeat(32) }))
  await t.rejects(askDaemon(stale, never), { code: 'NOT_RUNNING' }, 'a daemon of another folder')
})

t.test('answers that are none are told from no daemon', async (t) => {
  const listeners: Record<string, RequestListener> = {
    'not JSON': (_, response) => response.end('<html>'),
    'not a report': (_, response) => response.end('{"version":"9"}'),
    'cut off': (_, response) => {
      response.writeHead(200, { 'content-length': '100' })
      response.write('{', () => response.destroy())
    },
    'hung up': (incoming) => incoming.destroy(),
    'a failure': (_, response) => response.writeHead(500).end('{}'),
    'a redirect': (_, response) => response.writeHead(302, { location: '/' }).end(),
    'without end': (_, response) => {
      const chunk = Buffer.alloc(1 << 20, 0x20)
      const more = () => response.write(chunk, (error) => error ?? setImmediate(more))
      more()
    },
  }
  for (const [name, listener] of Object.entries(listeners)) {
    const runFile = await standIn(t, listener)
    await t.rejects(askDaemon(runFile, never), { code: 'STATUS_UNREADABLE' }, name)
  }
})

t.test('the owner holds the machine back and lets it go', async (t) => {
  const done: unknown[] = []
  const { runFile, url, run } = await open(t, {
    pause: async (until, note) => void done.push([until, note]),
    resume: async () => void done.push('resume'),
  })
  await tellDaemon(runFile, 'pause', { until: 1_800_000_000_000, note: 'a game' }, never)
  await tellDaemon(runFile, 'pause', {}, never)
  await tellDaemon(runFile, 'resume', {}, never)
  t.strictSame(done, [[1_800_000_000_000, 'a game'], [undefined, undefined], 'resume'])
  const authorization = `Bearer ${run.token}`
  const post = async (path: string, body: string, headers: Record<string, string>) => {
    const answer = await request(url + path, { method: 'POST', headers, body })
    await answer.body.text()
    return answer.statusCode
  }
  t.equal(await post('/pause', '{}', {}), 401, 'not without the token')
  t.equal(await post('/pause', '{"until":"later"}', { authorization }), 400)
  t.equal(await post('/pause', `{"note":"${'x'.repeat(9_000)}"}`, { authorization }), 400)
  t.equal(await post('/pause', 'no json', { authorization }), 400)
  t.equal((await get(`${url}/pause`, { authorization })).status, 405)
  t.equal((await get(`${url}/status`, { authorization }, 'POST')).status, 405)
  t.equal(done.length, 3)
})
