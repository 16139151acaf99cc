/** MsgSubmitProof: one refusal for each rule, with its words; the fee; the requirement. */
import t from 'tap'
import { utf8 } from '../../src/base/bytes.ts'
import { coin, height, upokt } from '../../src/base/units.ts'
import { RingVerifier } from '../../src/crypto/ring.ts'
import { Refusal } from '../../src/devnet/errors.ts'
import { checkSubmitProof, submitProof } from '../../src/devnet/proofs.ts'
import { claimKey, fork, paramsOf, type State } from '../../src/devnet/state.ts'
import { verdict } from '../../src/devnet/verdict.ts'
import { MsgSubmitProof } from '../../src/protocol/gen/pocket/proof/proof.ts'
import { balance, Simchain, typed } from '../support/simchain.ts'
import { rows } from '../support/vectors.ts'

const ALWAYS = { params: { proof: { proofRequestProbability: 1 } } }

function refusal(work: () => void): string {
  try {
    work()
    return ''
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return error.message
  }
}

/** A chain at the opening of the proof window of the session 5 … 8, with a claim of three relays. */
async function claimed(input = ALWAYS as object) {
  const chain = new Simchain(input)
  await chain.mineTo(5)
  const header = chain.header()
  const relays = chain.relays(header, 3)
  await chain.mineTo(9)
  await chain.run(chain.operator, [await chain.claim(header, relays)])
  await chain.mineTo(11)
  const any = await chain.proof(header, relays, { seed: 11 })
  return { chain, header, relays, message: MsgSubmitProof.decode(any.value), any }
}

t.test('the form of a proof, as the chain was seen to judge it', async (t) => {
  for (const row of rows<{ msg: string; error: string }>('proof.jsonl', 'submit-proof-validate')) {
    const message = MsgSubmitProof.decode(Buffer.from(row.msg, 'hex'))
    t.equal(
      refusal(() => checkSubmitProof(message)),
      row.error,
      `${row.id} ${row.note}`,
    )
  }
})

t.test('every rule of a proof refuses in its own words', async (t) => {
  const { chain, header, relays, message } = await claimed()
  const { state } = chain.devnet.contextAt(chain.height)
  const key = claimKey(header.sessionId, chain.operator.address)
  const at = (h: number, change: (state: State) => void = () => {}) => {
    const own = fork(state)
    change(own)
    return { state: own, height: height(h), time: 0n, events: [] }
  }
  const withClaim = (change: object) => (own: State) => {
    const claim = own.claims.get(key)
    if (claim?.sessionHeader === undefined) throw new RangeError('no claim')
    const sessionHeader = { ...claim.sessionHeader, ...change }
    own.claims.set(key, { ...claim, sessionHeader })
  }
  const stranger = chain.relay(header, 'for another', { operator: chain.rival })
  const foreign = await chain.proof(header, [stranger], { path: new Uint8Array(32) })
  const other = chain.relays({ ...header, sessionEndBlockHeight: 9n }, 1)
  const shifted = await chain.proof(header, other, { path: new Uint8Array(32) })
  const cases: [
    what: string,
    context: ReturnType<typeof at>,
    change: Partial<MsgSubmitProof>,
    log: RegExp,
  ][] = [
    [
      'another session id',
      at(12),
      { sessionHeader: { ...header, sessionId: 'ab' } },
      /session ID does not match onchain session ID; .*: invalid session ID$/,
    ],
    [
      'a supplier that does not serve',
      at(12),
      { supplierOperatorAddress: chain.rival.address },
      /not found in session ID ".*": supplier not found$/,
    ],
    [
      'too early',
      at(11),
      {},
      /current block height \(11\) is less than session's earliest proof commit height \(12\): proof attempted outside of the session's proof window$/,
    ],
    [
      'too late',
      at(15),
      {},
      /current block height \(15\) is greater than session proof window close height \(14\): proof attempted outside of the session's proof window$/,
    ],
    [
      'no gob',
      at(12),
      { proof: utf8('garbage') },
      /failed to unmarshal sparse compact merkle closest proof: unexpected EOF: invalid proof$/,
    ],
    [
      'a relay of another supplier',
      at(12),
      { proof: MsgSubmitProof.decode(foreign.value).proof },
      /supplier type mismatch: supplier operator address does not match the claim or proof$/,
    ],
    [
      'a relay with another header',
      at(12),
      { proof: MsgSubmitProof.decode(shifted.value).proof },
      /session headers session end heights mismatch; expected: 8, got: 9: invalid relay$/,
    ],
    [
      'a relay that does not count',
      at(12, (own) =>
        own.difficultyHistory.set('text-gen', [
          {
            height: 1,
            value: {
              serviceId: 'text-gen',
              blockHeight: 1n,
              numRelaysEma: 1n,
              targetHash: new Uint8Array(32).fill(1, 31),
            },
          },
        ]),
      ),
      {},
      /failed to validate relay difficulty for service text-gen due to: the difficulty relay being proven is \(\d+\/\d+\), and is smaller than the target difficulty \(\d+\/1\): invalid relay: invalid relay difficulty$/,
    ],
    [
      'no claim',
      at(12, (own) => own.claims.delete(key)),
      {},
      /no claim found for session ID ".*" and supplier ".*": claim not found$/,
    ],
    [
      'a claim with another start',
      at(12, withClaim({ sessionStartBlockHeight: 6n })),
      {},
      /claim session start height 6 does not match proof session start height 5: invalid session start height$/,
    ],
    [
      'a claim with another end',
      at(12, withClaim({ sessionEndBlockHeight: 9n })),
      {},
      /claim session end height 9 does not match proof session end height 8: invalid session end height$/,
    ],
    [
      'a claim with another application',
      at(12, withClaim({ applicationAddress: 'pokt1x' })),
      {},
      /claim application address "pokt1x" does not match proof application address ".*": invalid address$/,
    ],
    [
      'a claim with another service',
      at(12, withClaim({ serviceId: 'x' })),
      {},
      /claim service ID "x" does not match proof service ID "text-gen": invalid service in supplier$/,
    ],
    [
      'no money',
      at(12, (own) => own.balances.set(chain.operator.address, 0n)),
      {},
      /account has no spendable coins: not enough funds to submit proof$/,
    ],
    [
      'no more than the fee',
      at(12, (own) => own.balances.set(chain.operator.address, 1n)),
      {},
      /account has 1, but the proof submission fee is 1upokt: not enough funds to submit proof$/,
    ],
    [
      'not required',
      at(12, (own) => {
        const params = paramsOf(own)
        own.params.set('', {
          ...params,
          proof: {
            ...params.proof,
            proofRequestProbability: 0,
            proofRequirementThreshold: coin(upokt(10n ** 9n)),
          },
        })
      }),
      {},
      /FailedPrecondition desc = proof not required$/,
    ],
  ]
  t.equal(relays.length, 3)
  for (const [what, context, change, log] of cases) {
    const text = refusal(() => submitProof(context, { ...message, ...change }))
    t.match(text, log, what)
    t.match(text, /^rpc error: code = FailedPrecondition desc = /, what)
  }
  for (const h of [12, 14])
    t.equal(
      refusal(() => submitProof(at(h), message)),
      '',
      `taken at ${h}`,
    )
})

t.test('the fee goes to the module, whatever the proof is worth', async (t) => {
  const { chain, header, relays } = await claimed()
  const bank = 'pokt1c8x6ycmzs29kjfn9zgzjh97txu578vzj4ahzhh'
  const wrong = await chain.proof(header, relays, { path: new Uint8Array(32) })
  const first = await chain.run(chain.operator, [wrong])
  t.equal(first.code, 0, first.log)
  t.equal(balance(chain, bank), 1n)
  t.match(typed(chain.devnet.head.events, 'pocket.proof.EventProofValidityChecked'), [
    {
      claim_proof_status_int: 2,
      failure_reason: /^the path of the proof provided/,
      block_height: '12',
    },
  ])
  const { state } = chain.devnet.contextAt(chain.height)
  t.same(state.proofs.entries(), [], 'the proof is gone')
  t.equal(state.claims.values()[0]?.proofValidationStatus, 2)
  const second = await chain.run(chain.operator, [await chain.proof(header, relays, { seed: 11 })])
  t.equal(second.code, 0, 'a better one may follow while the window is open')
  t.equal(chain.devnet.contextAt(chain.height).state.claims.values()[0]?.proofValidationStatus, 1)
  t.equal(balance(chain, bank), 2n)
})

t.test('a refused proof costs gas and no fee', async (t) => {
  const { chain, any } = await claimed()
  chain.devnet.setParams('proof', {
    proofRequestProbability: 0,
    proofRequirementThreshold: coin(upokt(10n ** 9n)),
  })
  const before = balance(chain, chain.operator)
  const result = await chain.run(chain.operator, [any])
  t.match(result, { code: 1, codespace: 'undefined', log: /proof not required$/ })
  t.equal(before - balance(chain, chain.operator), 1n)
})

t.test('an operator without a key on chain is found out at the end of the block', async (t) => {
  const { chain, message } = await claimed()
  const { state } = chain.devnet.contextAt(chain.height)
  const own = fork(state)
  own.accounts.set(chain.operator.address, { number: 0n, sequence: 0n })
  const context = { state: own, height: height(12), time: 0n, events: [] }
  t.equal(
    refusal(() => submitProof(context, message)),
    '',
    'the transaction does not mind',
  )
  const [claim] = own.claims.values()
  const [proof] = own.proofs.values()
  if (claim === undefined || proof === undefined) throw new RangeError('nothing stored')
  const verifiers = { curve: chain.curve, rings: new RingVerifier({ curve: chain.curve }) }
  t.equal(verdict(context, claim, proof, verifiers), 'public key not found')
  own.accounts.delete(chain.operator.address)
  t.match(verdict(context, claim, proof, verifiers), /: account not found$/)
})
