/**
 * How fast relays become durable here, as a multiple of what the disk itself needs.
 *
 * Prints the time of a 4 KiB append with fdatasync, then records/s of the store with 1, 8 and 64
 * relays at a time, in the same run on the same disk: absolute figures of two machines cannot be
 * compared, the ratios can. Build, then: node dist/scripts/bench/store.js [folder] [relays]
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { toBech32 } from '@cosmjs/encoding'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { type Address, height } from '../../src/base/units.ts'
import { openStore, type Store } from '../../src/store/db.ts'
import type { ServedRelay } from '../../src/store/relays.ts'
import type { SessionKey } from '../../src/store/sessions.ts'

const RELAY_BYTES = 2_048
const FSYNCS = 300
const OPERATOR = toBech32('pokt', new Uint8Array(20).fill(1)) as Address

interface Spread {
  readonly p50: number
  readonly p99: number
}

function spread(samples: number[]): Spread {
  const sorted = samples.sort((a, b) => a - b)
  const at = (part: number) => sorted[Math.floor((sorted.length - 1) * part)] ?? Number.NaN
  return { p50: at(0.5), p99: at(0.99) }
}

async function timed(samples: number[], work: () => Promise<unknown>): Promise<void> {
  const start = systemClock.monotonic()
  await work()
  samples.push(systemClock.monotonic() - start)
}

async function measureDisk(folder: string): Promise<Spread> {
  const file = await open(join(folder, 'fsync'), 'w')
  const block = randomBytes(4_096)
  const samples: number[] = []
  for (let i = 0; i < FSYNCS; i++)
    await timed(samples, async () => {
      await file.write(block)
      await file.datasync()
    })
  await file.close()
  return spread(samples)
}

/** Half of the bytes can be compressed, as with text. */
function relay(): ServedRelay {
  const bytes = new Uint8Array(RELAY_BYTES)
  bytes.set(randomBytes(RELAY_BYTES / 2))
  const leaf = { path: randomBytes(32), digest: randomBytes(48), relay: bytes }
  return { replayKey: randomBytes(32), leaf }
}

async function measureStore(store: Store, end: number, lanes: number, relays: number) {
  const key: SessionKey = {
    end: height(end),
    operator: OPERATOR,
    sessionId: randomBytes(32).toString('hex'),
  }
  const waits: number[] = []
  let left = relays
  const start = systemClock.monotonic()
  const lane = async () => {
    while (left-- > 0) await timed(waits, () => store.relays.record(key, relay()))
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  const seconds = (systemClock.monotonic() - start) / 1_000
  let leaves = 0
  const scanned = systemClock.monotonic()
  for await (const _ of store.relays.leaves(key)) leaves++
  const scanMs = systemClock.monotonic() - scanned
  return { lanes, perSecond: relays / seconds, wait: spread(waits), leaves, scanMs }
}

async function main(): Promise<void> {
  const [parent = '.', count = '20000'] = process.argv.slice(2)
  const folder = await mkdtemp(join(parent, 'bench-store-'))
  try {
    const disk = await measureDisk(folder)
    print(`disk: append 4 KiB + fdatasync p50 ${ms(disk.p50)} p99 ${ms(disk.p99)}`)
    const deps = { log: silentLog(), clock: systemClock }
    await using store = await openStore(join(folder, 'db'), deps)
    await measureStore(store, 1, 64, 2_000)
    for (const lanes of [1, 8, 64]) {
      const relays = Math.min(Number(count), lanes * 1_000)
      const run = await measureStore(store, 1 + lanes, lanes, relays)
      const perSync = (run.perSecond * disk.p50) / 1_000
      print(
        `${String(lanes).padStart(2)} at a time: ${run.perSecond.toFixed(0)} records/s, ` +
          `wait p50 ${ms(run.wait.p50)} p99 ${ms(run.wait.p99)} = ` +
          `${(run.wait.p50 / disk.p50).toFixed(1)} and ${(run.wait.p99 / disk.p50).toFixed(1)} fsyncs, ` +
          `${perSync.toFixed(1)} records per fsync; ` +
          `${((run.leaves / run.scanMs) * 1_000).toFixed(0)} leaves/s read`,
      )
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function ms(value: number): string {
  return `${value.toFixed(2)} ms`
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

await main()
