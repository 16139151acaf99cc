/** What the benchmarks share: percentiles, processor time of a process, a folder, printed rows. */
import { readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Host } from '../../test/support/network.ts'

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

/** Seconds of processor time that a process has used, all its threads together (Linux). */
export function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

export function residentMiB(pid: number): number {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1])
  return (pages * 4096) / 1024 ** 2
}

/** Stands in for a tap test: what is to be closed at the end. */
export function host(): Host & { close(): Promise<void> } {
  const closers: (() => unknown)[] = []
  return {
    teardown: (close) => closers.push(close),
    async close() {
      for (const close of closers.reverse()) await close()
    },
  }
}

/** How long the disk below `folder` takes to make 600 bytes durable, in milliseconds, `times` over. */
export async function syncTimes(folder: string, times: number): Promise<number[]> {
  const file = await open(join(folder, 'sync-probe'), 'w')
  const out: number[] = []
  try {
    for (let i = 0; i < times; i++) {
      const start = performance.now()
      await file.write(Buffer.alloc(600, i))
      await file.datasync()
      out.push(performance.now() - start)
    }
  } finally {
    await file.close()
  }
  return out
}

export function row(name: string, value: string): void {
  process.stdout.write(`${name.padEnd(58)} ${value}\n`)
}
