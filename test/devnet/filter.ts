import t from 'tap'
import { matches, parseQuery } from '../../src/devnet/filter.ts'

const EVENTS = { 'tm.event': ['Tx'], 'message.sender': ['pokt1a', 'pokt1b'], 'tx.height': ['12'] }

t.test('conditions hold when one value of their key does', async (t) => {
  const cases: [query: string, holds: boolean][] = [
    ["tm.event='Tx'", true],
    ["tm.event = 'NewBlock'", false],
    ["tm.event='Tx' AND message.sender='pokt1b'", true],
    ["tm.event='Tx' AND message.sender='pokt1c'", false],
    ['tx.height=12', true],
    ['tx.height>11', true],
    ['tx.height>12', false],
    ['tx.height>=12', true],
    ['tx.height<13', true],
    ['tx.height<=11', false],
    ["message.sender CONTAINS '1b'", true],
    ['message.sender EXISTS', true],
    ['message.action EXISTS', false],
    ['constructor EXISTS', false],
  ]
  for (const [query, holds] of cases) t.equal(matches(parseQuery(query), EVENTS), holds, query)
})

t.test('what is no query is refused, with the place', async (t) => {
  for (const query of ['', 'tm.event', "tm.event='", "tm.event='Tx' OR a=1", "tm.event='Tx' AND"])
    t.throws(() => parseQuery(query), { message: /^failed to parse query: offset \d+: / }, query)
  t.throws(() => parseQuery("tm.event='"), { message: 'failed to parse query: offset 10: EOF' })
})
