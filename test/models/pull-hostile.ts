import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { nextAddress } from '../../src/models/http.ts'
import { type Behaviour, type Seen, sha256, weights } from '../support/hostile-server.ts'
import { CHUNK, scene, startServer } from '../support/pulling.ts'

/** The first request behaves badly, all others well. */
const once =
  (how: Behaviour) =>
  ({ index }: Seen) =>
    index === 0 ? how : {}
const always = (how: Behaviour) => () => how

t.test('what passes is tried again, and the right file comes', async (t) => {
  const rows: Readonly<Record<string, (seen: Seen) => Behaviour>> = {
    'a 503': once({ status: 503 }),
    'a 500 in the middle': ({ index }) => (index === 3 ? { status: 500 } : {}),
    'a 429 that says when': once({ status: 429, headers: { 'retry-after': '0' } }),
    'a 416 for bytes that there are': once({ status: 416 }),
    'a cut': once({ cutAt: 5 }),
    'a cut before the first byte': once({ cutAt: 0 }),
    'another range than was asked for': once({
      headers: { 'content-range': `bytes 1-${CHUNK}/${8 * CHUNK + 77}` },
    }),
    'no Content-Range': once({ headers: { 'content-range': 'x' } }),
    'more than was asked for': once({ extra: 9 }),
    'less than was asked for': once({ extra: -9 }),
    'the whole once where a range was asked': ({ index }) =>
      index === 3 ? { noRanges: true } : {},
    drips: ({ index }) => (index === 0 ? { drip: { bytes: 4_096, every: 1 } } : {}),
    'no ranges at all': always({ noRanges: true }),
    'no ranges, and a cut': ({ index }) => ({
      noRanges: true,
      ...(index === 0 ? { cutAt: 99 } : {}),
    }),
    'no tags': always({ etag: undefined }),
    'weak tags': always({ etag: 'W/"x"' }),
    'a tag for each server': ({ index }) => ({ etag: `"${index}"` }),
    'a redirect': ({ path }) =>
      path === '/m.gguf' ? { status: 302, headers: { location: '/other.gguf' } } : {},
  }
  for (const [name, behave] of Object.entries(rows)) {
    await t.test(name, async (t) => {
      const { server, data, pull, blob } = await scene(t)
      server.files.set('/other.gguf', data)
      server.behave = behave
      await using pulled = await pull()
      t.equal(pulled.files[0]?.sha256, sha256(data))
      t.ok((await readFile(blob)).equals(data))
      t.ok(server.requests.every(({ encoding }) => encoding === 'identity'))
    })
  }
})

t.test('what is wrong is refused, and nothing is there under its name', async (t) => {
  const bytes = 8 * CHUNK + 77
  const page = '<!doctype html><title>Log in</title>'
  const rows: Readonly<Record<string, [Behaviour, code: string, message: RegExp, tries?: number]>> =
    {
      'a byte that is another': [{ flipAt: 5 * CHUNK + 3 }, 'DOWNLOAD_BROKEN', /has the sha256/],
      'the last byte': [{ flipAt: bytes - 1 }, 'DOWNLOAD_BROKEN', /has the sha256/],
      'no GGUF': [{ flipAt: 0 }, 'DOWNLOAD_BROKEN', /does not begin with GGUF/],
      'a web page': [
        { body: page, headers: { 'content-type': 'text/html', 'content-length': '36' } },
        'DOWNLOAD_BROKEN',
        /web page/,
        1,
      ],
      'a web page without a length': [{ body: page }, 'DOWNLOAD_BROKEN', /web page/, 1],
      'a longer file': [
        { data: weights(bytes + 1) },
        'DOWNLOAD_BROKEN',
        /has \d+ bytes and not/,
        1,
      ],
      'a shorter file': [
        { data: weights(bytes - 1) },
        'DOWNLOAD_BROKEN',
        /has \d+ bytes and not/,
        1,
      ],
      gzip: [{ headers: { 'content-encoding': 'gzip' } }, 'DOWNLOAD_BROKEN', /as gzip/, 1],
      '401': [{ status: 401 }, 'SOURCE_REFUSED', /401/, 1],
      '403': [{ status: 403 }, 'SOURCE_REFUSED', /403/, 1],
      '404': [{ status: 404 }, 'SOURCE_ABSENT', /404/, 1],
      '410': [{ status: 410 }, 'SOURCE_ABSENT', /410/, 1],
      '418': [{ status: 418 }, 'SOURCE_UNSAFE', /418/, 1],
      '416 with another length': [
        { status: 416, headers: { 'content-range': 'bytes */12' } },
        'DOWNLOAD_BROKEN',
        /has 12 bytes/,
        1,
      ],
      '500 for ever': [{ status: 500 }, 'SOURCE_UNREACHABLE', /500/, 4],
      '429 for a day': [
        { status: 429, headers: { 'retry-after': '86400' } },
        'SOURCE_UNREACHABLE',
        /429/,
        1,
      ],
      'a redirect to itself': [
        { status: 302, headers: { location: '/m.gguf' } },
        'SOURCE_UNSAFE',
        /on and on/,
        6,
      ],
      'a redirect to nowhere': [{ status: 302 }, 'SOURCE_UNSAFE', /to nowhere/, 1],
      'a redirect to a file': [
        { status: 302, headers: { location: 'file:///etc/passwd' } },
        'SOURCE_UNSAFE',
        /only http/,
        1,
      ],
      'too much each time': [{ extra: 1 }, 'DOWNLOAD_BROKEN', /more than/],
    }
  for (const [name, [how, code, message, tries]] of Object.entries(rows)) {
    await t.test(name, async (t) => {
      const { server, pull, models } = await scene(t)
      server.behave = always(how)
      await t.rejects(pull(), { code, message })
      t.strictSame(await readdir(join(models, 'blobs')), [])
      const left = await readdir(join(models, 'parts'))
      t.notOk(left.some((file) => file.endsWith('.lock')))
      if (tries !== undefined) t.equal(server.requests.length, tries)
    })
  }
})

t.test('a source that falls silent is left in time, and asked again', async (t) => {
  const { server, data, pull, blob } = await scene(t, { idle: 150 })
  server.behave = once({ stallAt: 10_000 })
  await using _pulled = await pull()
  t.ok((await readFile(blob)).equals(data))
})

t.test('Retry-After is waited for', async (t) => {
  const { server, pull } = await scene(t)
  server.behave = once({ status: 503, headers: { 'retry-after': '1' } })
  const start = performance.now()
  await using _pulled = await pull()
  t.ok(performance.now() - start >= 950)
})

t.test('a file that changes is fetched from the beginning, and that is said', async (t) => {
  const { server, file, pull, notices, models } = await scene(t)
  const later = weights(file.bytes)
  server.behave = ({ index }) => (index < 3 ? {} : { data: later })
  const { sha256: _, ...unknown } = file
  await using pulled = await pull({ files: [unknown], options: { unverified: true, parallel: 1 } })
  t.equal(pulled.files[0]?.sha256, sha256(later))
  t.match(notices, [/has changed .*starting over/])
  t.ok((await readFile(join(models, 'blobs', `sha256-${sha256(later)}`))).equals(later))
})

t.test('one that changes all the time is given up', async (t) => {
  const { server, file, pull } = await scene(t)
  server.behave = () => ({ data: weights(file.bytes) })
  const { sha256: _, ...unknown } = file
  const pulling = pull({ files: [unknown], options: { unverified: true } })
  await t.rejects(pulling, { code: 'DOWNLOAD_BROKEN', retryable: true, message: /again and again/ })
})

t.test('of several addresses the next one is tried', async (t) => {
  const { server, file, data, pull, blob, notices } = await scene(t)
  const good = await startServer(t, { '/m.gguf': data })
  const flipping = await startServer(t, { '/m.gguf': data })
  flipping.behave = always({ flipAt: 100 })
  server.behave = always({ status: 404 })
  const urls = [...file.urls, `${flipping.url}/m.gguf`, `${good.url}/m.gguf`]
  await using _pulled = await pull({ files: [{ ...file, urls }] })
  t.ok((await readFile(blob)).equals(data))
  t.match(notices, [/SOURCE_ABSENT/, /DOWNLOAD_BROKEN/])
})

t.test('a token goes to its own host only', async (t) => {
  const { server, file, data, http } = await scene(t)
  const other = await startServer(t, { '/elsewhere.gguf': data })
  server.behave = always({ status: 302, headers: { location: `${other.url}/elsewhere.gguf` } })
  const credential = { token: 'hf_secret', origin: server.url }
  const { signal } = new AbortController()
  const reply = await http.request(file.urls[0] ?? '', { credential }, signal)
  reply.body.destroy()
  t.equal(server.requests[0]?.authorization, 'Bearer hf_secret')
  t.equal(other.requests[0]?.authorization, undefined)
})

t.test('a redirect leads nowhere but to where is at least as safe', (t) => {
  const from = new URL('https://a.org/x/m.gguf?signature=secret')
  t.equal(nextAddress(from, '../y.gguf').href, 'https://a.org/y.gguf')
  t.equal(nextAddress(from, '//b.org/y.gguf').href, 'https://b.org/y.gguf')
  t.equal(nextAddress(from, 'https://u:p@b.org/').href, 'https://b.org/', 'nobody is named')
  for (const to of [undefined, 'http://a.org/', 'file:///etc/passwd', 'data:,x', 'https://'])
    t.throws(() => nextAddress(from, to), { code: 'SOURCE_UNSAFE' }, String(to))
  try {
    nextAddress(from, 'http://a.org/')
  } catch (error) {
    t.notMatch(String(error), 'secret')
  }
  t.end()
})

t.test('an abort ends it at once, and what came is kept', async (t) => {
  const { server, data, pull, blob } = await scene(t)
  server.behave = always({ drip: { bytes: 4_096, every: 5 } })
  const stop = new AbortController()
  const reason = new Error('enough')
  const pulling = pull({ options: { parallel: 2 }, signal: stop.signal })
  const timer = setTimeout(() => stop.abort(reason), 100)
  await t.rejects(pulling, reason)
  clearTimeout(timer)
  const before = server.sent
  server.behave = () => ({})
  await using _pulled = await pull()
  t.ok((await readFile(blob)).equals(data))
  t.ok(before > 0 && server.sent - data.length <= CHUNK, `${server.sent} of ${data.length}`)
})
