/** Files that are whole or not there, and secrets that others cannot read. Tested by test/base/files.ts. */
import { randomBytes } from 'node:crypto'
import { chmod, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { BaseError } from './errors.ts'

/**
 * Writes the file whole: into a neighbour first, synced, then renamed, then the directory synced.
 * A crash leaves the old file or the new one. @param mode permissions, for a secret 0o600
 */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array,
  mode = 0o644,
): Promise<void> {
  const part = `${path}.${randomBytes(4).toString('hex')}.part`
  try {
    const file = await open(part, 'wx', mode)
    try {
      await file.writeFile(data)
      await file.chmod(mode)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(part, path)
  } catch (error) {
    await rm(part, { force: true })
    throw error
  }
  await syncDirectory(dirname(path))
}

/** Makes a rename or a new file in it survive a power cut. Systems that cannot sync a folder skip it. */
export async function syncDirectory(path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => undefined)
  try {
    await folder?.sync()
  } catch {
    // Windows and some network file systems refuse; the rename itself has happened.
  } finally {
    await folder?.close()
  }
}

/** A folder that only its owner may enter; made if it is not there. */
export async function ownerOnlyFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 })
  await chmod(path, 0o700)
}

/**
 * Reads a file that holds a secret.
 * @throws BaseError FILE_UNREADABLE, FILE_OPEN_TO_OTHERS (group or others may read it)
 */
export async function readSecretFile(path: string): Promise<string> {
  try {
    const { mode } = await stat(path)
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw new BaseError(
        'FILE_OPEN_TO_OTHERS',
        `${path} can be read by others; run: chmod 600 ${path}`,
      )
    }
    return await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof BaseError) throw error
    throw new BaseError('FILE_UNREADABLE', `cannot read ${path}`, { cause: error })
  }
}
