/** The miner's parts, wired. */
import type { Address } from '../base/units.ts'
import { feeFor } from '../chain/tx.ts'
import type { Signer } from '../keys/keyring.ts'
import { Book } from '../miner/book.ts'
import { Claims } from '../miner/claims.ts'
import { Gate } from '../miner/gate.ts'
import { Intake } from '../miner/intake.ts'
import { Meter } from '../miner/meter.ts'
import { Miner } from '../miner/miner.ts'
import { Proofs } from '../miner/proofs.ts'
import { Settlements } from '../miner/settlements.ts'
import { Submit } from '../miner/submit.ts'
import type { Store } from '../store/db.ts'
import type { ChainParts } from './chain.ts'
import type { Frame } from './supplier.ts'

export interface MinerParts {
  readonly miner: Miner
  readonly intake: Intake
  readonly meter: Meter
  readonly gate: Gate
}

/** Well above what one claim or one proof was seen to use. */
const TX_GAS = 300_000n

export function buildMiner(frame: Frame, chain: ChainParts, store: Store): MinerParts {
  const log = frame.deps.log.child({ component: 'miner' })
  const { blocks, cached, query, broadcaster } = chain
  const { sessions, relays } = store
  const gate = new Gate()
  const intake = new Intake({ chain: cached, relays, sessions, gate })
  const meter = new Meter({ chain: cached, relays })
  const signer = (operator: Address): Signer | undefined => frame.signers.get(operator)
  const book = new Book({
    store,
    forget: (key) => {
      gate.forget(key)
      intake.forget(key)
      meter.forget(key)
    },
    log,
  })
  const submit = new Submit({ broadcaster, sessions, log })
  const txFee = feeFor(TX_GAS, frame.config.chain.gasPrice)
  const claims = new Claims(
    { chain: query, sessions, relays, signer, gate, submit, book, log },
    { txFee },
  )
  const proofs = new Proofs({ chain: query, blocks, sessions, relays, signer, submit, log })
  const settlements = new Settlements({ chain: query, book, log })
  const miner = new Miner({
    blocks,
    chain: cached,
    sessions,
    gate,
    claims,
    proofs,
    settlements,
    clock: frame.deps.clock,
    log,
  })
  return { miner, intake, meter, gate }
}
