/** Characters in bytes that may end inside one. Tested by test/inference/grammar-state.ts. */

/** A character, or the range of those that these first bytes can become. */
export interface CharacterAt {
  readonly isWhole: boolean
  readonly from: number
  readonly to: number
  /** Bytes of it when it is whole. */
  readonly length: number
}

/** What begins at a place that is not behind the end. @returns undefined: no UTF-8 */
export function characterAt(bytes: Uint8Array, at: number): CharacterAt | undefined {
  const lead = bytes[at] ?? 0
  if (lead < 0x80) return { isWhole: true, from: lead, to: lead, length: 1 }
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2
  if (lead < 0xc2 || lead > 0xf4) return undefined
  let code = lead & (0x7f >> length)
  let read = 1
  for (; read < length && at + read < bytes.length; read++) {
    const next = bytes[at + read] ?? 0
    if ((next & 0xc0) !== 0x80) return undefined
    code = (code << 6) | (next & 0x3f)
  }
  const missing = length - read
  const least = [0x80, 0x800, 0x10000][length - 2] ?? 0
  const first = code << (6 * missing)
  const to = first | ((1 << (6 * missing)) - 1)
  const from = Math.max(first, least)
  // Too long a spelling, half a pair, beyond the last one.
  const isNone = to < least || (from >= 0xd800 && to <= 0xdfff) || from > 0x10ffff
  return isNone ? undefined : { isWhole: missing === 0, from, to, length }
}
