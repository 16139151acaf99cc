/** Sessions that a real chain settled, run again: the same answers and the same events. */
import t, { type Test } from 'tap'
import { base64, unbase64, unhex } from '../../src/base/bytes.ts'
import { coin, upokt } from '../../src/base/units.ts'
import { createClaim } from '../../src/devnet/claims.ts'
import { changeParams } from '../../src/devnet/params.ts'
import { submitProof } from '../../src/devnet/proofs.ts'
import { MsgCreateClaim, MsgSubmitProof } from '../../src/protocol/gen/pocket/proof/proof.ts'
import {
  ended,
  RecordedChain,
  type RecordedEvent,
  type RecordedResult,
} from '../support/recorded-chain.ts'
import { json } from '../support/vectors.ts'

const UNORDERED = ['EventSettlementBatch', 'EventProofValidityChecked']

interface Answer {
  readonly name: string
  readonly response: {
    readonly result: {
      readonly txs_results: RecordedResult[] | null
      readonly finalize_block_events: RecordedEvent[]
      readonly block: { readonly data: { readonly txs: string[] } }
    }
  }
}

interface Tx {
  readonly height: number
  readonly tx_hex: string
  readonly result: RecordedResult
}

const answers = json<Answer[]>('chain/rpc.json')
const txs = json<Record<string, Tx>>('chain/txs.json')

function answer(name: string) {
  const found = answers.find((one) => one.name === name)
  if (found === undefined) throw new RangeError(`no recording ${name}`)
  return found.response.result
}

function replay(
  t: Test,
  chain: RecordedChain,
  at: number,
  bytes: Uint8Array,
  expected: RecordedResult,
  name: string,
) {
  const result = chain.deliver(at, bytes)
  t.equal(result.log, expected.log, `${name}: log`)
  t.equal(result.code, expected.code, `${name}: code`)
  t.equal(result.codespace, expected.codespace, `${name}: codespace`)
  t.equal(String(result.gasWanted), expected.gas_wanted, `${name}: gas wanted`)
  t.equal(result.data && base64(result.data), expected.data ?? undefined, `${name}: data`)
  t.same(result.events, expected.events, `${name}: events`)
  const share = Number(result.gasUsed) / Number(expected.gas_used)
  const [least, most] = result.code === 0 ? [0.85, 1.15] : [0.75, 1.25]
  t.ok(share > least && share < most, `${name}: gas ${result.gasUsed} of ${expected.gas_used}`)
}

function replayTx(t: Test, chain: RecordedChain, name: string) {
  const tx = txs[name]
  if (tx === undefined) throw new RangeError(`no transaction ${name}`)
  replay(t, chain, tx.height, unhex(tx.tx_hex), tx.result, name)
}

/**
 * The bank's operations come by recipient, and the validator has another address here. Proofs are judged
 * side by side on a real node, in no fixed order.
 */
function sameEnd(t: Test, chain: RecordedChain, at: number, name: string) {
  const [made, expected] = [chain.end(at), ended(answer(name).finalize_block_events)]
  const said = (events: RecordedEvent[]) =>
    events.filter(
      ({ type }) => type.startsWith('pocket.') && !UNORDERED.some((name) => type.endsWith(name)),
    )
  t.same(said(made), said(expected), `${name}: what is said, in order`)
  const sorted = (events: RecordedEvent[]) => events.map((event) => JSON.stringify(event)).sort()
  t.same(sorted(made), sorted(expected), `${name}: everything`)
}

t.test('staking a supplier', async (t) => {
  const chain = new RecordedChain()
  const operator = chain.address('supplier1')
  const account = chain.state.accounts.get(operator)
  chain.state.accounts.set(operator, { number: account?.number ?? 0n, sequence: 0n })
  replayTx(t, chain, 'stake_supplier')
  const supplier = chain.state.suppliers.get(operator)
  t.equal(supplier?.serviceConfigHistory[0]?.activationHeight, 11n)
})

t.test('sessions of the recorded chain, from their claims to their settlement', async (t) => {
  const chain = new RecordedChain()
  chain.supplier('supplier1', 'owner1', 11n, 'http://127.0.0.1:18545')
  chain.supplier('supplier3', 'owner3', 21n, 'http://127.0.0.1:9')

  await t.test('A: two claims and a rival, among refused ones', async (t) => {
    for (const at of [73, 77]) {
      const { txs_results: results } = answer(`block_results_A_${at}`)
      const { block } = answer(`block_A_${at}`)
      for (const [i, tx] of block.data.txs.entries()) {
        const expected = results?.[i]
        if (expected !== undefined) replay(t, chain, at, unbase64(tx), expected, `${at}/${i}`)
      }
      sameEnd(t, chain, at, `block_results_A_${at}`)
    }
    sameEnd(t, chain, 80, 'block_results_A_80')
  })

  await t.test('B: a proof that is found invalid, and one that is missing', async (t) => {
    for (const { claims } of sessions('B1', 'B2')) claim(chain, claims)
    const [tx = ''] = answer('block_B_107').block.data.txs
    const [expected] = answer('block_results_B_107').txs_results ?? []
    if (expected !== undefined) replay(t, chain, 107, unbase64(tx), expected, '107')
    sameEnd(t, chain, 107, 'block_results_B_107')
    sameEnd(t, chain, 110, 'block_results_B_110')
  })

  await t.test('C: sixty relays raise the difficulty', async (t) => {
    replayTx(t, chain, 'create_claim_C')
    replayTx(t, chain, 'submit_proof_C')
    chain.end(137)
    sameEnd(t, chain, 140, 'block_results_C_140')
  })

  await t.test('D: claimed under the raised difficulty', async (t) => {
    replayTx(t, chain, 'create_claim_D')
    replayTx(t, chain, 'submit_proof_D')
    chain.end(167)
    sameEnd(t, chain, 170, 'block_results_D_170')
  })

  await t.test('E: no proof is due, and one is refused', async (t) => {
    const [session] = sessions('E')
    changeParams(chain.context(190, 0n), 'proof', {
      proofRequestProbability: 0,
      proofRequirementThreshold: coin(upokt(10n ** 12n)),
    })
    claim(chain, session?.claims ?? [])
    const [proof] = session?.proofs ?? []
    const message = MsgSubmitProof.decode(unhex(proof?.message_hex ?? ''))
    t.throws(() => submitProof(chain.context(197, 0n), message), {
      message: 'rpc error: code = FailedPrecondition desc = proof not required',
    })
    const settled = chain.end(200).find(({ type }) => type.endsWith('EventClaimSettled'))
    const recorded = session?.events.find(({ type }) => type.endsWith('EventClaimSettled'))
    const told = Object.fromEntries(
      (settled?.attributes ?? []).map(({ key, value }) => [
        key,
        key === 'mode' ? value : JSON.parse(value),
      ]),
    )
    t.match(told, recorded?.attributes)
  })

  await t.test('new services, and unstaking', async (t) => {
    replayTx(t, chain, 'stake_supplier_services_only')
    // The recording does not tell what of supplier3 had been slashed before.
    replayTx(t, chain, 'unstake_supplier')
    sameEnd(t, chain, 220, 'block_results_unbonding_end_220')
    t.equal(chain.state.suppliers.get(chain.address('supplier3')), undefined)
  })
})

interface Sent {
  readonly height: number
  readonly code: number
  readonly message_hex: string
}

interface Session {
  readonly tag: string
  readonly claims: readonly Sent[]
  readonly proofs: readonly Sent[]
  readonly events: readonly { in: string; type: string; attributes: Record<string, unknown> }[]
}

function sessions(...tags: string[]): Session[] {
  return json<Session[]>('chain/sessions.json').filter(({ tag }) => tags.includes(tag))
}

function claim(chain: RecordedChain, sent: readonly Sent[]): void {
  for (const { height, message_hex } of sent)
    createClaim(chain.context(height, 0n), MsgCreateClaim.decode(unhex(message_hex)))
}
