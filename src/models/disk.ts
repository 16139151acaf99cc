/** The disk that weights go to: how much is free, and what a full one means. Tested by test/models/pull.ts. */
import { type FileHandle, open, statfs } from 'node:fs/promises'
import { ModelError, passing } from './errors.ts'

/** What is asked of the file system while weights are written. */
export interface Disk {
  open(path: string, flags: 'r' | 'r+' | 'w+' | 'a'): Promise<FileHandle>
  /** Bytes that this user may still write beside `path`, which is there. */
  free(path: string): Promise<number>
}

export const systemDisk: Disk = {
  open: (path, flags) => open(path, flags, 0o644),
  async free(path) {
    const { bavail, bsize } = await statfs(path)
    return bavail * bsize
  },
}

/** @param needed beside `margin`, which is left free. @throws ModelError DISK_FULL (retryable) */
export async function requireFree(
  disk: Disk,
  path: string,
  { needed, margin }: { readonly needed: number; readonly margin: number },
): Promise<void> {
  if (needed <= 0) return
  const free = await disk.free(path)
  if (free >= needed + margin) return
  throw passing(
    'DISK_FULL',
    `${bytesText(needed)} are still to be written and ${bytesText(margin)} are left free, but ${path} has room for ${bytesText(free)}`,
    { data: { needed, margin, free } },
  )
}

/** What a write failed with, as ours. */
export function writeError(path: string, cause: unknown): ModelError {
  if (cause instanceof ModelError) return cause
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return passing('DISK_FULL', `${path} cannot grow: the disk is full`, { cause })
  return new ModelError('MODEL_LOAD', `cannot write ${path}`, { cause })
}

/** `1.5 GiB`; exact below 1 KiB. */
export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let [value, unit] = [bytes, 0]
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}
