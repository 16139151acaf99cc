/** Numbers out of what drivers write. Whatever is not a plain number of at least 0 is not known. Tested by test/gpu/nvidia.ts. */

const MIB = 1024 * 1024
const NUMBER = /^(\d+)(?:[.,](\d+))?$/

/** `12`, `12.5` and `12,5`; `[N/A]`, `[Not Supported]`, `-`, words and negative numbers give undefined. */
export function numberIn(text: string | undefined): number | undefined {
  const match = NUMBER.exec(text?.trim() ?? '')
  if (match === null) return undefined
  const value = Number(`${match[1]}.${match[2] ?? '0'}`)
  return value <= Number.MAX_SAFE_INTEGER ? value : undefined
}

/** A part of a hundred → 0 to 1. */
export function shareIn(text: string | undefined): number | undefined {
  const value = numberIn(text)
  return value === undefined ? undefined : Math.min(1, value / 100)
}

/** MiB → bytes. */
export function mibIn(text: string | undefined): number | undefined {
  const value = numberIn(text)
  return value === undefined ? undefined : Math.round(value * MIB)
}

/** A value that counts in `unit`ths, such as the micro of hwmon. */
export function scaledIn(text: string | undefined, unit: number): number | undefined {
  const value = numberIn(text)
  return value === undefined ? undefined : value / unit
}

export function wholeIn(text: string | undefined): number | undefined {
  const value = numberIn(text)
  return Number.isSafeInteger(value) ? value : undefined
}

/** The object without what is not known: an absent value has no key. */
export function known<T extends object>(values: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T
}

/** `00000000:0A:00.0` → `0000:0a:00.0`, as the system writes it. */
export function pciIn(text: string | undefined): string | undefined {
  const match = /^([0-9a-f]{4,8}):([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$/i.exec(text?.trim() ?? '')
  if (match === null) return undefined
  return `${match[1]?.slice(-4)}:${match[2]}`.toLowerCase()
}
