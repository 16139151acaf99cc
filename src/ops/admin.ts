/**
 * The loopback port of a running daemon: health for a service manager, status for its owner.
 *
 * `/healthz` needs nothing; `/status` needs the token that stands in the run file, which only the
 * owner can read. The Host header must name this machine, so that no web page can ask by way of a
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
    incoming.resume()
    if (!isLocalHost(incoming.headers.host))
      return send(response, 403, { error: 'ask by the name of this machine' })
    if (incoming.method !== 'GET') return send(response, 405, { error: 'only GET' })
    if (incoming.url === '/healthz') {
      const reasons = this.#deps.health()
      return send(response, reasons.length === 0 ? 200 : 503, { ok: reasons.length === 0, reasons })
    }
    if (incoming.url !== '/status')
      return send(response, 404, { error: 'there is /healthz and /status' })
    const given = utf8(incoming.headers.authorization ?? '')
    if (!equalConstantTime(given, utf8(`Bearer ${this.#token}`))) {
      return send(response, 401, { error: 'the token of the run file is needed' })
    }
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    send(response, 200, await this.#deps.report(gone.signal))
  }

  #fail(response: ServerResponse, err: unknown): void {
    if (response.destroyed) return
    this.#deps.log.warn({ err }, 'status not known')
    if (response.headersSent) response.destroy()
    else send(response, 500, { error: 'the report could not be made; see the log' })
  }
}

/** Some thirty thousand open sessions. */
const REPORT_BYTES_MAX = 8 * 1024 * 1024

/**
 * Asks the daemon of a data folder for its report.
 * @throws OpsError NOT_RUNNING (nobody is there, or somebody else), STATUS_UNREADABLE; `signal.reason`
 */
export async function askDaemon(runFile: string, signal: AbortSignal): Promise<Report> {
  const { url, token } = await readRunFile(runFile)
  const client = new Client(url, { maxResponseSize: REPORT_BYTES_MAX })
  try {
    const headers = { authorization: `Bearer ${token}` }
    const { statusCode, body } = await client.request({
      method: 'GET',
      path: '/status',
      headers,
      signal,
    })
    const text = await body.text()
    if (FOREIGN.has(statusCode))
      throw new OpsError('NOT_RUNNING', `another program answers at ${url}`)
    const report = statusCode === 200 ? readReport(JSON.parse(text)) : undefined
    if (report !== undefined) return report
    throw new OpsError('STATUS_UNREADABLE', `the daemon at ${url} answers with ${statusCode}`)
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
