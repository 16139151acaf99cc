import fc from 'fast-check'
import t from 'tap'
import { parseIoreg } from '../../src/gpu/apple.ts'
import { recorded } from '../support/gpu/recorded.ts'

t.test('an Apple processor', async (t) => {
  const text = recorded('apple-m2.ioreg.txt')
  t.strictSame(parseIoreg(text, 16 * 1024 ** 3), {
    ...{ id: 'apple', vendor: 'apple', index: 0, isShared: true, isAsleep: false },
    ...{ name: 'Apple M2 (10 cores)', memoryTotal: 16 * 1024 ** 3 },
    ...{ memoryUsed: 478_052_352, load: 0.08 },
  })
  const quiet = parseIoreg(text.replace('"Device Utilization %"=8', '"Device Utilization %"=0'))
  t.equal(quiet?.load, 0, 'no load is 0')
  const silent = parseIoreg(text.replace('"Device Utilization %"=8,', ''))
  t.notOk('load' in (silent ?? {}))
})

t.test('cards of others are passed over', async (t) => {
  const others = recorded('apple-intel.ioreg.txt')
  t.equal(parseIoreg(others), undefined)
  t.match(parseIoreg(others + recorded('apple-m2.ioreg.txt')), { load: 0.08 })
  t.equal(parseIoreg(''), undefined)
})

t.test('no text makes it fail, or gives a number that is none', async () => {
  const parts = fc.constantFrom(
    '"PerformanceStatistics" = {',
    '"Device Utilization %"=',
    '}',
    '99',
    '-1',
    '1e9',
    'AGX',
    '+-o AGXA',
    '"model" = "Apple M2"',
    '\n',
  )
  fc.assert(
    fc.property(fc.array(fc.oneof(parts, fc.string()), { maxLength: 30 }), (words) => {
      const { load = 0, memoryUsed = 0 } = parseIoreg(words.join('')) ?? {}
      return load >= 0 && load <= 1 && memoryUsed >= 0
    }),
  )
})
