/**
 * Cards as Linux lists them in `/sys/class/drm`, whoever made them, and the few files that each has.
 *
 * What is read to find a card does not wake one that sleeps: its address and identity are kept by the system,
 * and `power/runtime_status` too. Everything else is asked from the card itself and is read only of those that are
 * awake. Tested by test/gpu/amd.ts and test/gpu/intel.ts.
 */
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pciIn, scaledIn } from './numbers.ts'

export interface DrmCard {
  /** `card0` */
  readonly node: string
  /** Of the device: `/sys/class/drm/card0/device`. */
  readonly folder: string
  readonly pci: string
  /** Four hex digits each, small. */
  readonly vendorId: string
  readonly deviceId: string
  /** Of the kernel: `amdgpu`, `i915`, `xe`, `nouveau`. */
  readonly driver?: string
  /** It is switched off until somebody uses it. */
  readonly isAsleep: boolean
}

const FILE_MAX = 64 * 1024
const CARDS_MAX = 64

/** @param sys `/sys`. By PCI address; none where there is no such folder. */
export async function drmCards(sys: string): Promise<DrmCard[]> {
  const root = join(sys, 'class', 'drm')
  const nodes = (await list(root)).filter((name) => /^card\d+$/.test(name)).slice(0, CARDS_MAX)
  const cards = await Promise.all(nodes.map((node) => cardIn(node, join(root, node, 'device'))))
  return cards
    .filter((card) => card !== undefined)
    .sort((a, b) => (a.pci < b.pci ? -1 : a.pci > b.pci ? 1 : 0))
}

async function cardIn(node: string, folder: string): Promise<DrmCard | undefined> {
  const facts = new Map<string, string>()
  for (const line of ((await read(join(folder, 'uevent'))) ?? '').split('\n')) {
    const at = line.indexOf('=')
    if (at > 0) facts.set(line.slice(0, at), line.slice(at + 1).trim())
  }
  const pci = pciIn(facts.get('PCI_SLOT_NAME'))
  const ids = /^([0-9A-F]{4}):([0-9A-F]{4})$/i.exec(facts.get('PCI_ID') ?? '')
  if (pci === undefined || ids?.[1] === undefined || ids[2] === undefined) return undefined
  const driver = facts.get('DRIVER')
  return {
    ...{ node, folder, pci },
    vendorId: ids[1].toLowerCase(),
    deviceId: ids[2].toLowerCase(),
    ...(driver === undefined ? {} : { driver }),
    isAsleep: await sleeps(folder),
  }
}

/** @param folder of a PCI device */
export async function sleeps(folder: string): Promise<boolean> {
  const status = await read(join(folder, 'power', 'runtime_status'))
  return status === 'suspended' || status === 'suspending'
}

/** Whether a screen hangs on it; undefined where it has no sockets, or does not say. */
export async function hasDisplay(sys: string, { node }: DrmCard): Promise<boolean | undefined> {
  const root = join(sys, 'class', 'drm')
  const sockets = (await list(root)).filter((name) => name.startsWith(`${node}-`))
  const states = await Promise.all(
    sockets.slice(0, CARDS_MAX).map((name) => read(join(root, name, 'status'))),
  )
  if (states.includes('connected')) return true
  return states.includes('disconnected') ? false : undefined
}

/** Its sensors; undefined: it has none. */
export async function hwmonOf(folder: string): Promise<string | undefined> {
  const names = (await list(join(folder, 'hwmon'))).filter((name) => /^hwmon\d+$/.test(name))
  const [first] = names.sort()
  return first === undefined ? undefined : join(folder, 'hwmon', first)
}

/** A file with one number, in `unit`ths. */
export async function readNumber(path: string, unit = 1): Promise<number | undefined> {
  return scaledIn(await read(path), unit)
}

/** A small file without the space around it; undefined: not there, or not for this user. */
export async function read(path: string): Promise<string | undefined> {
  try {
    await using file = await open(path, 'r')
    const buffer = Buffer.alloc(FILE_MAX)
    const { bytesRead } = await file.read(buffer, 0, FILE_MAX, 0)
    return buffer.toString('utf8', 0, bytesRead).trim()
  } catch {
    return undefined
  }
}

/** The names in a folder; none where it cannot be read. */
export async function list(folder: string): Promise<string[]> {
  return await readdir(folder).catch(() => [])
}
