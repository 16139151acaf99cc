import t from 'tap'
import { height, upokt } from '../../src/base/units.ts'
import { Archive } from '../../src/devnet/archive.ts'
import {
  burn,
  ensureAccount,
  isModule,
  MODULES,
  mint,
  moduleAddress,
  transfer,
} from '../../src/devnet/bank.ts'
import { devnetGenesis, writeGenesis } from '../../src/devnet/genesis.ts'
import type { Context } from '../../src/devnet/state.ts'
import { WHO } from '../support/settling.ts'

function bank(balance = 10n): Context {
  const state = new Archive(10).stateAt(0)
  const accounts = [{ address: WHO.owner, balance: upokt(balance) }]
  writeGenesis(state, devnetGenesis({ accounts }))
  return { state, height: height(1), time: 0n, events: [] }
}

t.test('module accounts have the addresses of the chain', async (t) => {
  const known = {
    supplier: 'pokt1j40dzzmn6cn9kxku7a5tjnud6hv37vesr5ccaa',
    application: 'pokt1rl3gjgzexmplmds3tq3r3yk84zlwdl6djzgsvm',
    gateway: 'pokt1f6j7u6875p2cvyrgjr0d2uecyzah0kget9vlpl',
    service: 'pokt1nhmtqf4gcmpxu0p6e53hpgtwj0llmsqpxtumcf',
    proof: 'pokt1c8x6ycmzs29kjfn9zgzjh97txu578vzj4ahzhh',
    tokenomics: 'pokt14cvnmzrt9cz4qdf5lhs0xn3u0a3gymla9cc6ft',
  } as const
  const { state } = bank()
  for (const [name, address] of Object.entries(known)) {
    t.equal(moduleAddress(name as keyof typeof known), address, name)
    t.ok(isModule(state, address), name)
  }
  t.equal(isModule(state, WHO.owner), false)
  t.equal(new Set(MODULES.map(moduleAddress)).size, MODULES.length)
})

t.test('accounts are numbered as they come', async (t) => {
  const { state } = bank()
  t.equal(state.accounts.get(WHO.owner)?.number, 0n)
  const made = ensureAccount(state, WHO.stranger)
  t.equal(made.number, BigInt(state.accounts.entries().length - 1))
  t.equal(ensureAccount(state, WHO.stranger).number, made.number, 'once')
})

t.test('a transfer moves money and makes the account', async (t) => {
  const context = bank()
  transfer(context, WHO.owner, WHO.stranger, upokt(4n))
  t.equal(context.state.balances.get(WHO.owner), 6n)
  t.equal(context.state.balances.get(WHO.stranger), 4n)
  t.ok(context.state.accounts.get(WHO.stranger))
  t.same(
    context.events.map(({ type, attributes }) => [
      type,
      ...attributes.map(({ key, value }) => `${key}=${value}`),
    ]),
    [
      ['coin_spent', `spender=${WHO.owner}`, 'amount=4upokt'],
      ['coin_received', `receiver=${WHO.stranger}`, 'amount=4upokt'],
      ['transfer', `recipient=${WHO.stranger}`, `sender=${WHO.owner}`, 'amount=4upokt'],
      ['message', `sender=${WHO.owner}`],
    ],
  )
})

t.test('nobody spends what they do not have', async (t) => {
  const context = bank()
  const refused = (message: string) => ({ codespace: 'sdk', number: 5, message })
  t.throws(
    () => transfer(context, WHO.owner, WHO.stranger, upokt(11n)),
    refused('spendable balance 10upokt is smaller than 11upokt: insufficient funds'),
  )
  t.throws(
    () => transfer(context, WHO.stranger, WHO.owner, upokt(1n)),
    refused('spendable balance  is smaller than 1upokt: insufficient funds'),
  )
  t.throws(() => burn(context, 'tokenomics', upokt(1n)), { code: 'REFUSED' })
  t.equal(context.state.balances.get(WHO.owner), 10n)
  t.same(context.events, [])
})

t.test('minting makes money and burning ends it', async (t) => {
  const context = bank()
  const address = moduleAddress('tokenomics')
  mint(context, 'tokenomics', upokt(5n))
  t.equal(context.state.balances.get(address), 5n)
  burn(context, 'tokenomics', upokt(3n))
  t.equal(context.state.balances.get(address), 2n)
  t.same(
    context.events.map(({ type }) => type),
    ['coin_received', 'coinbase', 'coin_spent', 'burn'],
  )
})
