/**
 * Weights that lie at an address, behind gateways of IPFS, or on this machine: nobody lists them, so the
 * files themselves are looked at.
 *
 * The first bytes are asked for, which tells length and tag, and whether it is a GGUF at all, on servers
 * that refuse HEAD too. Gateways are not trusted with the content: the sha256 is. Tested by
 * test/models/source-resolve.ts.
 */
import { stat } from 'node:fs/promises'
import { isAbsolute, resolve } from 'node:path'
import { ModelError } from './errors.ts'
import { drop, type Http, type Reply, refusalOf, shownUrl } from './http.ts'
import { checkMagic, MAGIC } from './pull-part.ts'
import type { Resolved, ResolvedFile } from './resolved.ts'
import { isSafeName, safeFileName, shardOf, shardPaths, shown } from './source-names.ts'

/** Public ones that answer for anything, tried in turn. */
export const IPFS_GATEWAYS = [
  'https://ipfs.io',
  'https://dweb.link',
  'https://trustless-gateway.link',
]

/** @throws ModelError SOURCE_*, DOWNLOAD_BROKEN; `signal.reason` */
export async function resolveUrl(
  http: Http,
  url: string,
  sha256: string | undefined,
  signal: AbortSignal,
): Promise<Omit<Resolved, 'name'>> {
  const { pathname } = new URL(url)
  const paths = shardPaths(decoded(pathname))
  requireOne(paths, sha256)
  const files: ResolvedFile[] = []
  for (const path of paths) {
    const one = new URL(url)
    if (paths.length > 1) one.pathname = path
    const fileName = safeFileName(path)
    const { bytes } = await look(http, one.href, signal)
    files.push({
      fileName,
      bytes,
      urls: [one.href],
      ...(sha256 === undefined ? {} : { sha256 }),
    })
  }
  return { source: url, files }
}

/** @param gateways asked in turn, until one has it */
export async function resolveIpfs(
  http: Http,
  gateways: readonly string[],
  { cid, path, sha256 }: { cid: string; path?: string; sha256?: string },
  signal: AbortSignal,
): Promise<Omit<Resolved, 'name'>> {
  const source = `ipfs:${cid}${path === undefined ? '' : `/${path}`}`
  const paths = path === undefined ? [undefined] : shardPaths(path)
  requireOne(paths, sha256)
  const files: ResolvedFile[] = []
  for (const one of paths) {
    const rest = one === undefined ? '' : `/${one.split('/').map(encodeURIComponent).join('/')}`
    const urls = gateways.map((gateway) => `${gateway.replace(/\/+$/, '')}/ipfs/${cid}${rest}`)
    const bytes = await firstThatHas(http, urls, source, signal)
    files.push({
      fileName: safeFileName(one ?? `${cid}.gguf`),
      bytes,
      urls,
      ...(sha256 === undefined ? {} : { sha256 }),
    })
  }
  return { source, files }
}

/** @param folder what a relative path is relative to */
export async function resolveFile(
  path: string,
  folder: string,
  sha256: string | undefined,
): Promise<Omit<Resolved, 'name'>> {
  const first = isAbsolute(path) ? resolve(path) : resolve(folder, path)
  const shard = shardOf(first)
  if (shard !== undefined && shard.number !== 1)
    throw new ModelError('SOURCE_NAME', `${shown(path)} is not the first file of its model`)
  const places = shardPaths(first)
  requireOne(places, sha256)
  const files: ResolvedFile[] = []
  for (const place of places) {
    const found = await stat(place).catch((cause: unknown) => {
      throw new ModelError('SOURCE_ABSENT', `there is no file ${place}`, { cause })
    })
    if (!found.isFile()) throw new ModelError('SOURCE_ABSENT', `${place} is no file`)
    const bytes = found.size
    const fileName = safeFileName(place.replaceAll('\\', '/'))
    files.push({ fileName, bytes, urls: [], place, ...(sha256 === undefined ? {} : { sha256 }) })
  }
  return { source: first, files }
}

async function firstThatHas(
  http: Http,
  urls: readonly string[],
  source: string,
  signal: AbortSignal,
): Promise<number> {
  let failure: unknown
  for (const url of urls) {
    try {
      return (await look(http, url, signal)).bytes
    } catch (error) {
      signal.throwIfAborted()
      failure = error
    }
  }
  if (failure instanceof ModelError && urls.length === 1) throw failure
  throw new ModelError('SOURCE_ABSENT', `no gateway has ${source}`, {
    cause: failure,
    retryable: true,
  })
}

async function look(http: Http, url: string, signal: AbortSignal): Promise<{ bytes: number }> {
  const headers = { range: `bytes=0-${MAGIC.length - 1}` }
  const reply = await http.request(url, { headers }, signal)
  try {
    if (reply.status !== 200 && reply.status !== 206) throw refusalOf(reply, shownUrl(url))
    checkMagic(await headOf(http, reply, signal), MAGIC.length)
    return { bytes: lengthOf(reply, url) }
  } finally {
    drop(reply)
  }
}

async function headOf(http: Http, reply: Reply, signal: AbortSignal): Promise<Uint8Array> {
  const head: Uint8Array[] = []
  let length = 0
  for await (const piece of http.pieces(reply, signal)) {
    head.push(piece)
    length += piece.length
    if (length >= MAGIC.length) break
  }
  return Buffer.concat(head)
}

function lengthOf({ status, headers }: Reply, url: string): number {
  const told =
    status === 206
      ? /^bytes \d+-\d+\/(\d+)$/i.exec(headers.get('content-range') ?? '')?.[1]
      : headers.get('content-length')
  const bytes = Number(told)
  if (told !== undefined && Number.isSafeInteger(bytes) && bytes >= MAGIC.length) return bytes
  throw new ModelError('SOURCE_UNSAFE', `${shownUrl(url)} does not say how long the file is`)
}

/** One digest cannot speak for several files. */
function requireOne(paths: readonly unknown[], sha256: string | undefined): void {
  if (paths.length > 1 && sha256 !== undefined)
    throw new ModelError(
      'SOURCE_NAME',
      `this model has ${paths.length} files, and one digest was given`,
    )
}

function decoded(pathname: string): string {
  try {
    const path = decodeURIComponent(pathname)
    const name = path.slice(path.lastIndexOf('/') + 1)
    // A slash that was hidden is none.
    if (pathname.split('/').length === path.split('/').length && isSafeName(name)) return path
  } catch {
    // What is not UTF-8 is no name either.
  }
  throw new ModelError('SOURCE_UNSAFE', `${shown(pathname)} does not end in the name of a file`)
}
