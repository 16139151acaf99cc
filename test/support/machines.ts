/** Machines that people have, as commands see them. */
import type { Card } from '../../src/models/fit-place.ts'
import type { Hardware } from '../../src/node/hardware.ts'

const GIB = 1024 ** 3

function card(id: string, name: string, gib: number): Card {
  return { id, name, free: gib * GIB, total: gib * GIB, isShared: false, hasDisplay: false }
}

function hardware(cpu: string, memory: number, gpus: readonly Card[], cores = 7): Hardware {
  return {
    machine: { gpus, memoryFree: memory * GIB },
    memory: { cores },
    cpu,
    memoryTotal: memory * 1.25 * GIB,
    problems: [],
  }
}

export const RTX_3060 = hardware('AMD Ryzen 5 5600X', 24, [
  card('gpu0', 'NVIDIA GeForce RTX 3060', 12),
])
export const TWO_4090 = hardware('AMD Ryzen 9 7950X', 56, [
  card('gpu0', 'NVIDIA GeForce RTX 4090', 24),
  card('gpu1', 'NVIDIA GeForce RTX 4090', 24),
])
export const M2_16 = hardware('Apple M2', 11, [
  { ...card('apple', 'Apple M2', 10.6), isShared: true, free: 10.6 * GIB },
])
export const CPU_ONLY = hardware('Intel Core i5-8400', 12, [], 5)
export const SMALL = hardware('Intel Celeron', 1, [], 1)
