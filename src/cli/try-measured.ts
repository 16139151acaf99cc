/**
 * `measured.json` in the data folder: how fast models were on this machine, by the digest of their weights and
 * by where they ran. It is a memory and no truth: what cannot be read counts as nothing measured.
 *
 * Tests: test/cli/try.ts.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { writeFileAtomic } from '../base/files.ts'
import type { Verdict } from '../models/fit.ts'
import type { MeasuredSpeed } from '../models/speed.ts'

const Run = z.strictObject({
  /** Of the weights; of several files the hash over their hashes. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Such as `cpu`, or `cuda: NVIDIA GeForce RTX 3060`. */
  device: z.string().min(1).max(1_000),
  /** Tokens a second of one answer. */
  decode: z.number().positive(),
  /** Tokens of a prompt a second. */
  prefill: z.number().positive().optional(),
  /** Of answers that it was measured on. */
  tokens: z.int().min(1),
  /** Milliseconds since 1970. */
  at: z.number().min(0),
})
export type Run = Readonly<z.infer<typeof Run>>

const MeasuredFile = z.strictObject({ version: z.literal(1), runs: z.array(Run).max(2_000) })

/** The oldest are forgotten. */
const RUNS_MAX = 500
const BYTES_MAX = 1024 * 1024

export class Measured {
  readonly #path: string

  constructor(dataFolder: string) {
    this.#path = join(dataFolder, 'measured.json')
  }

  /** The latest last. */
  async read(): Promise<readonly Run[]> {
    try {
      const text = await readFile(this.#path, 'utf8')
      return text.length > BYTES_MAX ? [] : MeasuredFile.parse(JSON.parse(text)).runs
    } catch {
      return []
    }
  }

  /** In place of an earlier one of the same weights at the same place. */
  async keep(run: Run): Promise<void> {
    const others = (await this.read()).filter(
      ({ sha256, device }) => sha256 !== run.sha256 || device !== run.device,
    )
    const runs = [...others, run].slice(-RUNS_MAX)
    await writeFileAtomic(this.#path, `${JSON.stringify({ version: 1, runs }, null, 2)}\n`)
  }
}

/** What was measured where it would run now. @param sha256 undefined: the weights are not here */
export function measuredFor(
  runs: readonly Run[],
  sha256: string | undefined,
  verdict: Verdict,
): MeasuredSpeed | undefined {
  const onCpu = verdict === 'cpu'
  const run = runs.findLast(
    (one) => one.sha256 === sha256 && (one.device === 'cpu') === onCpu && verdict !== 'no',
  )
  if (run === undefined) return undefined
  const { decode, prefill } = run
  return { decode, ...(prefill === undefined ? {} : { prefill }) }
}
