/**
 * The folder of the database: is it ours to open, who has it open, and what recovery threw away.
 *
 * The lock is LevelDB's own, held by the kernel for the process. The pid file beside the folder only
 * serves the message, and a stale one harms nobody. Tested by test/store/db.ts.
 */
import { readdir, readFile, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { ownerOnlyFolder, syncDirectory, writeFileAtomic } from '../base/files.ts'
import { StoreError } from './errors.ts'

/** Names that LevelDB gives to its files. */
const LEVEL_FILE = /^(CURRENT|LOCK|LOG|LOG\.old|MANIFEST-\d+|\d+\.(log|ldb|sst|dbtmp))$/
/** Those of them that hold data. */
const DATA_FILE = /^\d+\.(log|ldb|sst)$/

/**
 * Makes the folder, for its owner only, or makes sure that LevelDB may open what is in it: in a
 * folder whose CURRENT is gone it would begin a new database and delete the old one's files.
 * @throws StoreError FOREIGN, CORRUPT, DISK; nothing has been changed then
 */
export async function prepareFolder(path: string): Promise<void> {
  const names = await list(path)
  const foreign = names.find((name) => !LEVEL_FILE.test(name))
  if (foreign !== undefined && !names.includes('CURRENT'))
    throw new StoreError('FOREIGN', `${path} holds other files, ${foreign} for one`, {
      data: { path },
    })
  if (!names.includes('CURRENT') && names.some((name) => DATA_FILE.test(name)))
    throw new StoreError('CORRUPT', `${path} is a database whose file CURRENT is gone`, {
      data: { path },
    })
  try {
    await ownerOnlyFolder(path)
    await syncDirectory(dirname(path))
  } catch (cause) {
    throw new StoreError('DISK', `cannot use the folder ${path}`, { data: { path }, cause })
  }
}

async function list(path: string): Promise<string[]> {
  try {
    return await readdir(path)
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
    if (code === 'ENOENT') return []
    const data = { path }
    if (code === 'ENOTDIR')
      throw new StoreError('FOREIGN', `${path} is not a folder`, { data, cause })
    throw new StoreError('DISK', `cannot look into ${path}`, { data, cause })
  }
}

/** Beside the folder, not in it: the folder is LevelDB's. */
export function pidFile(path: string): string {
  return join(dirname(path), `${basename(path)}.pid`)
}

export async function writePid(path: string): Promise<void> {
  await writeFileAtomic(pidFile(path), `${process.pid}\n`)
}

/** Of the process that has the database open, as far as is known. */
export async function readPid(path: string): Promise<number | undefined> {
  const text = await readFile(pidFile(path), 'utf8').catch(() => '')
  return /^[1-9]\d{0,9}\n$/.test(text) ? Number(text) : undefined
}

/** Call it while the lock is still held: later the file may be another process's. */
export async function removePid(path: string): Promise<void> {
  await rm(pidFile(path), { force: true })
}

/**
 * Bytes of its log that LevelDB could not read when it was opened. It says so in its own diary only.
 * The torn end of the log is not among them: that was never confirmed.
 */
export async function unreadableBytes(path: string): Promise<number> {
  const diary = await readFile(join(path, 'LOG'), 'utf8').catch(() => '')
  let bytes = 0
  for (const [, dropped] of diary.matchAll(/: dropping (\d+) bytes; /g)) bytes += Number(dropped)
  return bytes
}
