/**
 * A file on its way: `NAME.part` with the bytes where they belong, `NAME.journal` with what of them is
 * written. Whatever ends the process, the next one goes on from there.
 *
 * The sha256 is taken in order from what lies on the disk, while later bytes still come. Tested by
 * test/models/pull.ts.
 */
import { createHash, type Hash } from 'node:crypto'
import { type FileHandle, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import { syncDirectory } from '../base/files.ts'
import { Mutex } from '../base/queue.ts'
import { type Disk, writeError } from './disk.ts'
import { ModelError } from './errors.ts'
import {
  headerLine,
  type Journal,
  type JournalHeader,
  pieceLine,
  readJournal,
} from './pull-journal.ts'
import { type Range, Ranges } from './pull-ranges.ts'

export const MAGIC = 'GGUF'
const READ_BYTES = 1024 * 1024

export class Part {
  readonly path: string
  readonly #journalPath: string
  readonly #disk: Disk
  readonly #bytes: number
  readonly #ranges = new Ranges()
  readonly #hashing = new Mutex()
  #header: JournalHeader
  #hash: Hash = createHash('sha256')
  #hashed = 0
  #file: FileHandle
  #journal: FileHandle

  private constructor(
    disk: Disk,
    path: string,
    header: JournalHeader,
    { file, journal }: { readonly file: FileHandle; readonly journal: FileHandle },
  ) {
    this.#disk = disk
    this.path = `${path}.part`
    this.#journalPath = `${path}.journal`
    this.#header = header
    this.#bytes = header.bytes
    this.#file = file
    this.#journal = journal
  }

  /**
   * What is there already is read and kept where it is whole.
   * @param path without an ending
   * @param keeps whether what was found, by its header, is of the file that is wanted
   * @throws ModelError DISK_FULL (retryable), MODEL_LOAD; `signal.reason`
   */
  static async open(
    disk: Disk,
    path: string,
    header: JournalHeader,
    { keeps, signal }: { keeps: (header: JournalHeader) => boolean; signal: AbortSignal },
  ): Promise<Part> {
    const found = await readJournal(`${path}.journal`)
    const isSame = found !== undefined && found.header.bytes === header.bytes && keeps(found.header)
    try {
      const file = isSame ? await openThere(disk, `${path}.part`) : undefined
      if (isSame && file !== undefined) {
        const journal = await disk.open(`${path}.journal`, 'a')
        const part = new Part(disk, path, found.header, { file, journal })
        await part.#recover(found, signal)
        return part
      }
      const journal = await disk.open(`${path}.journal`, 'w+')
      const part = new Part(disk, path, header, {
        file: await disk.open(`${path}.part`, 'w+'),
        journal,
      })
      await journal.write(headerLine(header))
      return part
    } catch (error) {
      signal.throwIfAborted()
      throw writeError(`${path}.part`, error)
    }
  }

  get etag(): string | undefined {
    return this.#header.etag
  }

  get url(): string | undefined {
    return this.#header.url
  }

  /** Bytes that are there. */
  get done(): number {
    return this.#ranges.size
  }

  get isWhole(): boolean {
    return this.#ranges.prefix === this.#bytes
  }

  missing(chunk: number): Range[] {
    return this.#ranges.missing(this.#bytes, chunk)
  }

  /** Writes down what the source calls this state of the file. @throws ModelError DISK_FULL, MODEL_LOAD */
  async note(header: Omit<JournalHeader, 'bytes'>): Promise<void> {
    this.#header = { ...header, bytes: this.#bytes }
    try {
      await this.#journal.write(headerLine(this.#header))
    } catch (error) {
      throw writeError(this.path, error)
    }
  }

  /** Throws away what is there, for a file that the source calls by another tag. */
  async restart(header: Omit<JournalHeader, 'bytes'>): Promise<void> {
    await this.#hashing.run(async () => {
      this.#ranges.clear()
      this.#hash = createHash('sha256')
      this.#hashed = 0
      this.#header = { ...header, bytes: this.#bytes }
      try {
        await this.#journal.close()
        this.#journal = await this.#disk.open(this.#journalPath, 'w+')
        await this.#journal.write(headerLine(this.#header))
        await this.#file.truncate(0)
      } catch (error) {
        throw writeError(this.path, error)
      }
    })
  }

  /** Resolves when the bytes are written and written down. @throws ModelError DISK_FULL, MODEL_LOAD, DOWNLOAD_BROKEN */
  async write(start: number, bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return
    if (start === 0) checkMagic(bytes)
    try {
      for (let at = 0; at < bytes.length; ) {
        const { bytesWritten } = await this.#file.write(bytes, at, bytes.length - at, start + at)
        at += bytesWritten
      }
      const end = start + bytes.length
      await this.#journal.write(pieceLine({ start, end, crc32: crc32(bytes) }))
      this.#ranges.add({ start, end })
    } catch (error) {
      throw writeError(this.path, error)
    }
  }

  /** Takes what is there from the beginning on into the hash. @throws ModelError MODEL_LOAD; `signal.reason` */
  async hashOn(signal: AbortSignal): Promise<void> {
    await this.#hashing.run(async () => {
      const buffer = Buffer.allocUnsafe(READ_BYTES)
      while (this.#hashed < this.#ranges.prefix) {
        signal.throwIfAborted()
        const length = Math.min(buffer.length, this.#ranges.prefix - this.#hashed)
        const { bytesRead } = await this.#file.read(buffer, 0, length, this.#hashed)
        if (bytesRead === 0) throw new ModelError('MODEL_LOAD', `${this.path} was cut by somebody`)
        this.#hash.update(buffer.subarray(0, bytesRead))
        this.#hashed += bytesRead
      }
    })
  }

  /** Of the whole, in hex. @throws as `hashOn`; ModelError DOWNLOAD_BROKEN for what is no GGUF */
  async digest(signal: AbortSignal): Promise<string> {
    await this.hashOn(signal)
    const head = Buffer.alloc(MAGIC.length)
    const { bytesRead } = await this.#file.read(head, 0, head.length, 0)
    checkMagic(head.subarray(0, bytesRead), MAGIC.length)
    return this.#hash.copy().digest('hex')
  }

  /** Makes it the file of this name: synced, renamed, the folder synced. Closes it. */
  async become(path: string): Promise<void> {
    try {
      await this.#file.truncate(this.#bytes)
      await this.#file.sync()
      await this.close()
      await rename(this.path, path)
      await syncDirectory(dirname(path))
      await rm(this.#journalPath, { force: true })
    } catch (error) {
      throw writeError(path, error)
    }
  }

  /** Closes and removes it. */
  async discard(): Promise<void> {
    await this.close()
    await rm(this.#journalPath, { force: true })
    await rm(this.path, { force: true })
  }

  /** Idempotent. */
  async close(): Promise<void> {
    await this.#file.close()
    await this.#journal.close()
  }

  /** Reads the pieces in order; of two that overlap each is judged by itself. */
  async #recover({ pieces }: Journal, signal: AbortSignal): Promise<void> {
    // A line that was torn must not join with the next one.
    await this.#journal.write('\n')
    for (const piece of pieces.toSorted((a, b) => a.start - b.start)) {
      signal.throwIfAborted()
      const bytes = Buffer.allocUnsafe(Math.min(piece.end - piece.start, this.#bytes))
      const { bytesRead } = await this.#file.read(bytes, 0, bytes.length, piece.start)
      if (bytesRead !== bytes.length || crc32(bytes) !== piece.crc32) continue
      this.#ranges.add(piece)
      if (piece.start === this.#hashed) {
        this.#hash.update(bytes)
        this.#hashed = piece.end
      }
    }
  }
}

async function openThere(disk: Disk, path: string): Promise<FileHandle | undefined> {
  try {
    return await disk.open(path, 'r+')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

/** @param least bytes that must be there. @throws ModelError DOWNLOAD_BROKEN */
export function checkMagic(head: Uint8Array, least = 0): void {
  const text = Buffer.from(head.subarray(0, MAGIC.length)).toString('latin1')
  if (text.length >= least && MAGIC.startsWith(text)) return
  const isPage = /^\s*</.test(Buffer.from(head.subarray(0, 64)).toString('latin1'))
  throw new ModelError(
    'DOWNLOAD_BROKEN',
    isPage ? 'a web page came, and no file of weights' : 'what came does not begin with GGUF',
  )
}
