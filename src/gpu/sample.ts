/**
 * What is seen of the graphics cards at one moment, whoever made them.
 *
 * A value that a driver does not tell is absent and never 0: "no load" and "load unknown" are different
 * answers to the question whether the owner uses the card.
 */

export type GpuVendor = 'nvidia' | 'amd' | 'intel' | 'apple'

export interface GpuSample {
  /** Stays the same over restarts: NVIDIA's UUID, else the PCI address, `apple` on a Mac. */
  readonly id: string
  readonly vendor: GpuVendor
  /** Of its vendor's cards, as CUDA counts them with `CUDA_DEVICE_ORDER=PCI_BUS_ID`. */
  readonly index: number
  readonly name: string
  /** Such as `0000:01:00.0`, in small letters. */
  readonly pci?: string
  readonly driver?: string
  /** Bytes. */
  readonly memoryTotal?: number
  readonly memoryUsed?: number
  /** The card has no memory of its own: it uses the machine's. */
  readonly isShared: boolean
  /** 0 to 1: part of the last moments in which it computed or drew. */
  readonly load?: number
  /** °C. */
  readonly temperature?: number
  /** Watts. */
  readonly power?: number
  readonly powerLimit?: number
  /** A screen hangs on it. */
  readonly hasDisplay?: boolean
  /** Switched off until it is used; looking closer would wake it. */
  readonly isAsleep: boolean
  /** Absent: the driver does not say who uses it. */
  readonly processes?: readonly GpuProcess[]
  /** Programs of other users may be missing in `processes`. */
  readonly hidesProcesses?: boolean
  /** A slice of a card that its administrator has split (MIG): the `id` of the whole card. */
  readonly partOf?: string
}

export interface GpuProcess {
  readonly pid: number
  readonly name?: string
  readonly kind: 'compute' | 'graphics' | 'both'
  /** Bytes of the card's memory. */
  readonly memory?: number
  /** 0 to 1. */
  readonly load?: number
}

export interface GpuSamples {
  /** In a fixed order: vendor, then index. */
  readonly gpus: readonly GpuSample[]
  /** What could not be asked, as sentences for the owner. */
  readonly problems: readonly string[]
}

/** Others' part of a card. */
export interface ForeignUse {
  /** Bytes; absent: not known. */
  readonly memory?: number
  /** 0 to 1; absent: not known. */
  readonly load?: number
  /** Programs of others that compute on it, by name or `process 123`. */
  readonly programs: readonly string[]
}
