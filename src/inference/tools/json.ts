/**
 * JSON inside the text of a model: where a value ends, and its parts as they were written.
 *
 * Parts are kept as text and not read and written again, so that long numbers keep their digits.
 * Tested by test/inference/tools.ts.
 */
import { isRecord } from '../schema-walk.ts'

/** @returns the place after the object or list that begins at `from`; undefined: its end has not come */
export function valueEnd(text: string, from: number): number | undefined {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    const char = text[at]
    if (char === '"') {
      const end = stringEnd(text, at)
      if (end === undefined) return undefined
      at = end - 1
    } else if (char === '{' || char === '[') depth += 1
    else if ((char === '}' || char === ']') && --depth === 0) return at + 1
  }
  return undefined
}

/** Whether a growing text is inside an object or list; each character is looked at once. */
export class Depth {
  #depth = 0
  #quoted = false
  #escaped = false

  get inside(): boolean {
    return this.#depth > 0
  }

  push(text: string): void {
    for (const char of text) {
      if (this.#escaped) this.#escaped = false
      else if (this.#quoted && char === '\\') this.#escaped = true
      else if (char === '"') this.#quoted = this.inside && !this.#quoted
      else if (this.#quoted) continue
      else if (char === '{' || char === '[') this.#depth += 1
      else if (this.inside && (char === '}' || char === ']')) this.#depth -= 1
    }
  }
}

function stringEnd(text: string, from: number): number | undefined {
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === '\\') at += 1
    else if (text[at] === '"') return at + 1
  }
  return undefined
}

/** The items of a list, or the members of an object with their names and colons; `text` is valid JSON. */
function parts(text: string): string[] {
  const out: string[] = []
  let start = 1
  for (let at = 1; at < text.length; at++) {
    const char = text[at] ?? ''
    if (char === '"') at = (stringEnd(text, at) ?? text.length) - 1
    else if (char === '{' || char === '[') at = (valueEnd(text, at) ?? text.length) - 1
    else if (char === ',' || at === text.length - 1) {
      out.push(text.slice(start, at).trim())
      start = at + 1
    }
  }
  return out.filter((part) => part !== '')
}

/** A list's items as they were written; undefined: not a list. */
export function itemsOf(text: string): string[] | undefined {
  return Array.isArray(parsed(text)) ? parts(text.trim()) : undefined
}

/** An object's values as they were written; undefined: not an object. */
export function membersOf(text: string): Map<string, string> | undefined {
  if (!isRecord(parsed(text))) return undefined
  return new Map(
    parts(text.trim()).map((part) => {
      const end = stringEnd(part, 0) ?? 0
      const value = part.slice(end).trimStart().slice(1)
      return [String(parsed(part.slice(0, end))), value.trim()]
    }),
  )
}

/** @returns undefined for what is no JSON */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
