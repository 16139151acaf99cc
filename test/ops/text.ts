import t from 'tap'
import { COLUMNS, earningsLines, reportText, sessionLines } from '../../src/ops/text.ts'
import { report, sessionRow } from '../support/report.ts'

const LONG_REASON =
  'the chain refused the proof: window is not open yet, it opens with the next block and is tried again then'

t.test('a report is as short as this', async (t) => {
  t.equal(
    reportText(report()),
    [
      'pokt-supplier 1.2.3, process 4242, up 1 h 2 min',
      'chain      pocket at height 58',
      'supplier   pokt1x4rdhtep3kvy6vmw2352da95vtnxwggcz027ar  60000 POKT staked, 99.999998 POKT for fees',
      'engine     text-generation: tiny-chat on llamacpp (cpu), ready, 1 of 4 slots, 0 waiting, 813',
      '           tokens/s',
      'relays     12 mined, 3 rejected, 1 running',
      '',
      'sessions   end  service          state    relays  since  reason',
      '           60   text-generation  serving  12      55',
      '',
      'earnings   3 sessions ended, 50 relays, 29.2 POKT settled, 22.4913 POKT paid out',
    ].join('\n'),
  )
})

t.test('problems and what is not known are said', async (t) => {
  const text = reportText(
    report({
      serving: false,
      problems: ['no block for 12 minutes', 'the engine of text-generation is failed'],
      chain: { id: 'pocket', height: 0, planned: 0 },
      suppliers: [{ operator: 'pokt1abc', balanceUpokt: null, stake: null }],
      relays: { mined: 0, inFlight: 0 },
    }),
  )
  for (const line of [
    'up 1 h 2 min, serves nothing new',
    'chain      pocket at height unknown',
    'supplier   pokt1abc  stake unknown, balance unknown',
    'PROBLEM    no block for 12 minutes',
    'PROBLEM    the engine of text-generation is failed',
    'relays     0 mined',
  ])
    t.ok(text.includes(`${line}\n`), `${line} in:\n${text}`)
})

t.test('nothing is wider than 100 columns, whatever it says', async (t) => {
  const service = 's'.repeat(42)
  const text = reportText(
    report({
      problems: [LONG_REASON, LONG_REASON],
      engines: [
        {
          services: ['first-service', service],
          kind: 'llamacpp',
          model: 'a-model-with-a-rather-long-name-q4_k_m',
          device: 'NVIDIA GeForce RTX 3090 Ti, NVIDIA GeForce RTX 3090 Ti',
          state: 'ready',
          slots: 64,
          active: 64,
          queued: 1_000,
          tokensPerSecond: 1_234.5,
        },
      ],
      sessions: [
        sessionRow({ service, sessionEnd: 1_234_567, state: 'claiming', reason: LONG_REASON }),
        sessionRow({ supplier: 'pokt1mrqt5f7qh8uxs27cjm9t7v9e74a9vvdnq5jva4', reason: 'short' }),
      ],
      earnings: {
        ...report().earnings,
        sessions: 123_456,
        served: 12_345_678,
        settledUpokt: '123456789123456',
        rewardsUpokt: '123456789123456',
        lostUpokt: '123456789123456',
        unseenUpokt: '2500000',
        losses: [
          { outcome: 'proof-missed', reason: LONG_REASON, sessions: 12, lostUpokt: '1234567891' },
        ],
      },
    }),
  )
  for (const line of text.split('\n')) t.ok(line.length <= COLUMNS, `${line.length}: ${line}`)
  const squeezed = text.replaceAll(/\s+/g, ' ')
  t.equal(squeezed.split(LONG_REASON).length - 1, 4, 'and nothing of it is cut off')
})

t.test('several suppliers are told apart', async (t) => {
  const [head, first, second] = sessionLines([
    sessionRow(),
    sessionRow({ supplier: 'pokt1mrqt5f7qh8uxs27cjm9t7v9e74a9vvdnq5jva4' }),
  ])
  t.match(head, /service +supplier +state/)
  t.match(first, '…z027ar')
  t.match(second, '…q5jva4')
  t.notMatch(sessionLines([sessionRow(), sessionRow()])[0], 'supplier')
})

t.test('columns stand under their names', async (t) => {
  const lines = sessionLines([
    sessionRow({ service: 'a', state: 'unproven', served: 1 }),
    sessionRow({ service: 'longer-than-that', served: 1_000_000, reason: 'why' }),
  ])
  const starts = (line = '') => [...line.matchAll(/\S+/g)].map(({ index }) => index)
  const [head, first, second] = lines.map(starts)
  t.strictSame(first, head?.slice(1, 6), 'the first name is the label')
  t.strictSame(second, head?.slice(1))
})

t.test('a table has an end', async (t) => {
  const lines = sessionLines(Array.from({ length: 45 }, () => sessionRow()))
  t.equal(lines.length, 1 + 40 + 1)
  t.match(lines.at(-1), 'and 5 more; --json has them all')
  const losses = Array.from({ length: 45 }, (_, i) => ({
    outcome: 'expired',
    reason: `reason ${i}`,
    sessions: 1,
    lostUpokt: '1',
  }))
  const told = earningsLines({ ...report().earnings, lostUpokt: '45', losses })
  t.match(told.at(-1), 'and 5 more; --json has them all')
  t.strictSame(sessionLines([]), ['sessions   none in work'])
})

t.test('losses are told with their reason, and nothing when there are none', async (t) => {
  t.equal(earningsLines(report().earnings).length, 1)
  const lines = earningsLines({
    ...report().earnings,
    lostUpokt: '1500000',
    losses: [
      { outcome: 'claim-missed', reason: 'no node answered', sessions: 2, lostUpokt: '1000000' },
      { outcome: 'unprofitable', reason: 'fees', sessions: 1, lostUpokt: '500000' },
    ],
  })
  t.strictSame(lines.slice(1), [
    'lost       1.5 POKT',
    '           1 POKT in 2 sessions, claim-missed: no node answered',
    '           0.5 POKT in 1 sessions, unprofitable: fees',
  ])
})

t.test('a duration is told in its two largest units', async (t) => {
  const cases = [
    [0, '0 s'],
    [59, '59 s'],
    [60, '1 min'],
    [3_599, '59 min'],
    [3_600, '1 h 0 min'],
    [86_399, '23 h 59 min'],
    [90_000, '1 d 1 h'],
    [8_640_000, '100 d 0 h'],
  ] as const
  for (const [uptimeSeconds, says] of cases) {
    const [first] = reportText(report({ uptimeSeconds })).split('\n')
    t.equal(first, `pokt-supplier 1.2.3, process 4242, up ${says}`, says)
  }
})

t.test('nodes are told when there are several, or when the only one is not well', async (t) => {
  const node = (name: string, height: number, state = 'ok', reason = '') => ({
    name,
    height,
    lag: 0,
    state,
    reason,
  })
  const lines = (...endpoints: ReturnType<typeof node>[]) =>
    reportText(report({ chain: { ...report().chain, endpoints } }))
      .split('\n')
      .filter((line) => line.startsWith('node '))
  t.strictSame(lines(node('a:26657', 58)), [])
  t.strictSame(lines(node('a:26657', 0, 'no-answer', 'no answer: HTTP status 500')), [
    'node       a:26657  no answer: HTTP status 500',
  ])
  t.strictSame(
    lines(
      node('a:26657', 58),
      node('b:26657', 46, 'lagging', 'lagging 12 blocks'),
      node('c:443', 57, 'disagrees', 'disagrees at height 55'),
    ),
    [
      'node       a:26657  ok, at height 58',
      'node       b:26657  lagging 12 blocks, at height 46',
      'node       c:443  disagrees at height 55',
    ],
  )
})
