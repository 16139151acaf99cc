/**
 * Weights onto this disk, right or refused: the room first, one process for each file, fetched, held
 * against the digest, synced, and only then there under its name.
 *
 * `models/parts/KEY.{part,journal,lock}` are files on their way, `models/blobs/sha256-HEX` those that are
 * here. What was pulled stays locked until it is disposed of, so that nobody clears it away before the
 * library names it. Tested by test/models/pull.ts.
 */
import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { hex, sha256 as sha256Of, utf8 } from '../base/bytes.ts'
import { isAbort } from '../base/errors.ts'
import { ms } from '../base/units.ts'
import type { Digests } from './digest.ts'
import { requireFree } from './disk.ts'
import { ModelError } from './errors.ts'
import { shownUrl } from './http.ts'
import { type FileLock, lock } from './lock.ts'
import { checkFile, requireDigests } from './pull-checks.ts'
import { FileFetch } from './pull-file.ts'
import { PULL_DEFAULTS, type PullDeps, type PullOptions } from './pull-options.ts'
import { Pace, Speed } from './pull-pace.ts'
import { Part } from './pull-part.ts'
import { bytesOf, type Resolved, type ResolvedFile } from './resolved.ts'

export interface PulledFile {
  readonly fileName: string
  readonly bytes: number
  readonly sha256: string
  /** Absolute: it is used where it lies. */
  readonly place?: string
}

export interface Pulled extends AsyncDisposable {
  readonly files: readonly PulledFile[]
}

export interface ModelFolders {
  readonly blobs: string
  readonly parts: string
}

/** @param models the folder of the library */
export function foldersIn(models: string): ModelFolders {
  return { blobs: join(models, 'blobs'), parts: join(models, 'parts') }
}

const REPORT_EVERY = ms(200)

/**
 * @param models the folder of the library
 * @throws ModelError DISK_FULL, DIGEST_UNKNOWN, DOWNLOAD_BROKEN, SOURCE_*, MODEL_LOAD; `signal.reason`
 */
export async function pull(
  deps: PullDeps & { readonly digests: Digests },
  models: string,
  resolved: Resolved,
  options: Partial<PullOptions>,
  signal: AbortSignal,
): Promise<Pulled> {
  const all = { ...PULL_DEFAULTS, ...options }
  requireDigests(resolved, all.unverified)
  const folders = foldersIn(models)
  await mkdir(folders.blobs, { recursive: true })
  await mkdir(folders.parts, { recursive: true })
  const pulling = new Pulling(deps, folders, resolved, all)
  try {
    return { files: await pulling.run(signal), [Symbol.asyncDispose]: () => pulling.release() }
  } catch (error) {
    await pulling.release()
    throw error
  }
}

class Pulling {
  readonly #deps: PullDeps & { readonly digests: Digests }
  readonly #folders: ModelFolders
  readonly #resolved: Resolved
  readonly #options: PullOptions
  readonly #pace: Pace
  readonly #speed: Speed
  readonly #locks = new Map<string, FileLock>()
  #came = 0
  #reportedAt = Number.NEGATIVE_INFINITY

  constructor(
    deps: PullDeps & { readonly digests: Digests },
    folders: ModelFolders,
    resolved: Resolved,
    options: PullOptions,
  ) {
    this.#deps = deps
    this.#folders = folders
    this.#resolved = resolved
    this.#options = options
    this.#pace = new Pace(deps.clock, options.bytesPerSecond)
    this.#speed = new Speed(deps.clock)
  }

  async run(signal: AbortSignal): Promise<PulledFile[]> {
    const { files } = this.#resolved
    const fetched = files.filter(({ place }) => place === undefined)
    // All in the same order, whoever asks: two that have files in common never wait for each other.
    for (const key of [...new Set(fetched.map(keyOf))].sort()) await this.#hold(key, signal)
    await this.#requireRoom(fetched)
    const done: PulledFile[] = []
    for (const file of files) {
      const before = bytesOf({ files: done })
      const { fileName, bytes, place } = file
      const sha256 =
        place === undefined
          ? await this.#obtain(file, before, signal)
          : await checkFile(this.#deps.digests, this.#resolved, file, signal)
      done.push({ fileName, bytes, sha256, ...(place === undefined ? {} : { place }) })
    }
    this.#report(bytesOf({ files: done }), true)
    return done
  }

  /** Idempotent. */
  async release(): Promise<void> {
    for (const held of this.#locks.values()) await held.release()
  }

  async #hold(key: string, signal: AbortSignal): Promise<void> {
    if (this.#locks.has(key)) return
    const onWait = (pid: number) =>
      this.#options.onNotice?.(`process ${pid} fetches the same file: waiting for it`)
    const path = join(this.#folders.parts, `${key}.lock`)
    this.#locks.set(key, await lock(this.#deps.clock, path, signal, { onWait }))
  }

  async #requireRoom(files: readonly ResolvedFile[]): Promise<void> {
    let needed = 0
    for (const file of files) {
      if (await this.#isHere(file)) continue
      needed += Math.max(0, file.bytes - (await allocated(`${this.#partOf(file)}.part`)))
    }
    const { marginBytes: margin } = this.#options
    await requireFree(this.#deps.disk, this.#folders.parts, { needed, margin })
  }

  #blob(sha256: string): string {
    return join(this.#folders.blobs, `sha256-${sha256}`)
  }

  #partOf(file: ResolvedFile): string {
    return join(this.#folders.parts, keyOf(file))
  }

  async #isHere({ sha256, bytes }: ResolvedFile): Promise<boolean> {
    return sha256 !== undefined && (await sizeOf(this.#blob(sha256))) === bytes
  }

  /** @returns its sha256 */
  async #obtain(file: ResolvedFile, before: number, signal: AbortSignal): Promise<string> {
    if (file.sha256 !== undefined && (await this.#isHere(file))) return file.sha256
    for (const [index, url] of file.urls.entries()) {
      try {
        return await this.#fetchFrom(url, file, before, signal)
      } catch (error) {
        signal.throwIfAborted()
        const isOurs = !(error instanceof ModelError) || error.code === 'DISK_FULL'
        if (isOurs || isAbort(error, signal) || index === file.urls.length - 1) throw error
        this.#options.onNotice?.(`${shownUrl(url)} does not do (${error.code}): trying the next`)
      }
    }
    throw new ModelError('SOURCE_ABSENT', `nobody says where ${file.fileName} lies`)
  }

  async #fetchFrom(
    url: string,
    { bytes, sha256, fileName, ...file }: ResolvedFile,
    before: number,
    signal: AbortSignal,
  ): Promise<string> {
    const isPinned = sha256 !== undefined
    const path = this.#partOf({ bytes, fileName, ...file, ...(isPinned ? { sha256 } : {}) })
    const part = await Part.open(
      this.#deps.disk,
      path,
      { bytes, url },
      {
        // Without a digest only the source's own word tells that it is the same file.
        keeps: (found) => isPinned || (found.url === url && found.etag !== undefined),
        signal,
      },
    )
    try {
      const { credential } = this.#resolved
      const fetch = new FileFetch(this.#deps, this.#options, {
        part,
        origin: { url, bytes, credential },
        pace: this.#pace,
        isPinned,
        onBytes: (length) => {
          this.#came += length
          this.#report(before + part.done, false)
        },
      })
      await fetch.run(signal)
      const found = await part.digest(signal)
      if (isPinned && found !== sha256)
        throw new ModelError(
          'DOWNLOAD_BROKEN',
          `${fileName} of ${shownUrl(url)} has the sha256 ${found}, and not ${sha256}`,
        )
      await this.#keep(part, found, bytes, signal)
      return found
    } catch (error) {
      if (error instanceof ModelError && error.code === 'DOWNLOAD_BROKEN') await part.discard()
      throw error
    } finally {
      await part.close()
    }
  }

  async #keep(part: Part, sha256: string, bytes: number, signal: AbortSignal): Promise<void> {
    await this.#hold(`sha256-${sha256}`, signal)
    const blob = this.#blob(sha256)
    if ((await sizeOf(blob)) === bytes) await part.discard()
    else await part.become(blob)
  }

  #report(bytes: number, isLast: boolean): void {
    const { onProgress } = this.#options
    const now = this.#deps.clock.monotonic()
    if (onProgress === undefined || (!isLast && now - this.#reportedAt < REPORT_EVERY)) return
    this.#reportedAt = now
    const bytesPerSecond = this.#speed.at(this.#came)
    onProgress({ bytes, total: bytesOf(this.#resolved), bytesPerSecond })
  }
}

/** What a file on its way is called: the same for everybody who wants that file. */
function keyOf({ sha256, urls }: ResolvedFile): string {
  return sha256 === undefined ? `url-${hex(sha256Of(utf8(urls[0] ?? '')))}` : `sha256-${sha256}`
}

async function sizeOf(path: string): Promise<number | undefined> {
  return await stat(path).then(
    ({ size }) => size,
    () => undefined,
  )
}

/** Of a file with holes: what it takes on the disk. */
async function allocated(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined)
  return found === undefined ? 0 : Math.min(found.size, found.blocks * 512)
}
