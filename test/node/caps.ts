import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { silentLog } from '../../src/base/log.ts'
import { GpuError } from '../../src/gpu/errors.ts'
import type { GpuSample } from '../../src/gpu/sample.ts'
import { Caps, CapsFile } from '../../src/node/caps.ts'
import { never } from '../contract/backend-asks.ts'

const card = (id: string): GpuSample => ({
  ...{ id, vendor: 'nvidia', index: 0, name: id, isShared: false, isAsleep: false },
})

function setUp(left: Record<string, number> = {}) {
  const calls: string[] = []
  const refuses = new Set<string>()
  const caps = {
    adopt: ({ id }: GpuSample, watts: number) => void calls.push(`${id} had ${watts}`),
    capPower: async ({ id }: GpuSample, watts: number) => {
      calls.push(`${id} ${watts}`)
      if (refuses.has(id)) throw new GpuError('POWER_DENIED', `not allowed for ${id}`)
    },
    restore: async (_: AbortSignal, id = 'all') => {
      calls.push(`${id} back`)
      if (refuses.has(id)) throw new GpuError('POWER_DENIED', `not allowed for ${id}`)
    },
  }
  const subject = new Caps({ caps, log: silentLog(), left: new Map(Object.entries(left)) }, 220)
  const follow = async (...ids: string[]) => {
    subject.follow(ids.map(card), never())
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { calls, refuses, subject, follow }
}

t.test('a card has its limit while it serves, and its own one back', async (t) => {
  const { calls, subject, follow } = setUp()
  await follow('a')
  await follow('a')
  t.strictSame(calls, ['a 220'], 'once')
  await follow('a', 'b')
  await follow('b')
  t.strictSame(calls, ['a 220', 'b 220', 'a back'])
  await subject.restore(never())
  t.equal(calls.at(-1), 'b back')
  await subject.restore(never())
  t.equal(calls.length, 4, 'nothing is left')
})

t.test('a card that takes none serves all the same, and it is said', async (t) => {
  const { calls, refuses, subject, follow } = setUp()
  refuses.add('a')
  await follow('a')
  await follow('a')
  t.equal(calls.length, 1, 'it is not asked again')
  t.match(subject.problems(), [/machine.powerLimit: POWER_DENIED: not allowed for a/])
  await follow()
  t.strictSame(subject.problems(), [])
})

t.test('a limit that was not put back is tried again', async (t) => {
  const { calls, refuses, follow } = setUp()
  await follow('a')
  refuses.add('a')
  await follow()
  refuses.clear()
  await follow()
  await follow()
  t.strictSame(calls, ['a 220', 'a back', 'a back'])
})

t.test('a limit that a kill left behind is known again', async (t) => {
  const { calls, follow } = setUp({ a: 350, gone: 300 })
  await follow('a')
  await follow()
  t.strictSame(calls, ['a had 350', 'a 220', 'a back'])
  const file = new CapsFile(join(t.testdir(), 'power.json'))
  t.equal((await file.read()).size, 0)
  await file.write(new Map([['a', 350]]))
  t.strictSame([...(await file.read())], [['a', 350]])
  await writeFile(join(t.testdirName, 'power.json'), 'cut')
  t.equal((await file.read()).size, 0)
})
