/**
 * Accounts and money: who has how much, and what moves it.
 *
 * Module accounts hold stakes and fees; nobody has their keys. Source: cosmos-sdk x/bank, x/auth.
 * Tested by test/devnet/bank.ts.
 */
import { toBech32 } from '@cosmjs/encoding'
import { sha256, utf8 } from '../base/bytes.ts'
import type { Address, Upokt } from '../base/units.ts'
import { registered } from './errors.ts'
import { coinText, plainEvent } from './events.ts'
import { type AccountRecord, balanceOf, type Context, type State } from './state.ts'

export const MODULES = [
  'fee_collector',
  'distribution',
  'mint',
  'supplier',
  'application',
  'gateway',
  'service',
  'proof',
  'tokenomics',
] as const
export type Module = (typeof MODULES)[number]

export function moduleAddress(name: Module): Address {
  return toBech32('pokt', sha256(utf8(name)).slice(0, 20)) as Address
}

/** The account, made with the next free number if there is none. */
export function ensureAccount(state: State, address: string): AccountRecord {
  const known = state.accounts.get(address)
  if (known !== undefined) return known
  const made = { number: BigInt(new Set(state.accounts.keys()).size), sequence: 0n }
  state.accounts.set(address, made)
  return made
}

/** @throws Refusal sdk 5 when `from` has less than `amount` */
export function transfer(context: Context, from: string, to: string, amount: Upokt): void {
  const { state, events } = context
  spend(state, from, amount)
  ensureAccount(state, to)
  state.balances.set(to, balanceOf(state, to) + amount)
  const text = amount === 0n ? '' : coinText(amount)
  events.push(
    plainEvent('coin_spent', { spender: from, amount: text }),
    plainEvent('coin_received', { receiver: to, amount: text }),
    plainEvent('transfer', { recipient: to, sender: from, amount: text }),
    plainEvent('message', { sender: from }),
  )
}

/** New money in a module's account. */
export function mint(context: Context, module: Module, amount: Upokt): void {
  const { state, events } = context
  const address = moduleAddress(module)
  state.balances.set(address, balanceOf(state, address) + amount)
  events.push(
    plainEvent('coin_received', { receiver: address, amount: coinText(amount) }),
    plainEvent('coinbase', { minter: address, amount: coinText(amount) }),
  )
}

/** @throws Refusal sdk 5 when the module has less than `amount` */
export function burn(context: Context, module: Module, amount: Upokt): void {
  const address = moduleAddress(module)
  spend(context.state, address, amount)
  context.events.push(
    plainEvent('coin_spent', { spender: address, amount: coinText(amount) }),
    plainEvent('burn', { burner: address, amount: coinText(amount) }),
  )
}

function spend(state: State, from: string, amount: Upokt): void {
  const has = balanceOf(state, from)
  if (has < amount) {
    const spendable = has === 0n ? '' : coinText(has)
    const context = `spendable balance ${spendable} is smaller than ${coinText(amount)}`
    throw registered('sdk', 5, context)
  }
  state.balances.set(from, has - amount)
}

export function isModule(state: State, address: string): boolean {
  return state.accounts.get(address)?.module !== undefined
}
