/** MsgCreateClaim: one refusal for each rule, with its words. */
import t from 'tap'
import { concat, u64 } from '../../src/base/bytes.ts'
import { height } from '../../src/base/units.ts'
import { checkCreateClaim, createClaim, windowsAround } from '../../src/devnet/claims.ts'
import { Refusal } from '../../src/devnet/errors.ts'
import { fork } from '../../src/devnet/state.ts'
import { MsgCreateClaim } from '../../src/protocol/gen/pocket/proof/proof.ts'
import { CUPR, claimMessage, Simchain, typed } from '../support/simchain.ts'
import { rows } from '../support/vectors.ts'

function root(sum: bigint, count: bigint): Uint8Array {
  return concat(new Uint8Array(32).fill(7), u64(sum), u64(count))
}

function refusal(work: () => void): { code: number; codespace: string; log: string } | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { code: error.number, codespace: error.codespace, log: error.message }
  }
}

t.test('the form of a claim, as the chain was seen to judge it', async (t) => {
  const words = new Set(['bad supplier'])
  for (const row of rows<{ msg: string; error: string }>('proof.jsonl', 'create-claim-validate')) {
    const message = MsgCreateClaim.decode(Buffer.from(row.msg, 'hex'))
    const log = refusal(() => checkCreateClaim(message))?.log ?? ''
    if (words.has(row.note ?? '')) t.match(log, /invalid address$/, row.note ?? row.id)
    else t.equal(log, row.error, `${row.id} ${row.note}`)
  }
})

t.test('every rule of a claim refuses in its own words', async (t) => {
  const chain = new Simchain()
  await chain.mineTo(9)
  const header = chain.header(5)
  const good: MsgCreateClaim = {
    supplierOperatorAddress: chain.operator.address,
    sessionHeader: header,
    rootHash: root(CUPR * 2n, 2n),
  }
  const id = header.sessionId
  const cases: [what: string, at: number, change: Partial<MsgCreateClaim>, log: RegExp][] = [
    [
      'unknown application',
      10,
      { sessionHeader: { ...header, applicationAddress: chain.stranger.address } },
      /InvalidArgument desc = could not find app with address "pokt1.*" at height 5: application for session not found not found $/,
    ],
    [
      'application of another service',
      10,
      { sessionHeader: { ...header, serviceId: 'anvil' } },
      /InvalidArgument desc = application "pokt1.*" not staked for service ID "anvil": application in session not staked for requested service$/,
    ],
    [
      'a start that has not come',
      10,
      { sessionHeader: { ...header, sessionStartBlockHeight: 99n, sessionEndBlockHeight: 199n } },
      /InvalidArgument desc = block height 99 is ahead of the last committed block height 10: error during session hydration$/,
    ],
    [
      'another session id',
      10,
      { sessionHeader: { ...header, sessionId: 'ab' } },
      new RegExp(
        `InvalidArgument desc = session ID does not match onchain session ID; expected "${id}", got "ab": invalid session ID$`,
      ),
    ],
    [
      'a supplier that does not serve',
      10,
      { supplierOperatorAddress: chain.rival.address },
      new RegExp(
        `InvalidArgument desc = supplier operator address "pokt1.*" not found in session ID "${id}": supplier not found$`,
      ),
    ],
    [
      'too early',
      9,
      {},
      /FailedPrecondition desc = current block height \(9\) is less than the session's earliest claim commit height \(10\): claim attempted outside of the session's claim window$/,
    ],
    [
      'too late',
      13,
      {},
      /FailedPrecondition desc = current block height \(13\) is greater than session claim window close height \(12\): claim attempted outside of the session's claim window$/,
    ],
    [
      'an end that moves the window',
      10,
      { sessionHeader: { ...header, sessionEndBlockHeight: 9n } },
      /FailedPrecondition desc = current block height \(10\) is less than the session's earliest claim commit height \(14\)/,
    ],
    [
      'a sum that is not so many relays',
      10,
      { rootHash: root(CUPR * 2n + 1n, 2n) },
      /InvalidArgument desc = claim compute units: 8001 is not equal to number of relays 2 \* compute units per relay 4000 for service text-gen: mismatch: claim compute units != number of relays \* service compute units per relay$/,
    ],
  ]
  const { state } = chain.devnet.contextAt(chain.height)
  for (const [what, at, change, log] of cases) {
    const context = { state: fork(state), height: height(at), time: 0n, events: [] }
    const answer = refusal(() => createClaim(context, { ...good, ...change }))
    t.match(answer, { code: 1, codespace: 'undefined', log }, what)
    t.same(context.events, [], `${what}: nothing is told`)
  }
  for (const at of [10, 12]) {
    const context = { state: fork(state), height: height(at), time: 0n, events: [] }
    t.equal(
      refusal(() => createClaim(context, good)),
      undefined,
      `taken at ${at}`,
    )
  }
})

t.test('a service that is gone has no compute units', async (t) => {
  const chain = new Simchain()
  await chain.mineTo(9)
  const state = fork(chain.devnet.contextAt(chain.height).state)
  state.services.delete('text-gen')
  const context = { state, height: height(10), time: 0n, events: [] }
  const message = {
    supplierOperatorAddress: chain.operator.address,
    sessionHeader: chain.header(5),
    rootHash: root(CUPR, 1n),
  }
  t.match(
    refusal(() => createClaim(context, message)),
    { log: /code = NotFound desc = .*service not found$/ },
  )
})

t.test('a claim sent again replaces the first and is told as an update', async (t) => {
  const chain = new Simchain()
  await chain.mineTo(9)
  const header = chain.header(5)
  const claim = (count: bigint) =>
    claimMessage({
      supplierOperatorAddress: chain.operator.address,
      sessionHeader: header,
      rootHash: root(CUPR * count, count),
    })
  const first = await chain.run(chain.operator, [claim(1n)])
  t.match(typed(first.events, 'pocket.proof.EventClaimCreated'), [
    {
      num_relays: '1',
      num_estimated_relays: '1',
      claimed_upokt: '583upokt',
      claim_proof_status_int: 0,
    },
  ])
  const again = await chain.run(chain.operator, [claim(3n)])
  t.match(typed(again.events, 'pocket.proof.EventClaimUpdated'), [{ num_relays: '3' }])
  const { state } = chain.devnet.contextAt(chain.height)
  t.equal(state.claims.entries().length, 1)
})

t.test('any height of the session may be named as its start, and is kept as sent', async (t) => {
  const chain = new Simchain()
  await chain.mineTo(9)
  const sessionHeader = { ...chain.header(5), sessionStartBlockHeight: 6n }
  const result = await chain.run(chain.operator, [
    claimMessage({
      supplierOperatorAddress: chain.operator.address,
      sessionHeader,
      rootHash: root(CUPR, 1n),
    }),
  ])
  t.equal(result.code, 0, result.log)
  const [claim] = chain.devnet.contextAt(chain.height).state.claims.values()
  t.equal(claim?.sessionHeader?.sessionStartBlockHeight, 6n)
})

t.test('two claims in one transaction happen both or not at all', async (t) => {
  const chain = new Simchain()
  await chain.mineTo(9)
  const header = chain.header(5)
  const good = await chain.claim(header, chain.relays(header, 1))
  const bad = claimMessage({
    supplierOperatorAddress: chain.operator.address,
    sessionHeader: header,
    rootHash: root(CUPR + 1n, 1n),
  })
  const result = await chain.run(chain.operator, [good, bad])
  t.match(result, { code: 1, log: /^failed to execute message; message index: 1: / })
  t.same(chain.devnet.contextAt(chain.height).state.claims.entries(), [])
})

t.test('windows go by the parameters of the session that contains the height', async (t) => {
  const chain = new Simchain()
  const { state } = chain.devnet.contextAt(chain.height)
  t.match(windowsAround(state, 8n), {
    claimOpen: 10,
    claimClose: 12,
    proofOpen: 12,
    proofClose: 14,
  })
  t.match(windowsAround(state, 6n), { claimOpen: 10 }, 'rounded to the end')
  t.equal(windowsAround(state, 2n ** 62n).claimOpen > 2 ** 52, true, 'as far ahead as any')
})
