/** Reads the files of a model again and holds them against their digests. Tested by test/models/library.ts. */
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'

export interface VerifiedFile {
  readonly fileName: string
  readonly path: string
  readonly state: 'right' | 'missing' | 'damaged'
}

export interface VerifyOptions {
  readonly signal: AbortSignal
  /** Bytes of all files of the model. */
  readonly onProgress?: (done: number, total: number) => void
}

export interface Verifying {
  readonly fileName: string
  readonly path: string
  readonly sha256: string
  readonly bytes: number
}

const READ_BYTES = 1024 * 1024

/** One after the other: a disk is not faster for two. @throws `signal.reason` */
export async function verifyFiles(
  files: readonly Verifying[],
  { signal, onProgress }: VerifyOptions,
): Promise<VerifiedFile[]> {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0)
  const verified: VerifiedFile[] = []
  let before = 0
  for (const { fileName, path, sha256, bytes } of files) {
    const onRead = (read: number) => onProgress?.(before + Math.min(read, bytes), total)
    const found = await sha256Of(path, signal, onRead)
    verified.push({ fileName, path, state: stateOf(found, sha256) })
    before += bytes
  }
  return verified
}

function stateOf(found: string | undefined, sha256: string): VerifiedFile['state'] {
  if (found === undefined) return 'missing'
  return found === sha256 ? 'right' : 'damaged'
}

/** undefined: there is none. */
async function sha256Of(
  path: string,
  signal: AbortSignal,
  onRead: (bytes: number) => void,
): Promise<string | undefined> {
  const hash = createHash('sha256')
  try {
    await using file = await open(path, 'r')
    const buffer = Buffer.allocUnsafe(READ_BYTES)
    for (let done = 0; ; ) {
      signal.throwIfAborted()
      const { bytesRead } = await file.read(buffer, 0, buffer.length)
      if (bytesRead === 0) return hash.digest('hex')
      hash.update(buffer.subarray(0, bytesRead))
      done += bytesRead
      onRead(done)
    }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    return 'unreadable'
  }
}
