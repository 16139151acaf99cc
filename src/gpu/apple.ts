/**
 * The graphics of an Apple processor, as `ioreg -r -d 1 -w 0 -c IOAccelerator` lists them.
 *
 * The driver tells how busy it is and how much memory it uses, and nothing of single programs; watts are for root
 * only. The cards of Macs with Intel processors are in the same list and are passed over: no engine uses them.
 * Tested by test/gpu/apple.ts.
 */
import { known, shareIn, wholeIn } from './numbers.ts'
import type { GpuSample } from './sample.ts'

export const IOREG_ARGS: readonly string[] = ['-r', '-d', '1', '-w', '0', '-c', 'IOAccelerator']

/** @param memoryTotal of the machine, bytes. @returns undefined: there is none of Apple's */
export function parseIoreg(text: string, memoryTotal?: number): GpuSample | undefined {
  for (const block of text.split(/^\+-o /m)) {
    const statistics = /"PerformanceStatistics"\s*=\s*\{([^}]*)\}/.exec(block)?.[1]
    if (statistics === undefined || !isApple(block)) continue
    const value = (key: string) => new RegExp(`"${key}"=(\\d+)`).exec(statistics)?.[1]
    const cores = /"gpu-core-count"\s*=\s*(\d{1,4})\b/.exec(block)?.[1]
    const model = modelOf(block) ?? 'Apple GPU'
    return {
      ...{ id: 'apple', vendor: 'apple', index: 0, isShared: true, isAsleep: false },
      name: cores === undefined ? model : `${model} (${cores} cores)`,
      ...known<Partial<GpuSample>>({
        memoryTotal,
        memoryUsed: wholeIn(value('In use system memory')),
        load: shareIn(value('Device Utilization %')),
      }),
    }
  }
  return undefined
}

function isApple(block: string): boolean {
  return (
    /^AGX/.test(block) || /"IOClass"\s*=\s*"AGX/.test(block) || /^Apple /.test(modelOf(block) ?? '')
  )
}

function modelOf(block: string): string | undefined {
  return /"model"\s*=\s*"([^"]{1,100})"/.exec(block)?.[1]
}
