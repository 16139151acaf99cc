/**
 * The loopback port of a running daemon: health for a service manager, status and a brake for its owner.
 *
 * `/healthz` needs nothing; `/status`, `/pause` and `/resume` need the token that stands in the run file, which
 * only the owner can read. The Host header must name this machine, so that no web page can ask by way of a
 * browser. Tests: test/ops/admin.ts.
 */

import { readFile, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Client } from 'undici'
import { z } from 'zod'
import { equalConstantTime, hex, utf8 } from '../base/bytes.ts'
import { SupplierError } from '../base/errors.ts'
import { writeFileAtomic } from '../base/files.ts'
import type { Log } from '../base/log.ts'
import { type Ms, ms } from '../base/units.ts'
import { type Report, readReport } from './report.ts'

export const OPS_ERRORS = {
  NOT_RUNNING: 'No daemon runs on this data folder.',
  STATUS_UNREADABLE:
    'The daemon does not answer as expected: it hangs, or it is of another version. Its log says more.',
} as const

export class OpsError extends SupplierError<keyof typeof OPS_ERRORS> {}

export interface AdminDeps {
  /** Reasons why it cannot earn now; none: healthy. */
  readonly health: () => readonly string[]
  readonly report: (signal: AbortSignal) => Promise<Report>
  /** Holds the machine back for its owner. @param until a value of `clock.now()`; absent: until `resume` */
  readonly pause: (until: Ms | undefined, note: string | undefined) => Promise<void>
  readonly resume: () => Promise<void>
  readonly randomBytes: (length: number) => Uint8Array
  readonly log: Log
}

export interface AdminOptions {
  readonly host: string
  readonly port: number
  /** Where port and token are written for `status`. */
  readonly runFile: string
  readonly pid: number
}

const RunFileSchema = z.object({ pid: z.int(), url: z.url(), token: z.string().min(32) })
export type RunFile = z.output<typeof RunFileSchema>

export class Admin {
  readonly #deps: AdminDeps
  readonly #options: AdminOptions
  readonly #token: string
  readonly #server: Server

  constructor(deps: AdminDeps, options: AdminOptions) {
    this.#deps = deps
    this.#options = options
    this.#token = hex(deps.randomBytes(32))
    this.#server = createServer({ maxHeaderSize: 8 * 1024 }, (incoming, response) => {
      this.#answer(incoming, response).catch((err: unknown) => this.#fail(response, err))
    })
    this.#server.maxConnections = 64
  }

  /** @returns the base URL @throws the system's error, of a port in use for one */
  async listen(): Promise<string> {
    const { host, port, runFile, pid } = this.#options
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
    this.#server.on('error', (err) => this.#deps.log.warn({ err }, 'admin port in trouble'))
    const bound = (this.#server.address() as AddressInfo).port
    const url = `http://${host.includes(':') ? `[${host}]` : host}:${bound}`
    const run: RunFile = { pid, url, token: this.#token }
    await writeFileAtomic(runFile, `${JSON.stringify(run)}\n`, 0o600)
    return url
  }

  async stop(): Promise<void> {
    await rm(this.#options.runFile, { force: true })
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const refusal = this.#refusal(incoming)
    if (refusal === undefined && incoming.method === 'POST')
      return await this.#act(incoming, response)
    incoming.resume()
    if (refusal !== undefined) return send(response, refusal.status, { error: refusal.error })
    if (incoming.url === '/healthz') {
      const reasons = this.#deps.health()
      return send(response, reasons.length === 0 ? 200 : 503, { ok: reasons.length === 0, reasons })
    }
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    send(response, 200, await this.#deps.report(gone.signal))
  }

  #refusal({ url = '', method, headers }: IncomingMessage): Refusal | undefined {
    if (!isLocalHost(headers.host)) return { status: 403, error: 'ask by the name of this machine' }
    const right = METHODS.get(url)
    if (right === undefined)
      return { status: 404, error: `there is ${[...METHODS.keys()].join(', ')}` }
    if (method !== right) return { status: 405, error: `only ${right}` }
    if (url === '/healthz') return undefined
    const given = utf8(headers.authorization ?? '')
    if (equalConstantTime(given, utf8(`Bearer ${this.#token}`))) return undefined
    return { status: 401, error: 'the token of the run file is needed' }
  }

  /** Answers when it is done: the owner then has what he asked for. */
  async #act(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const wish = await readWish(incoming)
    if (wish === undefined) return send(response, 400, { error: 'until and note are not read' })
    const { until, note } = wish
    if (incoming.url === '/resume') await this.#deps.resume()
    else await this.#deps.pause(until === undefined ? undefined : ms(until), note)
    send(response, 200, { ok: true })
  }

  #fail(response: ServerResponse, err: unknown): void {
    if (response.destroyed) return
    this.#deps.log.warn({ err }, 'status not known')
    if (response.headersSent) response.destroy()
    else send(response, 500, { error: 'the report could not be made; see the log' })
  }
}

interface Refusal {
  readonly status: number
  readonly error: string
}

const METHODS: ReadonlyMap<string, string> = new Map([
  ['/healthz', 'GET'],
  ['/status', 'GET'],
  ['/pause', 'POST'],
  ['/resume', 'POST'],
])

const WishSchema = z.strictObject({
  until: z.number().min(0).optional(),
  note: z.string().max(200).optional(),
})
export type PauseWish = z.output<typeof WishSchema>
const WISH_BYTES_MAX = 4_096

async function readWish(incoming: IncomingMessage): Promise<PauseWish | undefined> {
  let text = ''
  // What is too long is read to its end and thrown away, so that the answer arrives.
  for await (const chunk of incoming) if (text.length <= WISH_BYTES_MAX) text += String(chunk)
  if (text.length > WISH_BYTES_MAX) return undefined
  try {
    return WishSchema.parse(text === '' ? {} : JSON.parse(text))
  } catch {
    return undefined
  }
}

/** Some thirty thousand open sessions. */
const REPORT_BYTES_MAX = 8 * 1024 * 1024

/**
 * Asks the daemon of a data folder for its report.
 * @throws OpsError NOT_RUNNING (nobody is there, or somebody else), STATUS_UNREADABLE; `signal.reason`
 */
export async function askDaemon(runFile: string, signal: AbortSignal): Promise<Report> {
  const { text, url, statusCode } = await callDaemon(
    runFile,
    { method: 'GET', path: '/status' },
    signal,
  )
  const report = statusCode === 200 ? readReport(parsed(text)) : undefined
  if (report !== undefined) return report
  throw new OpsError('STATUS_UNREADABLE', `the daemon at ${url} answers with ${statusCode}`)
}

/** Has the daemon pause or go on; resolves when it has done so. Throws as `askDaemon`. */
export async function tellDaemon(
  runFile: string,
  what: 'pause' | 'resume',
  wish: PauseWish,
  signal: AbortSignal,
): Promise<void> {
  const call = { method: 'POST', path: `/${what}`, body: JSON.stringify(wish) } as const
  const { url, statusCode } = await callDaemon(runFile, call, signal)
  if (statusCode !== 200)
    throw new OpsError('STATUS_UNREADABLE', `the daemon at ${url} answers with ${statusCode}`)
}

interface Call {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: string
}

async function callDaemon(
  runFile: string,
  { method, path, body: sent }: Call,
  signal: AbortSignal,
): Promise<{ url: string; statusCode: number; text: string }> {
  const { url, token } = await readRunFile(runFile)
  const client = new Client(url, { maxResponseSize: REPORT_BYTES_MAX })
  try {
    const headers = { authorization: `Bearer ${token}` }
    const asked = { method, path, headers, signal, ...(sent === undefined ? {} : { body: sent }) }
    const { statusCode, body } = await client.request(asked)
    const text = await body.text()
    if (FOREIGN.has(statusCode))
      throw new OpsError('NOT_RUNNING', `another program answers at ${url}`)
    return { url, statusCode, text }
  } catch (cause) {
    signal.throwIfAborted()
    if (cause instanceof OpsError) throw cause
    const refused = cause instanceof Error && 'code' in cause && cause.code === 'ECONNREFUSED'
    if (refused) throw new OpsError('NOT_RUNNING', `no daemon answers at ${url}`, { cause })
    throw new OpsError('STATUS_UNREADABLE', `the daemon at ${url} does not answer`, { cause })
  } finally {
    await client.destroy()
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** A daemon that was killed leaves its run file, and another program may have got its port. */
const FOREIGN = new Set([401, 403, 404, 405])

/** @throws OpsError NOT_RUNNING if it is not there or not whole */
export async function readRunFile(path: string): Promise<RunFile> {
  try {
    return RunFileSchema.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch (cause) {
    throw new OpsError('NOT_RUNNING', 'no daemon has left its address', { cause })
  }
}

function isLocalHost(header: string | undefined): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/.test(header ?? '')
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
  })
  response.end(text)
}
