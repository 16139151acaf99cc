/** Messages that go to the devnet as they are, without the simulation that would stop a false one. */
import { ms, upokt } from '../../src/base/units.ts'
import { signTx, timestampAfter } from '../../src/chain/tx.ts'
import type { Any } from '../../src/protocol/gen/google/protobuf/any.ts'
import { type Actor, CHAIN_ID, type Network } from './network.ts'

export interface Sent {
  readonly from: Actor
  readonly message: Any
}

/** Far below the ten minutes that the chain allows. */
const LIFETIME_NS = 60_000_000_000n
const GAS = 3_000_000n

/**
 * Each message in a transaction of its own, all in the next block.
 * @returns what the chain says to each: nothing, or `codespace code log`
 */
export async function submit(network: Network, messages: readonly Sent[]): Promise<string[]> {
  const { devnet } = network
  const { state, time } = devnet.contextAt(devnet.head.height)
  const checks = messages.map(({ from, message }, i) => {
    const timeoutAt = timestampAfter(ms(Number(time / 1_000_000n)), LIFETIME_NS + BigInt(i))
    const bytes = signTx(
      from.signer,
      {
        messages: [message],
        timeoutAt,
        unordered: true,
        sequence: 0n,
        gas: GAS,
        fee: upokt(GAS / 1_000_000n),
      },
      {
        chainId: CHAIN_ID,
        accountNumber: state.accounts.get(from.signer.address)?.number ?? 0n,
      },
    )
    return devnet.broadcast(bytes)
  })
  await network.mine()
  return checks.map((check) => {
    const place = devnet.find(check.hash)
    const result = check.code === 0 ? place?.block.results[place.index] : check
    if (result === undefined) return 'no block took it'
    return result.code === 0 ? '' : `${result.codespace} ${result.code} ${result.log}`
  })
}
