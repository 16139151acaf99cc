/**
 * One process at a time for one file: a lock file that names its holder by process id and start time, so
 * that a holder that was killed is told from one that works.
 *
 * The file appears whole, by a hard link. One that was left is cleared under a second lock, since of two
 * that find it the slower one would remove the lock of the faster. Processes of several machines on one
 * shared folder are not told apart. Tested by test/models/lock.ts.
 */
import { randomBytes } from 'node:crypto'
import { constants, copyFile, link, readFile, rm, writeFile } from 'node:fs/promises'
import { z } from 'zod'
import { hex } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { startTime } from '../base/process-time.ts'
import { type Ms, ms } from '../base/units.ts'

const Holder = z.strictObject({
  pid: z.int().min(1),
  /** Empty where the system does not say. */
  started: z.string(),
  nonce: z.string().min(1),
})
type Holder = z.infer<typeof Holder>

export interface LockOptions {
  readonly lookEvery: Ms
  /** Called once when somebody else holds it. */
  readonly onWait?: (pid: number) => void
}

const LOOK_EVERY = ms(200)

export class FileLock implements AsyncDisposable {
  readonly #path: string
  readonly #nonce: string

  constructor(path: string, nonce: string) {
    this.#path = path
    this.#nonce = nonce
  }

  /** Idempotent. */
  async release(): Promise<void> {
    if ((await holderOf(this.#path))?.nonce === this.#nonce) await rm(this.#path, { force: true })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release()
  }
}

/** Waits until nobody else holds it. @throws `signal.reason` */
export async function lock(
  clock: Clock,
  path: string,
  signal: AbortSignal,
  options: Partial<LockOptions> = {},
): Promise<FileLock> {
  for (let looks = 0; ; looks++) {
    signal.throwIfAborted()
    const mine = await tryLock(path)
    if (mine !== undefined) return mine
    if (looks === 0) {
      const holder = await holderOf(path)
      if (holder !== undefined) options.onWait?.(holder.pid)
    }
    await clock.sleep(options.lookEvery ?? LOOK_EVERY, signal)
  }
}

/** undefined when a living process holds it, this one included. */
export async function tryLock(path: string): Promise<FileLock | undefined> {
  const nonce = hex(randomBytes(8))
  if (await claim(path, nonce)) return new FileLock(path, nonce)
  const holder = await holderOf(path)
  if (holder !== undefined && (await isAlive(holder))) return undefined
  await clear(path, holder)
  return (await claim(path, nonce)) ? new FileLock(path, nonce) : undefined
}

/** @returns false when there is such a file */
async function claim(path: string, nonce: string): Promise<boolean> {
  const { pid } = process
  const holder: Holder = { pid, started: (await startTime(pid)) ?? '', nonce }
  const whole = `${path}.${nonce}`
  await writeFile(whole, JSON.stringify(holder), { flag: 'wx', mode: 0o600 })
  try {
    await link(whole, path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    if (!NO_LINKS.has(codeOf(error))) throw error
    return await copied(whole, path)
  } finally {
    await rm(whole, { force: true })
  }
}

/** Where a file system has no hard links. */
const NO_LINKS: ReadonlySet<string> = new Set([
  'EPERM',
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
  'EMLINK',
])

async function copied(whole: string, path: string): Promise<boolean> {
  try {
    await copyFile(whole, path, constants.COPYFILE_EXCL)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

/** Removes what a dead process left, if it is still that. */
async function clear(path: string, dead: Holder | undefined): Promise<void> {
  const guard = `${path}.clear`
  const nonce = hex(randomBytes(8))
  if (!(await claim(guard, nonce))) {
    const other = await holderOf(guard)
    // Somebody died in the few lines below.
    if (other === undefined || !(await isAlive(other))) await rm(guard, { force: true })
    return
  }
  try {
    if ((await holderOf(path))?.nonce === dead?.nonce) await rm(path, { force: true })
  } finally {
    await rm(guard, { force: true })
  }
}

/** undefined: there is none, or it cannot be read. */
async function holderOf(path: string): Promise<Holder | undefined> {
  try {
    return Holder.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch {
    return undefined
  }
}

async function isAlive({ pid, started }: Holder): Promise<boolean> {
  const now = await startTime(pid)
  if (now !== undefined && started !== '') return now === started
  if (started !== '') return false
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
