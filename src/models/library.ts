/**
 * The weights on this disk, by name. The folder is the truth, and nobody needs to be told of a change:
 *
 *   models/models.lock.json     what is here (library-file.ts)
 *   models/blobs/sha256-HEX     the files, each once, whoever uses it
 *   models/sets/NAME/           of a model in several files: those files under their own names, as links
 *   models/parts/               what is on its way (pull.ts)
 *
 * Files that lie elsewhere are used in place and never removed. Each change reads the lock file anew under
 * a lock between processes. Tested by test/models/library.ts.
 */
import { link, mkdir, readdir, rm, stat, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { ModelError } from './errors.ts'
import { type LibraryModel, type LibraryModels, readLibrary, writeLibrary } from './library-file.ts'
import { type VerifiedFile, type VerifyOptions, verifyFiles } from './library-verify.ts'
import { lock, tryLock } from './lock.ts'
import { foldersIn, type ModelFolders, type Pulled } from './pull.ts'
import type { Resolved, ResolvedFile } from './resolved.ts'
import { isModelName, modelName, shown } from './source-names.ts'

export interface LibraryDeps {
  readonly clock: Clock
}

export interface AddOptions {
  readonly signal: AbortSignal
  /** Another digest, or another source, than the one that is pinned may take its name. */
  readonly update?: boolean
  /** `NAME:QUANTISATION` of the catalogue, of a model that was chosen from it. */
  readonly catalogue?: string | undefined
}

const BLOB = /^sha256-[0-9a-f]{64}$/
const PART = /^((?:sha256|url)-[0-9a-f]{64})\.(?:part|journal)$/

export class Library {
  /** The folder of the library. */
  readonly path: string
  readonly #deps: LibraryDeps
  readonly #folders: ModelFolders
  readonly #file: string

  /** @param path `models` in the data folder; made when something is added */
  constructor(deps: LibraryDeps, path: string) {
    this.#deps = deps
    this.path = path
    this.#folders = foldersIn(path)
    this.#file = join(path, 'models.lock.json')
  }

  /** By name, in order. @throws ModelError LIBRARY_BROKEN */
  list(): Promise<LibraryModels> {
    return readLibrary(this.#file)
  }

  /** @throws ModelError LIBRARY_BROKEN */
  async find(name: string): Promise<LibraryModel | undefined> {
    return (await this.list()).get(name)
  }

  /** The file that the engine is given: of several the first. @throws ModelError MODEL_ABSENT, LIBRARY_BROKEN */
  async pathOf(name: string): Promise<string> {
    return this.#pathsOf(name, await this.#require(name))[0] ?? ''
  }

  /**
   * What a source says, with the digests that are pinned under that name where it says none.
   * @throws ModelError DIGEST_CHANGED: it says another one; MODEL_NAME: the name is another model's
   */
  async pinned(
    resolved: Resolved,
    { update = false }: { update?: boolean } = {},
  ): Promise<Resolved> {
    const before = await this.find(resolved.name)
    if (before === undefined || update) return resolved
    if (before.source !== resolved.source)
      throw new ModelError(
        'MODEL_NAME',
        `${resolved.name} is here already, from ${before.source}: give another name, or --update`,
      )
    return { ...resolved, files: resolved.files.map((file) => pinnedFile(file, before)) }
  }

  /**
   * Names what was pulled. @throws ModelError DIGEST_CHANGED, MODEL_NAME, MODEL_ABSENT: a blob is gone;
   * LIBRARY_BROKEN; `signal.reason`
   */
  async add(
    resolved: Resolved,
    pulled: Pick<Pulled, 'files'>,
    { signal, update = false, catalogue }: AddOptions,
  ): Promise<LibraryModel> {
    const name = modelName(resolved.name)
    return await this.#change(signal, async (models) => {
      const exact = { ...resolved, files: pulled.files.map((file) => ({ ...file, urls: [] })) }
      await this.pinned(exact, { update })
      const { source, revision, license } = resolved
      const model: LibraryModel = {
        source,
        ...(revision === undefined ? {} : { revision }),
        files: pulled.files.map((file) => ({ ...file })),
        addedAt: this.#deps.clock.now(),
        ...(license === undefined ? {} : { license }),
        ...(catalogue === undefined ? {} : { catalogue }),
      }
      const before = models.get(name)
      await this.#link(name, model)
      models.set(name, model)
      await writeLibrary(this.#file, models)
      if (before !== undefined) await this.#dropBlobs(digestsOf(before), models)
      return model
    })
  }

  /** Files that others use stay, and those that lie elsewhere. @returns bytes that are free now. @throws ModelError MODEL_ABSENT, LIBRARY_BROKEN; `signal.reason` */
  async remove(name: string, { signal }: { readonly signal: AbortSignal }): Promise<number> {
    return await this.#change(signal, async (models) => {
      const model = models.get(name)
      if (model === undefined) throw absent(name)
      models.delete(name)
      await writeLibrary(this.#file, models)
      await rm(this.#setOf(name), { recursive: true, force: true })
      return await this.#dropBlobs(digestsOf(model), models)
    })
  }

  /** Reads every file again. @throws ModelError MODEL_ABSENT, LIBRARY_BROKEN; `signal.reason` */
  async verify(name: string, options: VerifyOptions): Promise<VerifiedFile[]> {
    const model = await this.#require(name)
    const paths = this.#pathsOf(name, model)
    const files = model.files.map((file, at) => ({ ...file, path: paths[at] ?? '' }))
    return await verifyFiles(files, options)
  }

  /** Removes what no model names: files, and what is on its way while nobody fetches it. @returns bytes */
  async prune({ signal }: { readonly signal: AbortSignal }): Promise<number> {
    return await this.#change(signal, async (models) => {
      const { blobs, parts } = this.#folders
      const found = (await namesIn(blobs)).filter((name) => BLOB.test(name))
      let freed = await this.#dropBlobs(
        found.map((name) => name.slice('sha256-'.length)),
        models,
      )
      for (const name of await namesIn(parts)) {
        const key = PART.exec(name)?.[1]
        if (key !== undefined) freed += await this.#dropUnlocked(key, join(parts, name))
      }
      for (const name of await namesIn(join(this.path, 'sets')))
        if (!models.has(name)) await rm(join(this.path, 'sets', name), { recursive: true })
      return freed
    })
  }

  async #require(name: string): Promise<LibraryModel> {
    const model = isModelName(name) ? await this.find(name) : undefined
    if (model === undefined) throw absent(name)
    return model
  }

  async #change<T>(
    signal: AbortSignal,
    work: (models: Map<string, LibraryModel>) => Promise<T>,
  ): Promise<T> {
    await mkdir(this.path, { recursive: true })
    await mkdir(this.#folders.parts, { recursive: true })
    await using _held = await lock(this.#deps.clock, join(this.path, 'library.lock'), signal)
    return await work(new Map(await this.list()))
  }

  #blob(sha256: string): string {
    return join(this.#folders.blobs, `sha256-${sha256}`)
  }

  #setOf(name: string): string {
    return join(this.path, 'sets', name)
  }

  #pathsOf(name: string, { files }: LibraryModel): string[] {
    return files.map(({ fileName, sha256, place }) => {
      if (place !== undefined) return place
      return files.length === 1 ? this.#blob(sha256) : join(this.#setOf(name), fileName)
    })
  }

  /** The engine finds the files of a model by their names, side by side. */
  async #link(name: string, { files }: LibraryModel): Promise<void> {
    for (const { sha256, bytes, place } of files)
      if (place === undefined && (await sizeOf(this.#blob(sha256))) !== bytes)
        throw new ModelError('MODEL_ABSENT', `a file of ${name} is gone again: add it once more`)
    await rm(this.#setOf(name), { recursive: true, force: true })
    if (files.length === 1 || files[0]?.place !== undefined) return
    await mkdir(this.#setOf(name), { recursive: true })
    for (const { fileName, sha256 } of files) {
      const path = join(this.#setOf(name), fileName)
      await link(this.#blob(sha256), path).catch(() => symlink(this.#blob(sha256), path))
    }
  }

  /** @returns bytes that are free now */
  async #dropBlobs(digests: readonly string[], models: LibraryModels): Promise<number> {
    const used = new Set([...models.values()].flatMap(digestsOf))
    let freed = 0
    for (const sha256 of new Set(digests))
      if (!used.has(sha256))
        freed += await this.#dropUnlocked(`sha256-${sha256}`, this.#blob(sha256))
    return freed
  }

  /** A file that somebody pulls at the moment stays. */
  async #dropUnlocked(key: string, path: string): Promise<number> {
    const held = await tryLock(join(this.#folders.parts, `${key}.lock`))
    if (held === undefined) return 0
    await using _held = held
    const found = await stat(path).catch(() => undefined)
    await rm(path, { force: true })
    return found === undefined ? 0 : Math.min(found.size, found.blocks * 512)
  }
}

/** Of files that are kept here. */
function digestsOf({ files }: LibraryModel): string[] {
  return files.filter(({ place }) => place === undefined).map(({ sha256 }) => sha256)
}

function pinnedFile(file: ResolvedFile, { files }: LibraryModel): ResolvedFile {
  const before = files.find(({ fileName }) => fileName === file.fileName)
  if (before === undefined)
    throw new ModelError('DIGEST_CHANGED', `the source had no file ${file.fileName} before`)
  if (file.sha256 !== undefined && file.sha256 !== before.sha256)
    throw new ModelError(
      'DIGEST_CHANGED',
      `${file.fileName} has the sha256 ${file.sha256} now, and ${before.sha256} is pinned`,
    )
  return { ...file, sha256: before.sha256 }
}

async function namesIn(path: string): Promise<string[]> {
  return await readdir(path).catch(() => [])
}

async function sizeOf(path: string): Promise<number | undefined> {
  return await stat(path).then(
    ({ size }) => size,
    () => undefined,
  )
}

function absent(name: string): ModelError {
  return new ModelError('MODEL_ABSENT', `there is no model ${shown(name)} here`)
}
