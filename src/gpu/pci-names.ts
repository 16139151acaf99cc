/**
 * What a card is called in shops, by its PCI identity: the list `pci.ids` that systems carry.
 *
 * A maker begins a line, its devices follow with a tab each. Of `Navi 31 [Radeon RX 7900 XT/7900 XTX]` the name
 * in brackets is the one on the box. Tested by test/gpu/pci-names.ts.
 */
import { readFile, stat } from 'node:fs/promises'

export const PCI_IDS: readonly string[] = [
  '/usr/share/hwdata/pci.ids',
  '/usr/share/misc/pci.ids',
  '/usr/share/pci.ids',
]

const FILE_MAX = 16 * 1024 * 1024
const NAMES_MAX = 256

export class PciNames {
  readonly #files: readonly string[]
  readonly #names = new Map<string, string | undefined>()

  /** @param files the first that can be read is used */
  constructor(files: readonly string[] = PCI_IDS) {
    this.#files = files
  }

  /** @param vendorId four hex digits, small. @returns undefined: it is in no list here */
  async nameOf(vendorId: string, deviceId: string): Promise<string | undefined> {
    const key = `${vendorId}:${deviceId}`
    if (this.#names.has(key)) return this.#names.get(key)
    const text = await this.#text()
    const name = text === undefined ? undefined : nameIn(text, vendorId, deviceId)
    if (this.#names.size < NAMES_MAX) this.#names.set(key, name)
    return name
  }

  async #text(): Promise<string | undefined> {
    for (const path of this.#files) {
      try {
        if ((await stat(path)).size <= FILE_MAX) return await readFile(path, 'utf8')
      } catch {
        // The next one.
      }
    }
    return undefined
  }
}

export function nameIn(text: string, vendorId: string, deviceId: string): string | undefined {
  const start = lineAt(text, 0, `${vendorId}  `)
  if (start === -1) return undefined
  const after = text.slice(text.indexOf('\n', start) + 1)
  // The next line that begins with no tab is the next maker's.
  const end = after.search(/^[^\t#\n]/m)
  const devices = end === -1 ? after : after.slice(0, end)
  const at = lineAt(devices, 0, `\t${deviceId}  `)
  if (at === -1) return undefined
  const line =
    devices
      .slice(at + deviceId.length + 3)
      .split('\n', 1)[0]
      ?.trim() ?? ''
  const name = /\[([^\]]+)\]\s*$/.exec(line)?.[1] ?? line
  return name === '' ? undefined : name.slice(0, 200)
}

/** Where a line begins so, or -1. */
function lineAt(text: string, from: number, start: string): number {
  if (text.startsWith(start, from)) return from
  const at = text.indexOf(`\n${start}`, from)
  return at === -1 ? -1 : at + 1
}
