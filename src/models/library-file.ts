/**
 * `models.lock.json`: which models are here, where they are from, and the digest of each of their files,
 * which is pinned by it. Strict: a file that says more than is known here is not rewritten.
 *
 * Tested by test/models/library.ts.
 */
import { readFile } from 'node:fs/promises'
import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { writeFileAtomic } from '../base/files.ts'
import { ModelError } from './errors.ts'
import { isModelName, isSafeName } from './source-names.ts'

const LibraryFileEntry = z.strictObject({
  fileName: z.string().refine(isSafeName, 'this is no safe name of a file'),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  bytes: z.int().min(0),
  /** Where it lies, of a file that is used in place. */
  place: z.string().refine(isAbsolute, 'an absolute path is needed').optional(),
})

const LibraryModel = z.strictObject({
  source: z.string().min(1).max(4_096),
  revision: z.string().max(256).optional(),
  files: z.array(LibraryFileEntry).min(1).max(500),
  /** Milliseconds since 1970. */
  addedAt: z.number().min(0),
  license: z.string().max(256).optional(),
  /** Its name in the catalogue, if it is from there. */
  catalogue: z.string().max(256).optional(),
})
export type LibraryModel = Readonly<z.infer<typeof LibraryModel>>

const LibraryFile = z.strictObject({
  version: z.literal(1),
  models: z.record(z.string().refine(isModelName, 'this is no name of a model'), LibraryModel),
})

export type LibraryModels = ReadonlyMap<string, LibraryModel>

const BYTES_MAX = 16 * 1024 * 1024

/** Empty when there is none. @throws ModelError LIBRARY_BROKEN */
export async function readLibrary(path: string): Promise<LibraryModels> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return new Map()
    throw new ModelError('LIBRARY_BROKEN', `cannot read ${path}`, { cause })
  }
  if (text.length > BYTES_MAX) throw new ModelError('LIBRARY_BROKEN', `${path} is too long`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new ModelError('LIBRARY_BROKEN', `${path} is not JSON`, { cause })
  }
  const read = LibraryFile.safeParse(value)
  if (read.success) return new Map(Object.entries(read.data.models))
  const [issue] = read.error.issues
  throw new ModelError(
    'LIBRARY_BROKEN',
    `${path} is wrong at ${issue?.path.join('.') || 'its top'}: ${issue?.message}`,
  )
}

/** Whole or not at all. */
export async function writeLibrary(path: string, models: LibraryModels): Promise<void> {
  const sorted = [...models].sort(([a], [b]) => (a < b ? -1 : 1))
  const file = LibraryFile.parse({ version: 1, models: Object.fromEntries(sorted) })
  await writeFileAtomic(path, `${JSON.stringify(file, null, 2)}\n`)
}
