/** What is known of models of the catalogue because they are here: their shape, and how fast they were. */
import { concat, hex, sha256, unhex } from '../base/bytes.ts'
import type { CatalogModel } from '../models/catalog.ts'
import type { CatalogVariant } from '../models/catalog-schema.ts'
import { ModelError } from '../models/errors.ts'
import type { Library } from '../models/library.ts'
import type { LibraryModel } from '../models/library-file.ts'
import type { Known } from '../node/catalogue.ts'
import type { Hardware } from '../node/hardware.ts'
import { shapeOnDisk } from './models-head.ts'
import { measuredFor, type Run } from './try-measured.ts'

/** Of the weights as a whole, as digest.ts tells it. */
export function digestOf({ files }: Pick<LibraryModel, 'files'>): string {
  const [only, ...more] = files
  if (only !== undefined && more.length === 0) return only.sha256
  return hex(sha256(concat(...files.map((file) => unhex(file.sha256)))))
}

/** By `NAME:QUANTISATION`. */
export async function knownHere(
  library: Library,
  { runs, hardware, signal }: { runs: readonly Run[]; hardware: Hardware; signal: AbortSignal },
): Promise<(model: CatalogModel) => (variant: CatalogVariant) => Known> {
  const found = new Map<string, Known>()
  const verdict = hardware.machine.gpus.length === 0 ? 'cpu' : 'gpu'
  for (const [name, model] of await library.list()) {
    if (model.catalogue === undefined) continue
    const shape = await shapeHere(library, name, signal)
    const measured = measuredFor(runs, digestOf(model), verdict)
    found.set(model.catalogue, {
      ...(shape === undefined ? {} : { shape }),
      ...(measured === undefined ? {} : { measured }),
    })
  }
  return ({ name }) =>
    ({ quantisation }) =>
      found.get(`${name}:${quantisation}`) ?? {}
}

/** Undefined: its files are gone or damaged, which `models verify` tells. */
async function shapeHere(library: Library, name: string, signal: AbortSignal) {
  try {
    return await shapeOnDisk(await library.pathOf(name), signal)
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof ModelError) return undefined
    throw error
  }
}
