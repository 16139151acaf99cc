/**
 * The sha256 of weights, read once and remembered while the files stay the same.
 *
 * A file is known again by path, size, time of change (nanoseconds) and inode; when one of these
 * differs, or on request, it is read anew. Of a model in several files (`-00001-of-00003.gguf`) every
 * file is hashed, and the digest of the whole is the sha256 over their 32-byte hashes in order. Files are
 * read one after the other, whoever asks: a disk is not faster for two. Tested by test/models/digest.ts.
 */
import { createHash } from 'node:crypto'
import { open, readFile, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { z } from 'zod'
import { abortable } from '../base/abort.ts'
import { concat, hex, sha256, unhex } from '../base/bytes.ts'
import { writeFileAtomic } from '../base/files.ts'
import { ModelError } from './errors.ts'

export interface WeightsDigest {
  /** In hex; of one file its own, of several the hash over their hashes. */
  readonly sha256: string
  readonly bytes: number
  readonly files: readonly FileDigest[]
}

export interface FileDigest {
  /** Absolute. */
  readonly path: string
  readonly sha256: string
  readonly bytes: number
  /** It was not read now. */
  readonly isCached: boolean
}

export interface DigestOptions {
  readonly signal: AbortSignal
  /** Bytes that are known by now, of all files; not called while nothing has to be read. */
  readonly onProgress?: (done: number, total: number) => void
  /** Reads the files even if they are known. */
  readonly again?: boolean
}

const CHUNK_BYTES = 1024 * 1024
/** Files that are remembered; the ones that were asked for longest ago are forgotten. */
const REMEMBERED_MAX = 256

const Remembered = z.strictObject({
  path: z.string(),
  size: z.string(),
  mtimeNs: z.string(),
  inode: z.string(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
})
const CacheFile = z.strictObject({ v: z.literal(1), files: z.array(Remembered) })

type Identity = Omit<z.infer<typeof Remembered>, 'sha256'>

export class Digests {
  readonly #cacheFile: string
  #last: Promise<void> = Promise.resolve()

  /** @param cacheFile JSON in the data folder; made when it is needed, ignored if it is not readable */
  constructor({ cacheFile }: { readonly cacheFile: string }) {
    this.#cacheFile = cacheFile
  }

  /**
   * @param path of the weights; of several files the first one
   * @throws ModelError MODEL_LOAD: a file is missing, or changed while it was read; `signal.reason`
   */
  async of(path: string, options: DigestOptions): Promise<WeightsDigest> {
    const { signal } = options
    signal.throwIfAborted()
    const work = this.#last.then(() => this.#read(shardsOf(resolve(path)), options))
    this.#last = work.then(
      () => {},
      () => {},
    )
    return await abortable(work, signal)
  }

  async #read(paths: readonly string[], options: DigestOptions): Promise<WeightsDigest> {
    options.signal.throwIfAborted()
    const identities = await Promise.all(paths.map(identityOf))
    const known = await this.#load()
    const total = identities.reduce((sum, { size }) => sum + Number(size), 0)
    const files: FileDigest[] = []
    let done = 0
    for (const identity of identities) {
      const found = options.again === true ? undefined : known.find((one) => isSame(one, identity))
      const bytes = Number(identity.size)
      const digest =
        found?.sha256 ??
        (await hashFile(identity, options.signal, (read) =>
          options.onProgress?.(done + read, total),
        ))
      files.push({
        path: identity.path,
        sha256: digest,
        bytes,
        isCached: found !== undefined,
      })
      done += bytes
    }
    const hashes = files.map((file, at) => ({ ...(identities[at] as Identity), ...pick(file) }))
    if (files.some(({ isCached }) => !isCached)) await this.#save([...hashes, ...known])
    return { sha256: overall(files), bytes: total, files }
  }

  async #load(): Promise<readonly z.infer<typeof Remembered>[]> {
    try {
      const text = await readFile(this.#cacheFile, 'utf8')
      return CacheFile.parse(JSON.parse(text)).files
    } catch {
      // Not there yet, or of another make: everything is read again.
      return []
    }
  }

  async #save(all: readonly z.infer<typeof Remembered>[]): Promise<void> {
    const byPath = new Map([...all].reverse().map((one) => [one.path, one]))
    const files = [...byPath.values()].reverse().slice(0, REMEMBERED_MAX)
    await writeFileAtomic(this.#cacheFile, `${JSON.stringify({ v: 1, files }, null, 2)}\n`)
  }
}

function pick({ sha256: digest }: FileDigest): { sha256: string } {
  return { sha256: digest }
}

function overall(files: readonly FileDigest[]): string {
  const [only, ...more] = files
  if (only !== undefined && more.length === 0) return only.sha256
  return hex(sha256(concat(...files.map((file) => unhex(file.sha256)))))
}

/** All files of a model whose first one is named, in order. */
export function shardsOf(path: string): string[] {
  const name = basename(path)
  const [, stem, number, count] = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/.exec(name) ?? []
  if (stem === undefined || number === undefined || count === undefined) return [path]
  if (Number(number) !== 1 || Number(count) < 1)
    throw new ModelError('MODEL_LOAD', `${name} is not the first file of its model`)
  return Array.from({ length: Number(count) }, (_, at) =>
    join(dirname(path), `${stem}-${String(at + 1).padStart(5, '0')}-of-${count}.gguf`),
  )
}

async function identityOf(path: string): Promise<Identity> {
  try {
    const { size, mtimeNs, ino } = await stat(path, { bigint: true })
    return { path, size: String(size), mtimeNs: String(mtimeNs), inode: String(ino) }
  } catch (error) {
    throw new ModelError('MODEL_LOAD', `cannot read ${path}`, { cause: error })
  }
}

function isSame(a: Identity, b: Identity): boolean {
  return a.path === b.path && a.size === b.size && a.mtimeNs === b.mtimeNs && a.inode === b.inode
}

/** @throws ModelError MODEL_LOAD: not readable, or (retryable) changed meanwhile */
async function hashFile(
  identity: Identity,
  signal: AbortSignal,
  onRead: (bytes: number) => void,
): Promise<string> {
  const { path } = identity
  const hash = createHash('sha256')
  let done = 0
  try {
    for await (const chunk of chunksOf(path)) {
      signal.throwIfAborted()
      hash.update(chunk)
      done += chunk.length
      onRead(done)
    }
    signal.throwIfAborted()
  } catch (cause) {
    signal.throwIfAborted()
    throw new ModelError('MODEL_LOAD', `cannot read ${path}`, { cause })
  }
  if (!isSame(identity, await identityOf(path)) || done !== Number(identity.size))
    throw new ModelError('MODEL_LOAD', `${path} was changed while it was read`, {
      retryable: true,
    })
  return hash.digest('hex')
}

/** One buffer for all of them: a chunk is gone with the next one. */
async function* chunksOf(path: string): AsyncGenerator<Uint8Array> {
  await using file = await open(path, 'r')
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
  for (;;) {
    const { bytesRead } = await file.read(chunk, 0, chunk.length)
    if (bytesRead === 0) return
    yield chunk.subarray(0, bytesRead)
  }
}
