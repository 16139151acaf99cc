/**
 * What this machine is apart from its cards: processor, memory, system, room on a disk.
 *
 * Read by systeminformation, which starts small programs of the system, and by Node where that does not end in
 * time. Its `graphics()` is not used: it waits for drivers while everything stands still, and takes a load of 0 for
 * none. Tested by test/gpu/machine.ts.
 */
import { statfs } from 'node:fs/promises'
import { arch, availableParallelism, cpus, freemem, platform, release, totalmem } from 'node:os'
import { dirname } from 'node:path'
import { cpu, mem, osInfo } from 'systeminformation'
import type { Clock } from '../base/clock.ts'
import { withDeadline } from '../base/retry.ts'
import { type Ms, ms } from '../base/units.ts'

export interface Machine {
  readonly cpu: string
  /** Without the second thread of each core. */
  readonly physicalCores: number
  /** That this process may use. */
  readonly threads: number
  /** Bytes. */
  readonly memoryTotal: number
  /** That programs can have, with what the system would give back. */
  readonly memoryFree: number
  /** Such as `Ubuntu 24.04 (linux 6.8.0, x64)`. */
  readonly system: string
  /** Bytes that this user may still write; absent: not known. */
  readonly diskFree?: number
}

/** The part of systeminformation that is used. */
export interface MachineTools {
  cpu(): Promise<{ manufacturer: string; brand: string; physicalCores: number }>
  mem(): Promise<{ total: number; available: number }>
  osInfo(): Promise<{ distro: string; release: string; kernel: string; arch: string }>
  /** Of a container: what it may use of the machine's memory; none: no limit. */
  limit(): { total: number; free: number } | undefined
}

const TOOLS: MachineTools = { cpu, mem, osInfo, limit: limitHere }
const LIMIT = ms(5_000)

export interface MachineDeps {
  readonly clock: Clock
  readonly tools?: MachineTools
  readonly limit?: Ms
}

/** @param folder that room is asked for; it need not exist. @throws `signal.reason` only */
export async function readMachine(
  { clock, tools = TOOLS, limit = LIMIT }: MachineDeps,
  folder: string,
  signal: AbortSignal,
): Promise<Machine> {
  const inTime = async <T>(ask: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await withDeadline(clock, limit, signal, (both) => orAborted(ask(), both))
    } catch {
      signal.throwIfAborted()
      return undefined
    }
  }
  const [processor, memory, system, diskFree] = await Promise.all([
    inTime(() => tools.cpu()),
    inTime(() => tools.mem()),
    inTime(() => tools.osInfo()),
    inTime(() => freeOn(folder)),
  ])
  const names = [processor?.manufacturer, processor?.brand].filter((part) => part)
  const threads = availableParallelism()
  const bound = tools.limit()
  const total = positive(memory?.total) ?? totalmem()
  const free = positive(memory?.available) ?? freemem()
  return {
    cpu: names.join(' ') || cpus()[0]?.model.trim() || arch(),
    physicalCores: positive(processor?.physicalCores) ?? threads,
    threads,
    memoryTotal: Math.min(total, bound?.total ?? total),
    memoryFree: Math.min(free, bound?.free ?? free),
    system:
      system === undefined || system.distro === ''
        ? `${platform()} ${release()} (${arch()})`
        : `${system.distro} ${system.release} (${platform()} ${system.kernel}, ${system.arch})`,
    ...(diskFree === undefined ? {} : { diskFree }),
  }
}

function limitHere(): { total: number; free: number } | undefined {
  const total = process.constrainedMemory()
  // Without a limit it is 0 or more than there is.
  return total > 0 && total < totalmem() ? { total, free: process.availableMemory() } : undefined
}

/** Room where `folder` is or will be, bytes. @throws of the file system */
async function freeOn(folder: string): Promise<number> {
  for (let path = folder; ; path = dirname(path)) {
    try {
      const { bavail, bsize } = await statfs(path)
      return bavail * bsize
    } catch (error) {
      if (dirname(path) === path) throw error
    }
  }
}

function positive(value: number | undefined): number | undefined {
  return value !== undefined && Number.isFinite(value) && value > 0 ? value : undefined
}

/** What cannot be aborted is left to itself. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
