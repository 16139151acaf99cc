/** Golden data of test/vectors, read row by row. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../src/config/root.ts'
import { Params } from '../../src/protocol/gen/pocket/shared/shared.ts'

const folder = join(packageRoot(), 'test', 'vectors')

export interface Row {
  id: string
  kind: string
  note?: string
}

/** The rows of one kind of a `.jsonl` file; an unknown kind is a mistake in the test. */
export function rows<T>(file: string, kind: string): (T & Row)[] {
  const all = readFileSync(join(folder, file), 'utf8').trimEnd().split('\n')
  const found = all.map((line) => JSON.parse(line) as T & Row).filter((row) => row.kind === kind)
  if (found.length === 0) throw new RangeError(`${file} has no rows of kind ${kind}`)
  return found
}

/** A whole `.json` file. */
export function json<T>(file: string): T {
  return JSON.parse(readFileSync(join(folder, file), 'utf8')) as T
}

/** Shared parameters as the golden data writes them: snake case, integers as text. */
export type ParamsJson = Readonly<Record<string, string>>

export function paramsOf(source: ParamsJson): Params {
  const big = (name: string) => BigInt(source[name] ?? '0')
  return Params.fromPartial({
    numBlocksPerSession: big('num_blocks_per_session'),
    gracePeriodEndOffsetBlocks: big('grace_period_end_offset_blocks'),
    claimWindowOpenOffsetBlocks: big('claim_window_open_offset_blocks'),
    claimWindowCloseOffsetBlocks: big('claim_window_close_offset_blocks'),
    proofWindowOpenOffsetBlocks: big('proof_window_open_offset_blocks'),
    proofWindowCloseOffsetBlocks: big('proof_window_close_offset_blocks'),
    computeUnitsToTokensMultiplier: big('compute_units_to_tokens_multiplier'),
    computeUnitCostGranularity: big('compute_unit_cost_granularity'),
    sessionGridAnchorHeight: big('session_grid_anchor_height'),
    sessionNumberAtAnchor: big('session_number_at_anchor'),
  })
}
