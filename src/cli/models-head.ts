/**
 * The shape of a model before anything of it is downloaded: the heads of its files, read by ranges over HTTP, or
 * from the disk where it lies here. Tests: test/cli/models-show.ts.
 */
import { ModelError } from '../models/errors.ts'
import { readGgufHeads } from '../models/gguf.ts'
import { type RangeReader, readRemoteHeads } from '../models/gguf-remote.ts'
import { drop, type Http, refusalOf, shownUrl } from '../models/http.ts'
import type { Resolved, ResolvedFile } from '../models/resolved.ts'
import { type ModelShape, shapeOf } from '../models/shape.ts'

/** @throws ModelError MODEL_LOAD, SOURCE_*; `signal.reason` */
export async function shapeAt(
  http: Http,
  resolved: Resolved,
  signal: AbortSignal,
): Promise<ModelShape> {
  const place = resolved.files[0]?.place
  if (place !== undefined) return await shapeOnDisk(place, signal)
  const heads = await readRemoteHeads((shard) => readerOf(http, resolved, shard), signal)
  return shapeOf(heads)
}

/** @param path of several files the first. @throws ModelError MODEL_LOAD; `signal.reason` */
export async function shapeOnDisk(path: string, signal: AbortSignal): Promise<ModelShape> {
  return shapeOf(await readGgufHeads(path, signal))
}

function readerOf(http: Http, resolved: Resolved, shard: number): RangeReader {
  const file = resolved.files[shard]
  if (file === undefined)
    throw new ModelError('SOURCE_ABSENT', `${resolved.name} has more parts than the source names`)
  return (from, length, signal) => firstOf(http, { resolved, file }, { from, length }, signal)
}

interface Range {
  readonly from: number
  readonly length: number
}

/** From the first address that gives it. */
async function firstOf(
  http: Http,
  { resolved, file }: { resolved: Resolved; file: ResolvedFile },
  range: Range,
  signal: AbortSignal,
): Promise<Uint8Array> {
  let failure: unknown
  for (const url of file.urls) {
    try {
      return await pieceOf(http, url, resolved, range, signal)
    } catch (error) {
      signal.throwIfAborted()
      failure ??= error
    }
  }
  throw failure ?? new ModelError('SOURCE_ABSENT', `nobody has ${file.fileName}`)
}

async function pieceOf(
  http: Http,
  url: string,
  { credential }: Resolved,
  { from, length }: Range,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const headers = { range: `bytes=${from}-${from + length - 1}` }
  const reply = await http.request(url, { headers, credential }, signal)
  // Nothing is left from there on.
  if (reply.status === 416) {
    drop(reply)
    return new Uint8Array()
  }
  if (reply.status !== 206 && reply.status !== 200) {
    drop(reply)
    throw refusalOf(reply, shownUrl(url))
  }
  // A server without ranges begins at the beginning.
  const skipped = reply.status === 206 ? 0 : from
  const pieces: Uint8Array[] = []
  let got = 0
  for await (const piece of http.pieces(reply, signal)) {
    pieces.push(piece)
    got += piece.length
    if (got >= skipped + length) break
  }
  return Buffer.concat(pieces).subarray(skipped, skipped + length)
}
