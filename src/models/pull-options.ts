/** How weights are fetched. */
import type { Clock } from '../base/clock.ts'
import type { Disk } from './disk.ts'
import type { Http } from './http.ts'
import { PULL_RETRY_DEFAULTS, type PullRetryOptions } from './pull-retry.ts'

export interface PullDeps {
  readonly clock: Clock
  /** At least 0 and below 1. */
  readonly random: () => number
  readonly http: Http
  readonly disk: Disk
}

export interface PullProgress {
  /** That are here, of all files. */
  readonly bytes: number
  readonly total: number
  /** Over the last seconds. */
  readonly bytesPerSecond: number
}

export interface PullOptions {
  /** Asked for at once; one that breaks off goes on where it was. */
  readonly chunkBytes: number
  /** Ranges at a time. */
  readonly parallel: number
  /** Of all ranges together; Infinity: no limit. */
  readonly bytesPerSecond: number
  /** Stays free on the disk. */
  readonly marginBytes: number
  /** How often a file may change at the source while it is fetched. */
  readonly restartsMax: number
  readonly retry: PullRetryOptions
  /** Takes what nobody knows the digest of. */
  readonly unverified: boolean
  readonly onProgress?: (progress: PullProgress) => void
  /** Something that the owner should know, as a sentence. */
  readonly onNotice?: (text: string) => void
}

export const PULL_DEFAULTS: PullOptions = {
  chunkBytes: 16 * 1024 * 1024,
  parallel: 4,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  marginBytes: 1024 ** 3,
  restartsMax: 2,
  retry: PULL_RETRY_DEFAULTS,
  unverified: false,
}
