import t from 'tap'
import { height, type Ms, ms } from '../../src/base/units.ts'
import { BlockStory } from '../../src/cli/story.ts'
import type { Block } from '../../src/devnet/archive.ts'
import type { Event } from '../../src/devnet/events.ts'
import { typedEvent } from '../../src/devnet/events.ts'
import { ManualClock } from '../support/clock.ts'

const NOWHERE = new Uint8Array(0)

function block(at: number, events: readonly Event[], inTransactions: readonly Event[] = []): Block {
  return {
    height: height(at),
    hash: NOWHERE,
    time: 0n,
    previous: NOWHERE,
    dataHash: NOWHERE,
    appHash: NOWHERE,
    nextAppHash: NOWHERE,
    transactions: [],
    results: [{ events: [...inTransactions] } as never],
    events: [...events],
  }
}

function story(): BlockStory {
  return new BlockStory(undefined as never)
}

const relays = { num_relays: 30n }

t.test('a block without news is no line', async (t) => {
  t.equal(story().tell(block(3, [])), '')
  const other = typedEvent('pocket.session.EventSomethingElse', {})
  t.equal(story().tell(block(3, [other])), '')
})

t.test('claim, proof and settlement are told and counted', async (t) => {
  const told = story()
  const claim = typedEvent('pocket.proof.EventClaimCreated', {
    ...relays,
    claimed_upokt: '17518upokt',
  })
  t.equal(told.tell(block(21, [], [claim])), 'block   21  CLAIM of 30 relays, worth 0.017518 POKT')
  const proof = typedEvent('pocket.proof.EventProofSubmitted', relays)
  const valid = typedEvent('pocket.proof.EventProofValidityChecked', { failure_reason: '' })
  t.equal(
    told.tell(block(25, [valid], [proof])),
    'block   25  PROOF for 30 relays submitted | proof valid',
  )
  const settled = typedEvent('pocket.tokenomics.EventClaimSettled', {
    ...relays,
    settled_upokt: '17518upokt',
  })
  t.equal(told.tell(block(28, [settled])), 'block   28  SETTLED 30 relays at 0.017518 POKT')
  t.match(told.facts, { claims: 1, proofs: 1, settled: 1 })
})

t.test('what goes wrong on the chain is told too', async (t) => {
  const invalid = typedEvent('pocket.proof.EventProofValidityChecked', { failure_reason: 'root' })
  const expired = typedEvent('pocket.tokenomics.EventClaimExpired', {
    expiration_reason: 'PROOF_MISSING',
  })
  const told = story()
  t.equal(told.tell(block(1, [invalid])), 'block    1  proof INVALID: root')
  t.equal(told.tell(block(2, [expired])), 'block    2  claim EXPIRED: PROOF_MISSING')
  t.equal(told.facts.settled, 0)
})

t.test('relays are told with their speed, once', async (t) => {
  const told = story()
  told.answered({ prompt: 'What is 1 + 1?', text: '2', tokens: 30 }, ms(100))
  told.answered({ prompt: 'Who are you?', text: 'A model', tokens: 50 }, ms(300))
  t.equal(
    told.tell(block(7, [])),
    'block    7  2 relays, 200 tokens/s  "Who are you?" -> "A model"',
  )
  t.equal(told.tell(block(8, [])), '')
  t.strictSame(told.facts, {
    relays: 2,
    tokens: 80,
    seconds: 0.4,
    claims: 0,
    proofs: 0,
    settled: 0,
  })
})

t.test('an answer stays one line, whatever a model says', async (t) => {
  const told = story()
  const text = `one\ntwo\u001b[31m${'x'.repeat(10_000)}`
  told.answered({ prompt: 'p', text, tokens: 1 }, ms(0))
  const line = told.tell(block(1, []))
  t.equal(line.split('\n').length, 1)
  t.notMatch(line, '\u001b')
  t.ok(line.length < 200, `${line.length}`)
})

t.test('it waits until the chain has paid, but not for ever', async (t) => {
  const clock = new ManualClock()
  const told = story()
  const never = new AbortController().signal
  let over = false
  const waiting = told.paid(never, clock, 1_000 as Ms).then(() => {
    over = true
  })
  await clock.advance(900)
  t.equal(over, false)
  for (let i = 0; i < 3; i++) await clock.advance(100)
  t.equal(over, true, 'the limit')
  await waiting

  const settled = typedEvent('pocket.tokenomics.EventClaimSettled', {
    ...relays,
    settled_upokt: '1upokt',
  })
  told.tell(block(1, [settled]))
  await told.paid(never, clock, 1_000 as Ms)

  const stop = new AbortController()
  const interrupted = story().paid(stop.signal, clock, 1_000 as Ms)
  stop.abort(new Error('stopped'))
  await t.rejects(interrupted, { message: 'stopped' })
})
