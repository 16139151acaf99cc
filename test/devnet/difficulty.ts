import t from 'tap'
import { hex, unhex } from '../../src/base/bytes.ts'
import { height } from '../../src/base/units.ts'
import { Archive } from '../../src/devnet/archive.ts'
import {
  difficultyAt,
  liveDifficulty,
  movingAverage,
  targetFor,
  updateDifficulty,
} from '../../src/devnet/difficulty.ts'
import { devnetGenesis, writeGenesis } from '../../src/devnet/genesis.ts'
import type { Context } from '../../src/devnet/state.ts'
import { typed } from '../support/simchain.ts'
import { rows } from '../support/vectors.ts'

const EASIEST = 'f'.repeat(64)

interface Target {
  readonly prev: string
  readonly target_num_relays: string
  readonly ema: string
  readonly new: string
  readonly panic: string
}

t.test('targets are those of the chain, scaled from the easiest', async (t) => {
  // Averages of 2^63 and more, which the chain reads as negative, are out of reach.
  const scaled = rows<Target>('relay.jsonl', 'new-target').filter(
    ({ prev, panic, ema }) => prev === EASIEST && panic === '' && BigInt(ema) < 2n ** 63n,
  )
  t.ok(scaled.length >= 5)
  for (const row of scaled) {
    const target = targetFor(BigInt(row.target_num_relays), BigInt(row.ema))
    t.equal(hex(target), row.new, row.id)
  }
  t.equal(hex(targetFor(50n, 100n)), `7${'f'.repeat(63)}`)
  t.equal(hex(targetFor(50n, 6400n)), `01${'f'.repeat(62)}`)
  t.equal(hex(targetFor(50n, 0n)), EASIEST)
})

t.test('the average is cut as Go cuts it', async (t) => {
  const cases: [before: bigint, now: bigint, after: bigint][] = [
    [6n, 6n, 6n],
    [6n, 60n, 11n],
    [11n, 32n, 13n],
    [13n, 7n, 12n],
    [10n, 0n, 8n],
    [0n, 10n, 1n],
    [1n, 1n, 1n],
    [100n, 200n, 110n],
    [2n ** 60n, 2n ** 60n, 2n ** 60n],
  ]
  for (const [before, now, after] of cases)
    t.equal(movingAverage(before, now), after, `${before}, ${now}`)
})

t.test('a new target holds from the next session on, and is known at once', async (t) => {
  const state = new Archive(10).stateAt(0)
  const service = { id: 'text-gen', computeUnitsPerRelay: 1n }
  writeGenesis(
    state,
    devnetGenesis({ services: [service], params: { service: { targetNumRelays: 50n } } }),
  )
  const at = (now: number): Context => ({ state, height: height(now), time: 0n, events: [] })
  t.equal(hex(difficultyAt(state, 'text-gen', 1).targetHash), EASIEST)
  t.match(liveDifficulty(at(2), 'text-gen'), { blockHeight: 2n, numRelaysEma: 50n })

  const context = at(10)
  updateDifficulty(context, new Map([['text-gen', 100n]]))
  const target = unhex(`7${'f'.repeat(63)}`)
  t.same(liveDifficulty(at(10), 'text-gen'), {
    serviceId: 'text-gen',
    blockHeight: 13n,
    numRelaysEma: 100n,
    targetHash: target,
  })
  t.same(difficultyAt(state, 'text-gen', 13).targetHash, target)
  t.equal(difficultyAt(state, 'text-gen', 12).numRelaysEma, 100n, 'the first is its own average')
  t.equal(difficultyAt(state, 'text-gen', 9).blockHeight, 0n, 'before the history there is none')
  t.match(typed(context.events, 'pocket.service.EventRelayMiningDifficultyUpdated'), [
    { prev_num_relays_ema: '100', new_num_relays_ema: '100', service_id: 'text-gen' },
  ])

  updateDifficulty(at(11), new Map([['text-gen', 0n]]))
  t.equal(difficultyAt(state, 'text-gen', 13).numRelaysEma, 89n, 'one entry for each session')
  t.equal(state.difficultyHistory.get('text-gen')?.length, 2)
})
