/**
 * A real HTTP server that serves files with ranges, counts what it sends, and misbehaves as a test asks:
 * for each request `behave` says how. Also speaks as Hugging Face and as a registry of Ollama.
 */
import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { systemClock } from '../../src/base/clock.ts'
import { ms } from '../../src/base/units.ts'

export interface Seen {
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly range: string | undefined
  readonly authorization: string | undefined
  readonly ifRange: string | undefined
  readonly encoding: string | undefined
  /** How many came before it. */
  readonly index: number
}

export interface Behaviour {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** In place of the file. */
  readonly body?: string
  readonly data?: Buffer
  readonly etag?: string | undefined
  readonly noRanges?: boolean
  /** The byte of the file before which the connection ends, if this answer gets so far. */
  readonly cutAt?: number
  /** As `cutAt`: nothing comes from there on, and the connection stays. */
  readonly stallAt?: number
  readonly flipAt?: number
  /** Nothing of the body comes before this. */
  readonly hold?: Promise<void>
  readonly drip?: { readonly bytes: number; readonly every: number }
  /** More, or fewer, bytes than are announced by nobody: the answer is chunked. */
  readonly extra?: number
}

export type Route = (seen: Seen) => {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

export const sha256 = (data: Uint8Array | string) => createHash('sha256').update(data).digest('hex')

/** As many bytes as are asked for, that begin as weights do. */
export function weights(length: number): Buffer {
  const data = randomBytes(length)
  data.write('GGUF', 0)
  return data
}

export class HostileServer {
  readonly requests: Seen[] = []
  readonly files = new Map<string, Buffer>()
  readonly routes = new Map<string, Route>()
  behave: (seen: Seen) => Behaviour = () => ({})
  /** Bytes of files, of all answers. */
  sent = 0
  readonly #server: Server

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy())
    })
  }

  static async start(files: Readonly<Record<string, Buffer>> = {}): Promise<HostileServer> {
    const server = new HostileServer()
    for (const [path, data] of Object.entries(files)) server.files.set(path, data)
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve))
    return server
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent((request.url ?? '').split('?')[0] ?? '')
    const { headers, method = '' } = request
    const seen: Seen = {
      method,
      path,
      range: headers.range,
      authorization: headers.authorization,
      ifRange: headers['if-range'] as string | undefined,
      encoding: headers['accept-encoding'] as string | undefined,
      index: this.requests.length,
    }
    this.requests.push(seen)
    const route = this.routes.get(path)
    if (route !== undefined) {
      const { status = 200, headers = {}, body = '' } = route(seen)
      response.writeHead(status, headers)
      response.end(typeof body === 'string' ? body : JSON.stringify(body))
      return
    }
    const how = this.behave(seen)
    const data = how.data ?? this.files.get(path)
    if (how.status !== undefined || how.body !== undefined || data === undefined) {
      response.writeHead(how.status ?? (data === undefined ? 404 : 200), { ...how.headers })
      response.end(how.body ?? '')
      return
    }
    await this.#file(seen, how, data, response)
  }

  async #file(seen: Seen, how: Behaviour, data: Buffer, response: ServerResponse): Promise<void> {
    const etag = 'etag' in how ? how.etag : `"${sha256(data).slice(0, 16)}"`
    const isStale = seen.ifRange !== undefined && seen.ifRange !== etag
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(seen.range ?? '') ?? []
    const isRange = from !== undefined && how.noRanges !== true && !isStale
    const start = isRange ? Number(from) : 0
    const end = isRange && to ? Math.min(Number(to) + 1, data.length) : data.length
    const headers: Record<string, string> = {}
    if (etag !== undefined) headers['etag'] = etag
    if (isRange && start >= data.length) {
      response.writeHead(416, { 'content-range': `bytes */${data.length}` })
      response.end()
      return
    }
    if (isRange) headers['content-range'] = `bytes ${start}-${end - 1}/${data.length}`
    if (how.extra === undefined) headers['content-length'] = String(end - start)
    response.writeHead(isRange ? 206 : 200, { ...headers, ...how.headers })
    if (seen.method === 'HEAD') {
      response.end()
      return
    }
    await how.hold
    await this.#send(data, { start, end }, how, response)
  }

  async #send(
    data: Buffer,
    { start, end }: { start: number; end: number },
    { cutAt, stallAt, flipAt, drip, extra = 0 }: Behaviour,
    response: ServerResponse,
  ): Promise<void> {
    const stop = [cutAt, stallAt].find((at) => at !== undefined && at >= start && at < end)
    const until = stop ?? end + Math.min(extra, 0)
    const step = drip?.bytes ?? 64 * 1024
    for (let at = start; at < until && !response.destroyed; at += step) {
      const piece = Buffer.from(data.subarray(at, Math.min(at + step, until)))
      if (flipAt !== undefined && flipAt >= at && flipAt < at + piece.length)
        piece.writeUInt8(piece.readUInt8(flipAt - at) ^ 1, flipAt - at)
      await new Promise<void>((resolve) => {
        response.once('close', resolve)
        response.write(piece, () => {
          response.off('close', resolve)
          resolve()
        })
      })
      this.sent += piece.length
      if (drip !== undefined) await systemClock.sleep(ms(drip.every))
    }
    if (stop === undefined) {
      if (extra > 0) response.write(Buffer.alloc(extra))
      response.end()
    } else if (stop === cutAt) response.socket?.end()
  }
}

export interface Repository {
  /** `OWNER/REPO`. */
  readonly repo: string
  readonly files: Readonly<Record<string, Buffer>>
  readonly license?: string
  /** Wanted of whoever asks. */
  readonly token?: string
  /** Files of which the listing says no digest. */
  readonly unlisted?: readonly string[]
  readonly listed?: Readonly<Record<string, string>>
}

export const COMMIT = 'c'.repeat(40)

/** Makes `server` answer as the hub does, with files from `files`, another host. */
export function serveHub(
  server: HostileServer,
  files: HostileServer,
  { repo, files: all, license, token, unlisted = [], listed = {} }: Repository,
): void {
  const guarded =
    (route: Route): Route =>
    (seen) =>
      token !== undefined && seen.authorization !== `Bearer ${token}`
        ? { status: 401, body: { error: 'gated' } }
        : route(seen)
  const entries = Object.entries(all).map(([path, data]) => ({
    type: 'file',
    path,
    size: data.length,
    ...(unlisted.includes(path)
      ? {}
      : { lfs: { oid: listed[path] ?? sha256(data), size: data.length, pointerSize: 135 } }),
  }))
  const about = { sha: COMMIT, cardData: { license } }
  const api = `/api/models/${repo}`
  for (const revision of ['main', COMMIT])
    server.routes.set(
      `${api}/revision/${revision}`,
      guarded(() => ({ body: about })),
    )
  server.routes.set(
    `${api}/tree/${COMMIT}`,
    guarded(() => ({ body: [{ type: 'directory', path: 'x' }, ...entries] })),
  )
  for (const [path, data] of Object.entries(all)) {
    files.files.set(`/lfs/${sha256(data)}`, data)
    server.routes.set(
      `/${repo}/resolve/${COMMIT}/${path}`,
      guarded(() => ({
        status: 302,
        headers: {
          location: `${files.url}/lfs/${sha256(data)}?signature=secret`,
          'x-linked-etag': `"${sha256(data)}"`,
          'x-linked-size': String(data.length),
        },
      })),
    )
  }
}

const OLLAMA_TYPE = 'application/vnd.ollama.image.'

/** Makes `server` answer as a registry of Ollama. @param name `NAMESPACE/MODEL:TAG` */
export function serveOllama(
  server: HostileServer,
  name: string,
  data: Buffer,
  more: { license?: string; layers?: readonly object[] } = {},
): void {
  const [path = '', tag = ''] = name.split(':')
  const layer = (type: string, content: Buffer) => {
    server.files.set(`/v2/${path}/blobs/sha256:${sha256(content)}`, content)
    return {
      mediaType: `${OLLAMA_TYPE}${type}`,
      digest: `sha256:${sha256(content)}`,
      size: content.length,
    }
  }
  const layers = more.layers ?? [
    layer('model', data),
    ...(more.license === undefined ? [] : [layer('license', Buffer.from(more.license))]),
  ]
  server.routes.set(`/v2/${path}/manifests/${tag}`, () => ({ body: { schemaVersion: 2, layers } }))
}
