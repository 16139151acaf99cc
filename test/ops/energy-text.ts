import t from 'tap'
import { energyText } from '../../src/ops/energy-text.ts'
import { type EnergyReport, energyReport, readReport } from '../../src/ops/report.ts'
import { COLUMNS, reportText } from '../../src/ops/text.ts'
import { type EnergyFigures, NO_ENERGY, NOBODY } from '../../src/store/energy.ts'
import { report } from '../support/report.ts'

const energy = (over: Partial<EnergyReport> = {}): EnergyReport => ({
  ...{ measured: true, watts: 212.4, joulesPerToken: 3.1, joulesPerRelay: 820.2 },
  ...{ kWh: 1.42, powerPrice: 0.31, cost: 0.4402, since: '2026-11-01' },
  ...over,
})

const totals = (services: Readonly<Record<string, Partial<EnergyFigures>>>) => ({
  since: '2026-11-01',
  services: new Map(
    Object.entries(services).map(([id, over]) => [id, { ...NO_ENERGY, ...over }] as const),
  ),
})

t.test('power is told in one sentence', async (t) => {
  const cases: readonly (readonly [over: Partial<EnergyReport>, says: string])[] = [
    [{}, '212 W now; 3.1 J a token, 820 J a relay, 1.42 kWh since 2026-11-01 (0.44 at 0.31 a kWh)'],
    [
      { watts: null, joulesPerToken: null, joulesPerRelay: null, cost: null, powerPrice: null },
      '1.42 kWh since 2026-11-01',
    ],
    [
      { watts: 0, joulesPerToken: 0.0421, joulesPerRelay: 9.96, kWh: 0.004 },
      '0 W now; 0.042 J a token, 10.0 J a relay, 4.0 Wh since 2026-11-01 (0.44 at 0.31 a kWh)',
    ],
    [
      { joulesPerToken: 0, joulesPerRelay: null, cost: 0.001, kWh: 0.0997 },
      '212 W now; 0.0 J a token, 100 Wh since 2026-11-01 (less than 0.01 at 0.31 a kWh)',
    ],
    [{ joulesPerToken: null, joulesPerRelay: null, kWh: 0, cost: 0, since: null }, '212 W now'],
    [
      { cost: 0, powerPrice: 0, joulesPerToken: null, joulesPerRelay: null },
      '212 W now; 1.42 kWh since 2026-11-01 (0.00 at 0 a kWh)',
    ],
    [{ measured: false }, 'not known: no card that serves tells what it draws'],
  ]
  for (const [over, says] of cases) t.equal(energyText(energy(over)), says, says)
})

t.test('status has a line for it, where there is something to tell', async (t) => {
  const lines = reportText(report({ energy: energy() })).split('\n')
  t.ok(lines.includes(`power      ${energyText(energy())}`), lines.join('\n'))
  t.notMatch(reportText(report()), 'power')
  const long = energy({ joulesPerRelay: 123_456_789, kWh: 123_456.78, cost: 99_999_999.5 })
  for (const line of reportText(report({ energy: long })).split('\n'))
    t.ok(line.length <= COLUMNS, `${line.length}: ${line}`)
})

t.test('the report of it is read back, and a wrong one is not', async (t) => {
  const said = report({ energy: energy() })
  t.strictSame(readReport(JSON.parse(JSON.stringify(said))), said)
  const nulls = { watts: null, joulesPerToken: null, joulesPerRelay: null }
  const bare = report({ energy: energy({ ...nulls, powerPrice: null, cost: null, since: null }) })
  t.strictSame(readReport(bare), bare)
  t.equal(readReport({ ...said, energy: { ...energy(), kWh: -1 } }), undefined)
  t.equal(readReport({ ...said, energy: { ...energy(), watts: '212' } }), undefined)
})

t.test('joules are of the work, kWh of all', async (t) => {
  const work = { relays: 4, promptTokens: 30, completionTokens: 70, joules: 1_800_000, seconds: 60 }
  const told = energyReport(totals({ llm: work, [NOBODY]: { joules: 1_800_000, seconds: 60 } }), {
    watts: 99,
    powerPrice: 0.5,
  })
  t.strictSame(told, {
    ...{ measured: true, watts: 99, joulesPerToken: 18_000, joulesPerRelay: 450_000 },
    ...{ kWh: 1, powerPrice: 0.5, cost: 0.5, since: '2026-11-01' },
  })
  const onProcessor = { relays: 1_000, promptTokens: 1_000, completionTokens: 1_000 }
  t.match(
    energyReport(totals({ llm: work, other: onProcessor })),
    { joulesPerToken: 18_000, joulesPerRelay: 450_000, watts: null, powerPrice: null, cost: null },
    'a model on the processor does not make the cards look cheap',
  )
})

t.test('what is not known is null, and nothing at all is no report', async (t) => {
  t.equal(energyReport({ services: new Map() }), undefined)
  t.equal(energyReport(totals({ llm: {} })), undefined)
  t.match(energyReport(totals({ llm: { relays: 3, promptTokens: 5 } }), { powerPrice: 1 }), {
    ...{ measured: false, watts: null, joulesPerToken: null, joulesPerRelay: null },
    ...{ kWh: 0, cost: null },
  })
  t.match(energyReport({ services: new Map() }, { watts: 20 }), {
    ...{ measured: true, watts: 20, kWh: 0, since: null },
  })
  t.match(energyReport(totals({ [NOBODY]: { joules: 36, seconds: 1 } })), {
    ...{ measured: true, joulesPerToken: null, joulesPerRelay: null, kWh: 0.00001 },
  })
  t.match(energyReport(totals({ llm: { relays: 1, joules: 5, seconds: 1 } })), {
    ...{ joulesPerToken: null, joulesPerRelay: 5 },
  })
})
