import t from 'tap'
import { height, ms } from '../../src/base/units.ts'
import { Pace } from '../../src/chain/pace.ts'
import {
  decide,
  firstHeight,
  isCredible,
  standingOf,
  type Voice,
} from '../../src/chain/standing.ts'
import type { NodeStatus } from '../../src/chain/status.ts'

const NOW = ms(1_795_000_000_000)
const NOT_LINKED = { isLinked: false }

function status(over: Partial<NodeStatus> & { at?: number; age?: number } = {}): NodeStatus {
  const { at = 100, age = 0, ...rest } = over
  return {
    chainId: 'pocket',
    height: height(at),
    hash: new Uint8Array(32),
    time: ms(NOW - age),
    catchingUp: false,
    earliest: height(1),
    version: '0.38.22',
    ...rest,
  }
}

t.test('what is thought of an endpoint', async (t) => {
  const head = height(100)
  const cases: [status: NodeStatus, isCredible: boolean, state: string, reason: string][] = [
    [status(), true, 'ok', ''],
    [status({ at: 95 }), true, 'ok', ''],
    [status({ at: 94 }), true, 'lagging', 'lagging 6 blocks'],
    [status({ at: 88 }), true, 'lagging', 'lagging 12 blocks'],
    [status({ at: 100, catchingUp: true }), true, 'catching-up', 'catching up, at height 100'],
    [status({ at: 101 }), false, 'ok', ''],
    [status({ at: 102 }), true, 'ok', ''],
    [status({ at: 102 }), false, 'ahead', 'claims height 102, the chain is at 100'],
  ]
  for (const [said, credible, state, reason] of cases)
    t.same(standingOf(said, head, credible), { state, reason }, `${said.height} ${state}`)
})

t.test('a height that one alone claims needs the time to come about', async (t) => {
  const usual = ms(30_000)
  const cases: [claimed: number, others: number[], elapsed: number, believed: boolean][] = [
    [1_000_000, [], 0, true],
    [101, [101], 0, true],
    [105, [100, 106], 0, true],
    [101, [100], 9_999, false],
    [101, [100], 10_000, true],
    [103, [100], 29_999, false],
    [103, [100], 30_000, true],
    [1_000_000, [100, 100], 86_400_000, false],
  ]
  for (const [claimed, others, elapsed, believed] of cases) {
    const moment = { head: height(100), others: others.map(height), elapsed: ms(elapsed), usual }
    t.equal(isCredible(height(claimed), moment), believed, `${claimed} after ${elapsed} ms`)
  }
})

t.test('where to begin', async (t) => {
  const old = 301_000
  const cases: [name: string, statuses: NodeStatus[], expected: number | undefined][] = [
    ['nobody', [], undefined],
    ['one', [status({ at: 7 })], 7],
    ['two that are near', [status({ at: 95 }), status({ at: 100 })], 100],
    ['one that is far ahead', [status({ at: 9_000 }), status({ at: 100 })], 100],
    ['one that is far behind', [status({ at: 50, age: old }), status({ at: 100 })], 100],
    ['two against one', [status({ at: 101 }), status({ at: 9_000 }), status({ at: 100 })], 101],
    ['a clock of ours that is wrong', [status({ age: old }), status({ at: 98, age: old })], 100],
  ]
  for (const [name, statuses, expected] of cases)
    t.equal(firstHeight(statuses, NOW), expected, name)
})

t.test('which of several voices is right', async (t) => {
  const voice = (index: number, hash: number, over: Partial<Voice> = {}): Voice => ({
    index,
    hash: new Uint8Array(32).fill(hash),
    isConsistent: true,
    isLinked: true,
    height: height(100),
    ...over,
  })
  const cases: [name: string, voices: Voice[], expected: number | undefined][] = [
    ['nobody', [], undefined],
    ['most', [voice(0, 1), voice(1, 2), voice(2, 2)], 1],
    ['most, though not linked', [voice(0, 1), ...[1, 2].map((i) => voice(i, 2, NOT_LINKED))], 1],
    ['linked', [voice(0, 1, NOT_LINKED), voice(1, 2)], 1],
    ['longer', [voice(0, 1), voice(1, 2, { height: height(101) })], 1],
    ['linked before longer', [voice(0, 1, { ...NOT_LINKED, height: height(101) }), voice(1, 2)], 1],
    ['preferred', [voice(1, 2), voice(0, 1)], 0],
    ['consistent', [voice(0, 1, { isConsistent: false }), voice(1, 2, NOT_LINKED)], 1],
    ['nobody consistent', [0, 1].map((i) => voice(i, i, { isConsistent: false })), 0],
  ]
  for (const [name, voices, expected] of cases) t.equal(decide(voices)?.index, expected, name)
})

t.test('the usual pace is that of the last blocks', async (t) => {
  const pace = new Pace()
  t.equal(pace.elapsed(ms(5)), 0)
  pace.note(height(100), ms(0))
  t.equal(pace.usual, 30_000, 'before it is known')
  pace.note(height(102), ms(8_000))
  t.equal(pace.usual, 4_000, 'a leap counts as its blocks')
  for (let at = 103; at < 130; at++) pace.note(height(at), ms(8_000 + (at - 102) * 1_000))
  t.equal(pace.usual, 1_000, 'what is long past is forgotten')
  t.equal(pace.elapsed(ms(36_000)), 1_000)
})
