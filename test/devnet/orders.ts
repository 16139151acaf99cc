import t from 'tap'
import { GENESIS_PARAMS } from '../../src/devnet/genesis.ts'
import { readChange, readModule } from '../../src/devnet/orders.ts'

t.test('changes are read by their names on the chain', async (t) => {
  t.same(
    readChange('proof', {
      proof_request_probability: 0.5,
      proof_submission_fee: '2upokt',
      proof_missing_penalty: { denom: 'upokt', amount: '3' },
    }),
    {
      proofRequestProbability: 0.5,
      proofSubmissionFee: { denom: 'upokt', amount: '2' },
      proofMissingPenalty: { denom: 'upokt', amount: '3' },
    },
  )
  t.same(
    readChange('shared', { num_blocks_per_session: '10', claim_window_open_offset_blocks: 2 }),
    {
      numBlocksPerSession: 10n,
      claimWindowOpenOffsetBlocks: 2n,
    },
  )
  t.same(
    readChange('tokenomics', {
      mint_allocation_percentages: { dao: '0.5' },
      dao_reward_address: 'x',
    }),
    {
      mintAllocationPercentages: {
        ...GENESIS_PARAMS.tokenomics.mintAllocationPercentages,
        dao: 0.5,
      },
      daoRewardAddress: 'x',
    },
    'parts of a nested one leave the others',
  )
})

t.test('what is no parameter of the module, or not of its kind, is refused', async (t) => {
  const cases: [module: 'proof' | 'shared' | 'tokenomics', json: unknown, message: string][] = [
    ['proof', undefined, 'proof must be an object'],
    ['proof', null, 'proof must be an object'],
    ['proof', { min_stake: 1 }, 'no parameter proof.min_stake'],
    ['proof', { constructor: 1 }, 'no parameter proof.constructor'],
    [
      'proof',
      { proof_request_probability: 'often' },
      'proof.proof_request_probability cannot be often',
    ],
    ['shared', { num_blocks_per_session: '4.5' }, 'shared.num_blocks_per_session: '],
    ['shared', { num_blocks_per_session: {} }, 'shared.num_blocks_per_session: '],
    ['proof', { proof_submission_fee: '2pokt' }, 'proof.proof_submission_fee: '],
    ['proof', { proof_submission_fee: null }, 'proof.proof_submission_fee: '],
    ['tokenomics', { dao_reward_address: 5 }, 'tokenomics.dao_reward_address cannot be 5'],
    [
      'tokenomics',
      { mint_allocation_percentages: { miner: 1 } },
      'no parameter tokenomics.mint_allocation_percentages.miner',
    ],
  ]
  for (const [module, json, message] of cases) {
    let told: unknown
    try {
      told = readChange(module, json)
    } catch (error) {
      told = error
    }
    t.match(
      told,
      { code: 'PARAMS', message: new RegExp(`^${message.replace(/[.]/g, '\\.')}`) },
      message,
    )
  }
})

t.test('modules are those with parameters', async (t) => {
  for (const name of Object.keys(GENESIS_PARAMS)) t.equal(readModule(name), name)
  for (const name of ['bank', 'constructor', '', undefined, 3])
    t.throws(() => readModule(name), { code: 'PARAMS', message: `no module ${String(name)}` })
})
