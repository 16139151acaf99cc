/**
 * Programs that compute on AMD cards through ROCm, of all users.
 *
 * Their queues do not go through the files of fdinfo.ts; the driver lists them in `/sys/class/kfd/kfd/proc`, each
 * with its memory by the card's number, and the numbers with their PCI places in `topology`. Tested by
 * test/gpu/amd.ts.
 */
import { join } from 'node:path'
import { list, read, readNumber } from './drm.ts'
import { wholeIn } from './numbers.ts'
import type { GpuProcess } from './sample.ts'

const NODES_MAX = 64
const PIDS_MAX = 256

/** @returns by PCI address */
export async function kfdProcesses(sys: string, proc: string): Promise<Map<string, GpuProcess[]>> {
  const root = join(sys, 'class', 'kfd', 'kfd')
  const users = new Map<string, GpuProcess[]>()
  const pids = (await list(join(root, 'proc'))).map(wholeIn).filter((pid) => pid !== undefined)
  if (pids.length === 0) return users
  const places = await placesIn(join(root, 'topology', 'nodes'))
  for (const pid of pids.slice(0, PIDS_MAX)) {
    const folder = join(root, 'proc', String(pid))
    for (const [number, pci] of places) {
      const memory = await readNumber(join(folder, `vram_${number}`))
      // Every program has all cards open; it uses those where it has memory.
      if (memory === undefined || memory === 0) continue
      const name = await read(join(proc, String(pid), 'comm'))
      const process = { pid, kind: 'compute', memory, ...(name ? { name } : {}) } as const
      users.set(pci, [...(users.get(pci) ?? []), process])
    }
  }
  return users
}

/** By the driver's number of a card: its PCI address. */
async function placesIn(nodes: string): Promise<Map<string, string>> {
  const places = new Map<string, string>()
  for (const node of (await list(nodes)).slice(0, NODES_MAX)) {
    const number = await read(join(nodes, node, 'gpu_id'))
    const facts = (await read(join(nodes, node, 'properties'))) ?? ''
    const fact = (name: string) => wholeIn(new RegExp(`^${name} (\\d+)$`, 'm').exec(facts)?.[1])
    const location = fact('location_id')
    if (number === undefined || number === '0' || !location) continue
    places.set(number, pciOf(fact('domain') ?? 0, location))
  }
  return places
}

/** @param location bus, device and function in 8, 5 and 3 bits */
function pciOf(domain: number, location: number): string {
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0')
  const [bus, device, func] = [(location >> 8) & 0xff, (location >> 3) & 0x1f, location & 7]
  return `${hex(domain, 4)}:${hex(bus, 2)}:${hex(device, 2)}.${func}`
}
