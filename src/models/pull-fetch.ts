/**
 * One range of a file, asked of one address and held against what was asked: nothing that the source
 * might have meant otherwise is written.
 *
 * RFC 9110 13.1.5 (`If-Range`), 14.2 (`Range`), 15.3.7 (206), 15.5.17 (416). Tested by
 * test/models/pull-hostile.ts.
 */
import { ModelError, passing } from './errors.ts'
import { type Credential, drop, type Http, type Reply, refusalOf, shownUrl } from './http.ts'
import type { Pace } from './pull-pace.ts'
import type { Part } from './pull-part.ts'
import type { Range } from './pull-ranges.ts'

export interface Origin {
  readonly url: string
  readonly credential?: Credential | undefined
  /** Of the whole file. */
  readonly bytes: number
}

/** The source has another file than a moment ago. */
export class Changed {
  readonly etag: string | undefined

  constructor(etag: string | undefined) {
    this.etag = etag
  }
}

export type Answer =
  | { readonly kind: 'range' | 'whole'; readonly reply: Reply; readonly etag: string | undefined }
  | Changed

/**
 * Asks for a range. `whole`: the source knows no ranges, and the body begins with the first byte.
 * @param etag of the state that is wanted, if it is known
 * @throws ModelError SOURCE_*, DOWNLOAD_BROKEN; `signal.reason`
 */
export async function ask(
  http: Http,
  origin: Origin,
  { start, end }: Range,
  etag: string | undefined,
  signal: AbortSignal,
): Promise<Answer> {
  const { url, credential, bytes } = origin
  const headers: Record<string, string> = { range: `bytes=${start}-${end - 1}` }
  // A weak tag does not promise the same bytes, and may not be sent here.
  if (etag !== undefined && !etag.startsWith('W/')) headers['if-range'] = etag
  const reply = await http.request(url, { headers, credential }, signal)
  try {
    const found = reply.headers.get('etag')
    if (reply.status === 416) throw unsatisfied(reply, bytes)
    if (reply.status !== 206 && reply.status !== 200) throw refusalOf(reply, shownUrl(url))
    checkEncoding(reply)
    if (etag !== undefined && found !== undefined && found !== etag) {
      drop(reply)
      return new Changed(found)
    }
    if (reply.status === 200) {
      checkLength(reply, bytes)
      return { kind: 'whole', reply, etag: found }
    }
    checkRange(reply, { start, end }, bytes)
    checkLength(reply, end - start)
    return { kind: 'range', reply, etag: found }
  } catch (error) {
    drop(reply)
    throw error
  }
}

export interface Sink {
  readonly http: Http
  readonly part: Part
  readonly pace: Pace
  /** Bytes that are written, and written down, at once. */
  readonly step: number
  readonly onBytes: (length: number) => void
}

/**
 * Writes a body into the part. What came before it breaks off is kept.
 * @param onWritten told where the next byte belongs
 * @throws ModelError SOURCE_UNREACHABLE (retryable), DOWNLOAD_BROKEN, DISK_FULL; `signal.reason`
 */
export async function receive(
  { http, part, pace, step, onBytes }: Sink,
  reply: Reply,
  { start, end }: Range,
  onWritten: (next: number) => void,
  signal: AbortSignal,
): Promise<void> {
  let [at, held]: [number, Uint8Array[]] = [start, []]
  let waiting = 0
  const flush = async () => {
    if (waiting === 0) return
    const bytes = Buffer.concat(held)
    held = []
    waiting = 0
    await part.write(at, bytes)
    at += bytes.length
    onWritten(at)
  }
  try {
    for await (const piece of http.pieces(reply, signal)) {
      if (at + waiting + piece.length > end)
        throw passing('DOWNLOAD_BROKEN', `${shownUrl(reply.url)} sends more than it was asked for`)
      held.push(piece)
      waiting += piece.length
      onBytes(piece.length)
      if (waiting >= step) await flush()
      await pace.take(piece.length, signal)
    }
  } catch (error) {
    // A disk that is full stays full; what came too late is not needed.
    if (!(error instanceof ModelError && error.code === 'DISK_FULL')) await flush()
    throw error
  }
  await flush()
  if (at < end)
    throw passing('SOURCE_UNREACHABLE', `${shownUrl(reply.url)} breaks off at byte ${at}`)
}

function checkEncoding(reply: Reply): void {
  const encoding = reply.headers.get('content-encoding')
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity')
    throw broken(`${shownUrl(reply.url)} sends it as ${encoding.slice(0, 20)}, which was not asked`)
}

function checkLength(reply: Reply, expected: number): void {
  const told = reply.headers.get('content-length')
  if (told === undefined || Number(told) === expected) return
  const type = reply.headers.get('content-type') ?? ''
  if (/^text\/html/i.test(type)) throw broken(`${shownUrl(reply.url)} sends a web page`)
  throw broken(`${shownUrl(reply.url)} sends ${told.slice(0, 20)} bytes and not ${expected}`)
}

function checkRange(reply: Reply, { start, end }: Range, bytes: number): void {
  const told = reply.headers.get('content-range') ?? 'none'
  const [, from, to, total] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/i.exec(told.trim()) ?? []
  if (total !== undefined && total !== '*' && Number(total) !== bytes)
    throw broken(`${shownUrl(reply.url)} has ${total} bytes and not ${bytes}`)
  if (Number(from) !== start || Number(to) !== end - 1)
    throw passing(
      'DOWNLOAD_BROKEN',
      `${shownUrl(reply.url)} sends another range (${told.slice(0, 60)}) than ${start}-${end - 1}`,
    )
}

function unsatisfied(reply: Reply, bytes: number): ModelError {
  const total = /^bytes \*\/(\d+)$/i.exec(reply.headers.get('content-range') ?? '')?.[1]
  return total === undefined || Number(total) === bytes
    ? passing('SOURCE_UNREACHABLE', `${shownUrl(reply.url)} says that it has no such bytes`)
    : broken(`${shownUrl(reply.url)} has ${total} bytes and not ${bytes}`)
}

function broken(message: string): ModelError {
  return new ModelError('DOWNLOAD_BROKEN', message)
}
