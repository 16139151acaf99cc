import t from 'tap'
import { upokt } from '../../src/base/units.ts'
import { moduleAddress } from '../../src/devnet/bank.ts'
import { computeUnitsAt } from '../../src/devnet/claims.ts'
import { addService, checkAddService } from '../../src/devnet/services.ts'
import { MsgAddService } from '../../src/protocol/gen/pocket/service/service.ts'
import type { Service } from '../../src/protocol/gen/pocket/shared/shared.ts'
import { Settling, WHO } from '../support/settling.ts'
import { CUPR, SERVICE } from '../support/simchain.ts'

const FEE = 3_500_000_000n
const { author, stranger, rival } = WHO

/** The author, who owns the service, has exactly one fee and one upokt. */
function chain(): Settling {
  return new Settling({
    accounts: [
      { address: author, balance: upokt(FEE + 1n) },
      { address: rival, balance: upokt(FEE) },
    ],
  })
}

function message(change: Partial<Service> = {}, ownerAddress = author): MsgAddService {
  const base = { id: 'new', name: 'New one', computeUnitsPerRelay: 7n, ownerAddress }
  return MsgAddService.fromPartial({ ownerAddress, service: { ...base, ...change } })
}

t.test('a new service costs the fee and holds from the running session on', async (t) => {
  const simulated = chain()
  addService(simulated.context(6), message())
  t.equal(simulated.balance(author), 1n)
  t.equal(simulated.balance(moduleAddress('service')), FEE)
  t.match(simulated.state.services.get('new'), { name: 'New one', ownerAddress: author })
  t.equal(computeUnitsAt(simulated.state, 'new', 5), 7n)
})

t.test('a new weight holds from the next session on, the old one before', async (t) => {
  const simulated = chain()
  const change = (computeUnitsPerRelay: bigint, at: number) =>
    addService(simulated.context(at), message({ id: SERVICE, computeUnitsPerRelay }))
  const at = (height: number) => computeUnitsAt(simulated.state, SERVICE, height)
  change(CUPR, 6)
  t.equal(simulated.state.computeUnits.get(SERVICE), undefined, 'the same weight is no change')
  change(5n, 6)
  t.equal(simulated.balance(author), FEE + 1n, 'and costs nothing')
  t.equal(simulated.state.services.get(SERVICE)?.computeUnitsPerRelay, 5n)
  t.equal(at(1), CUPR)
  t.equal(at(8), CUPR)
  t.equal(at(9), 5n)
  change(6n, 7)
  t.equal(at(9), 6n, 'the last one of a session counts')
  change(8n, 9)
  t.same([at(8), at(12), at(13)], [CUPR, 6n, 8n])
  t.equal(computeUnitsAt(simulated.state, 'none', 9), undefined)
})

t.test('who may add and change', async (t) => {
  const simulated = chain()
  t.throws(() => addService(simulated.context(6), message({}, stranger)), {
    message:
      'rpc error: code = FailedPrecondition desc = account has no spendable coins: not enough funds to add service',
  })
  t.throws(() => addService(simulated.context(6), message({}, rival)), {
    message: `rpc error: code = FailedPrecondition desc = account has ${FEE}, but the service fee is ${FEE}upokt: not enough funds to add service`,
  })
  t.throws(() => addService(simulated.context(6), message({ id: SERVICE }, rival)), {
    message: `rpc error: code = InvalidArgument desc = existing owner address "${author}" does not match the new owner address "${rival}": invalid owner address`,
  })
})

t.test('what the form of a message must be', async (t) => {
  const card = (length: number) => ({ card: new Uint8Array(length) })
  const cases: [message: MsgAddService, codespace: string, code: number, log: RegExp][] = [
    [message({}, ''), 'service', 1102, /^invalid signer address ; \(empty/],
    [
      MsgAddService.fromPartial({ ownerAddress: author }),
      'service',
      1113,
      /^service owner address ""/,
    ],
    [message({ ownerAddress: rival }), 'service', 1113, /does not match the signer address/],
    [message({ id: '' }), 'shared', 1108, /^empty service ID: /],
    [message({ id: 'x'.repeat(43) }), 'shared', 1108, /exceeds maximum length: 42: /],
    [message({ name: 'x'.repeat(170) }), 'shared', 1109, /exceeds maximum length: 169: /],
    [
      message({ name: 'a/b' }),
      'shared',
      1109,
      /^service name 'a\/b' contains invalid characters: /,
    ],
    [message({ computeUnitsPerRelay: 0n }), 'shared', 1107, /must be greater than 0/],
    [message({ computeUnitsPerRelay: 2_097_153n }), 'shared', 1107, /must be less than 2097152/],
    [message({ metadata: card(0) }), 'shared', 1111, /^metadata card must not be empty: /],
    [message({ metadata: card(262_145) }), 'shared', 1111, /got 262145 bytes, max 262144 bytes: /],
  ]
  for (const [refused, codespace, number, log] of cases)
    t.throws(() => checkAddService(refused), { codespace, number, message: log }, String(log))
  checkAddService(message({ name: '', computeUnitsPerRelay: 2_097_152n, metadata: card(262_144) }))
})
