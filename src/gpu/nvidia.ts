/**
 * What `nvidia-smi` writes, read. Pure; who asks it is nvidia-probe.ts.
 *
 * A value that a card does not have is `[N/A]`, `[Not Supported]`, `[Unknown Error]`, `N/A` or `-`, by driver
 * and version, and is left out. Fields are separated by a comma and a space, and what may hold one itself
 * (names) stands last or is what remains between the others. Tested by test/gpu/nvidia.ts.
 */
import { known, mibIn, numberIn, pciIn, shareIn, wholeIn } from './numbers.ts'
import type { GpuProcess, GpuSample } from './sample.ts'

/** In the order of the columns; `name` is last. */
export const NVIDIA_FIELDS: readonly string[] = [
  'index',
  'uuid',
  'pci.bus_id',
  'driver_version',
  'memory.total',
  'memory.used',
  'utilization.gpu',
  'temperature.gpu',
  'power.draw',
  'power.limit',
  'display_active',
  'mig.mode.current',
  'name',
]

/** Cards and slices are numbered by small numbers; a longer list is not one of cards. */
const CARDS_MAX = 64
const PROCESSES_MAX = 1_024
const NAME_MAX = 200
const TYPES: Readonly<Record<string, GpuProcess['kind']>> = {
  C: 'compute',
  G: 'graphics',
  'C+G': 'both',
  // Through MPS, which is for computing.
  'M+C': 'compute',
}
/** Cards that use the memory of the machine and tell none of their own. */
const UNIFIED = /\b(GB10|Orin|Xavier|Thor|Tegra)\b/i

export interface NvidiaCard extends GpuSample {
  /** It is split, or can be: no work runs on the whole of it. */
  readonly isSplit: boolean
}

export function queryArgs(fields: readonly string[]): string[] {
  return [`--query-gpu=${fields.join(',')}`, '--format=csv,noheader,nounits']
}

/** The field that this version does not know, as it says when it refuses the whole query. */
export function refusedField(words: string): string | undefined {
  return /Field "([\w.]+)" is not a valid field/.exec(words)?.[1]
}

/** @param fields those that were asked for. Lines that are not of a card are passed over. */
export function parseCards(csv: string, fields: readonly string[]): NvidiaCard[] {
  const cards: NvidiaCard[] = []
  for (const line of csv.split('\n')) {
    const card = parseCard(line.trim(), fields)
    if (card !== undefined && cards.length < CARDS_MAX) cards.push(card)
  }
  return cards.sort((a, b) => a.index - b.index)
}

function parseCard(line: string, fields: readonly string[]): NvidiaCard | undefined {
  const cells = line.split(/,\s+/)
  if (cells.length < fields.length) return undefined
  const row: Partial<Record<string, string>> = {}
  for (const [at, field] of fields.entries()) row[field] = cells[at]
  const name = cells
    .slice(fields.length - 1)
    .join(', ')
    .trim()
    .slice(0, NAME_MAX)
  const index = wholeIn(row['index'])
  const id = uuidIn(row['uuid']) ?? pciIn(row['pci.bus_id'])
  if (index === undefined || id === undefined) return undefined
  const memoryTotal = mibIn(row['memory.total'])
  return {
    ...known<Pick<GpuSample, 'pci' | 'driver' | 'memoryTotal' | 'memoryUsed' | 'load'>>({
      pci: pciIn(row['pci.bus_id']),
      driver: wordIn(row['driver_version']),
      memoryTotal: memoryTotal === 0 ? undefined : memoryTotal,
      memoryUsed: mibIn(row['memory.used']),
      load: shareIn(row['utilization.gpu']),
    }),
    ...known<Pick<GpuSample, 'temperature' | 'power' | 'powerLimit' | 'hasDisplay'>>({
      temperature: numberIn(row['temperature.gpu']),
      power: numberIn(row['power.draw']),
      powerLimit: numberIn(row['power.limit']),
      hasDisplay: switchIn(row['display_active']),
    }),
    id,
    vendor: 'nvidia',
    index,
    name: isNothing(name) ? 'NVIDIA card' : name,
    isShared: memoryTotal === undefined && UNIFIED.test(name),
    isAsleep: false,
    isSplit: switchIn(row['mig.mode.current']) ?? false,
  }
}

export interface NvidiaProcess extends GpuProcess {
  /** The UUID of a card or of a slice. */
  readonly uuid: string
}

/** The answer to `--query-compute-apps=gpu_uuid,pid,used_memory,process_name`. */
export function parseApps(csv: string): NvidiaProcess[] {
  const apps: NvidiaProcess[] = []
  for (const line of csv.split('\n')) {
    const [uuid, pidText, memory, ...name] = line.trim().split(/,\s+/)
    const pid = wholeIn(pidText)
    const known = uuidIn(uuid)
    if (known === undefined || pid === undefined || apps.length === PROCESSES_MAX) continue
    apps.push({ uuid: known, ...processOf(pid, name.join(', '), 'compute', mibIn(memory)) })
  }
  return apps
}

/**
 * The answer to `pmon -c 1 -s um`: by index of a card, who uses it. A card without programs has an empty
 * list; one that is not in it was not looked at: some versions look at four cards only.
 */
export function parsePmon(text: string): Map<number, GpuProcess[]> {
  const lines = text.split('\n').map((line) => line.trim())
  // The columns change with the version, the first line of the head names them.
  const columns =
    lines
      .find((line) => /^#\s*gpu\s/i.test(line))
      ?.slice(1)
      .trim()
      .toLowerCase()
      .split(/\s+/) ?? []
  const cards = new Map<number, GpuProcess[]>()
  for (const line of lines) {
    if (line.startsWith('#')) continue
    const cells = line.split(/\s+/)
    const cell = (name: string) => cells[columns.indexOf(name)]
    const index = wholeIn(cell('gpu'))
    if (index === undefined || index >= CARDS_MAX) continue
    const of = cards.get(index) ?? []
    cards.set(index, of)
    const pid = wholeIn(cell('pid'))
    if (pid === undefined || pid === 0 || of.length === PROCESSES_MAX) continue
    const last = columns.findIndex((name) => name === 'command' || name === 'name')
    const name = last === -1 ? '' : cells.slice(last).join(' ')
    const kind = TYPES[cell('type')?.toUpperCase() ?? ''] ?? 'both'
    const load = shareIn(cell('sm'))
    const process = processOf(pid, name, kind, mibIn(cell('fb')))
    of.push(load === undefined ? process : { ...process, load })
  }
  return cards
}

function processOf(
  pid: number,
  name: string,
  kind: GpuProcess['kind'],
  memory: number | undefined,
): GpuProcess {
  const base = name
    .trim()
    .split(/[/\\](?=[^/\\]+$)/)
    .at(-1)
    ?.slice(0, NAME_MAX)
  return {
    pid,
    kind,
    ...(base === undefined || isNothing(base) ? {} : { name: base }),
    ...(memory === undefined ? {} : { memory }),
  }
}

export interface NvidiaSlice {
  readonly card: string
  readonly uuid: string
  /** Such as `1g.10gb`. */
  readonly profile: string
}

/** The slices in the answer to `nvidia-smi -L`, in its order. */
export function parseSlices(text: string): NvidiaSlice[] {
  const slices: NvidiaSlice[] = []
  let card: string | undefined
  for (const line of text.split('\n')) {
    const uuid = uuidIn(/\(UUID:\s*([^)\s]+)\)/.exec(line)?.[1])
    if (/^GPU \d+:/.test(line)) card = uuid
    const profile = /^\s+MIG (\S+)\s+Device\s+\d+:/.exec(line)?.[1]
    if (profile === undefined || uuid === undefined || card === undefined) continue
    if (slices.length < CARDS_MAX) slices.push({ card, uuid, profile: profile.slice(0, NAME_MAX) })
  }
  return slices
}

/**
 * Cards with their slices in the place of those that are split. A slice has the heat of its card but not its
 * power: that would be counted for each of them.
 */
export function withSlices(
  cards: readonly NvidiaCard[],
  slices: readonly NvidiaSlice[],
): GpuSample[] {
  return cards.flatMap((card): GpuSample[] => {
    const { isSplit, memoryUsed, load, power, powerLimit, memoryTotal, ...rest } = card
    const own = slices.filter((slice) => slice.card === card.id)
    if (!isSplit || own.length === 0) {
      const { isSplit: _, ...whole } = card
      return [whole]
    }
    return own.map(({ uuid, profile }) => {
      const memory = memoryOf(profile)
      return {
        ...rest,
        ...(memory === undefined ? {} : { memoryTotal: memory }),
        id: uuid,
        name: `${card.name} MIG ${profile}`,
        partOf: card.id,
      }
    })
  })
}

/** Decimal gigabytes, which is a little less than a slice has. */
function memoryOf(profile: string): number | undefined {
  const gigabytes = numberIn(/(\d+)gb/i.exec(profile)?.[1])
  return gigabytes === undefined ? undefined : gigabytes * 1e9
}

/** A sentence for the owner about an answer that is none. */
export function failureText(words: string): string {
  if (/No devices were found/i.test(words)) return 'The NVIDIA driver runs but finds no card.'
  if (/couldn't communicate with the NVIDIA driver/i.test(words))
    return 'The NVIDIA driver does not run: install it again, or restart after an update.'
  if (/version mismatch/i.test(words))
    return 'The NVIDIA driver was updated while it ran: restart the machine.'
  if (/fallen off the bus|GPU is lost/i.test(words))
    return 'An NVIDIA card is lost: restart the machine, and look at its power and its slot.'
  if (/Insufficient Permissions/i.test(words))
    return 'This user may not ask the NVIDIA driver: add it to the group that owns /dev/nvidia0.'
  const line = words.split('\n').find((one) => one.trim() !== '')
  return `nvidia-smi fails: ${line?.trim().slice(0, NAME_MAX) ?? 'it says nothing'}`
}

function uuidIn(text: string | undefined): string | undefined {
  return /^(GPU|MIG)-[\w./-]{4,100}$/.exec(text?.trim() ?? '')?.[0]
}

function wordIn(text: string | undefined): string | undefined {
  const word = text?.trim().slice(0, NAME_MAX)
  return word === undefined || isNothing(word) ? undefined : word
}

function isNothing(text: string): boolean {
  return text === '' || text === '-' || /^\[.*\]$|^N\/A$/i.test(text)
}

function switchIn(text: string | undefined): boolean | undefined {
  const word = text?.trim().toLowerCase()
  return word === 'enabled' || word === 'yes'
    ? true
    : word === 'disabled' || word === 'no'
      ? false
      : undefined
}
