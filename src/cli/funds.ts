/**
 * Waits until an account can pay: says what it needs, in a form that a script can read, and looks at its
 * balance until the money is there. Nothing is sent meanwhile. Tests: test/cli/roles.ts.
 */
import { type Address, formatPokt, ms, type Upokt, upokt } from '../base/units.ts'
import { ChainError } from '../chain/errors.ts'
import type { Query } from '../chain/query.ts'
import type { Context } from './context.ts'

export interface Need {
  readonly address: Address
  readonly balance: Upokt
  /** What the balance lacks. */
  readonly missing: Upokt
  /** A page that gives test money, if the network has one. */
  readonly faucet: string | undefined
}

const LOOK_EVERY = ms(5_000)

/** @throws `signal.reason`, ChainError unless time alone helps */
export async function untilFunded(
  context: Context,
  query: Pick<Query, 'balance'>,
  need: Need,
  json: boolean,
): Promise<void> {
  const { address, faucet } = need
  const total = need.balance + need.missing
  context.say('waiting for money; Ctrl-C ends this, and nothing is sent')
  if (faucet !== undefined) context.say(`test money: ${faucet}`)
  for (let missing = need.missing, told: Upokt | undefined; missing > 0n; ) {
    if (missing !== told)
      context.print(
        json
          ? JSON.stringify({ address, needsUpokt: String(missing) })
          : `${address} needs ${formatPokt(missing)}`,
      )
    told = missing
    await context.clock.sleep(LOOK_EVERY, context.signal)
    const balance = await balanceOf(context, query, address)
    if (balance !== undefined) missing = upokt(balance < total ? total - balance : 0n)
  }
}

/** Undefined while no node answers: the money comes all the same. */
async function balanceOf(
  { signal }: Context,
  query: Pick<Query, 'balance'>,
  address: Address,
): Promise<Upokt | undefined> {
  try {
    return await query.balance(address, signal)
  } catch (error) {
    if (error instanceof ChainError && error.retryable) return undefined
    throw error
  }
}
