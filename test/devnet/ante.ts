import t from 'tap'
import { unbase64 } from '../../src/base/bytes.ts'
import { Refusal } from '../../src/devnet/errors.ts'
import { admit } from '../../src/devnet/machine.ts'
import { fork } from '../../src/devnet/state.ts'
import { readTransaction, type Transaction } from '../../src/devnet/tx.ts'
import { RecordedChain, type RecordedResult } from '../support/recorded-chain.ts'
import { balance, Simchain } from '../support/simchain.ts'
import { json } from '../support/vectors.ts'

interface Row {
  readonly name: string
  readonly tx_base64: string | null
  readonly height_before: number | null
  readonly response: {
    readonly result?: { code: number; log: string; codespace: string; hash: string }
    readonly error?: { data: string }
  }
  readonly then_tx?: {
    readonly response: { readonly result?: { height: string; tx_result: RecordedResult } }
  }
}

const rows = json<Row[]>('chain/broadcast.json')

/** How far the transaction's time was ahead, where it was not a minute. */
const AHEAD_NS: Record<string, bigint> = { unordered_too_far: 660_000_000_000n }

/** A node's words about bytes that no decoder takes; ours name the same fault otherwise. */
const DECODER_WORDS = new Set(['garbage_bytes'])

function checked(chain: RecordedChain, row: Row): { code: number; codespace: string; log: string } {
  const at = row.height_before ?? 1
  try {
    const tx = readTransaction(unbase64(row.tx_base64 ?? ''))
    prepare(chain, row, tx)
    const time = blockTime(row) ?? (tx.timeout ?? NOON) - (AHEAD_NS[row.name] ?? 60_000_000_000n)
    const context = chain.context(at, time)
    admit({ ...context, state: fork(chain.state) }, tx, 'check', chain.deps)
    return { code: 0, codespace: '', log: '' }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { code: error.number, codespace: error.codespace, log: error.message }
  }
}

const NOON = 1_795_557_600_000_000_000n

/** The time of the latest block, where the node's answer tells it. */
function blockTime(row: Row): bigint | undefined {
  const log = row.response.result?.log ?? ''
  const [, second, digits = ''] = /block time: (\S+ \S+?)(?:\.(\d+))? \+0000 UTC/.exec(log) ?? []
  if (second === undefined) return undefined
  const seconds = BigInt(Date.parse(`${second.replace(' ', 'T')}Z`) / 1_000)
  return seconds * 1_000_000_000n + BigInt(digits.padEnd(9, '0'))
}

/** The sender's sequence as the node said it was, else as the transaction says. */
function prepare(chain: RecordedChain, row: Row, tx: Transaction): void {
  const said = /expected (\d+), got/.exec(row.response.result?.log ?? '')?.[1]
  const sequence = said === undefined ? tx.authInfo.signerInfos[0]?.sequence : BigInt(said)
  const isOrdered = tx.body.unordered === false
  if (isOrdered) chain.expectSequence(tx.signers[0] ?? '', sequence ?? 0n)
  if (row.name.startsWith('unordered_same_timestamp'))
    chain.state.nonces.set(`${tx.signers[0]}/${tx.timeout}`, tx.timeout ?? 0n)
}

t.test('CheckTx answers recorded transactions as a real node did', async (t) => {
  const chain = new RecordedChain()
  let count = 0
  for (const row of rows) {
    const { result } = row.response
    if (result === undefined || row.height_before === null) continue
    const answer = checked(chain, row)
    count++
    t.equal(answer.code, result.code, `${row.name}: code`)
    t.equal(answer.codespace, result.codespace, `${row.name}: codespace`)
    if (DECODER_WORDS.has(row.name)) t.match(answer.log, /tx parse error/, `${row.name}: log`)
    else if (row.name !== 'out_of_gas_in_checktx')
      t.equal(answer.log, result.log, `${row.name}: log`)
    else t.match(answer.log, /^out of gas in location: ReadPerByte; gasWanted: 1000, /, row.name)
  }
  t.ok(count > 55, `${count} rows`)
})

t.test('a block answers recorded transactions as the real chain did', async (t) => {
  const chain = new RecordedChain()
  chain.supplier('supplier1', 'owner1', 11n, 'http://127.0.0.1:18545')
  chain.supplier('supplier3', 'owner3', 21n, 'http://127.0.0.1:9')
  const elsewhere = new Set(['proof_wrong_path', 'proof_not_required', 'unstake_twice'])
  let count = 0
  for (const row of rows) {
    const taken = row.then_tx?.response.result
    if (taken === undefined || elsewhere.has(row.name)) continue
    const { code, codespace, log, gas_used } = taken.tx_result
    const result = chain.deliver(Number(taken.height), unbase64(row.tx_base64 ?? ''))
    count++
    t.equal(result.code, code, `${row.name}: code`)
    t.equal(result.codespace, codespace, `${row.name}: codespace`)
    const isOutOfGas = code === 11
    if (isOutOfGas)
      t.match(result.log, /^out of gas in location: WriteFlat; gasWanted: 60000, /, row.name)
    else t.equal(result.log, log, `${row.name}: log`)
    const share = Number(result.gasUsed) / Number(gas_used)
    t.ok(share > 0.75 && share < 1.3, `${row.name}: gas ${result.gasUsed} of ${gas_used}`)
  }
  t.ok(count > 20, `${count} rows`)
})

t.test('an ordered transaction uses up its sequence', async (t) => {
  const chain = new Simchain()
  const sent = [chain.send(chain.owner, chain.rival, 5n)]
  const bytes = chain.tx(chain.owner, sent, { ordered: true })
  t.equal(chain.devnet.broadcast(bytes).code, 0)
  const next = chain.tx(chain.owner, sent, { ordered: true, sequence: 1n })
  t.equal(chain.devnet.broadcast(next).code, 0, 'pending transactions count')
  const block = await chain.devnet.mine()
  t.same(
    block.results.map(({ code }) => code),
    [0, 0],
  )
})

t.test('an unordered transaction takes no sequence and may come in any order', async (t) => {
  const chain = new Simchain()
  const before = balance(chain, chain.rival)
  const now = chain.devnet.head.time
  for (const ahead of [30n, 10n, 20n]) {
    const timeout = now + ahead * 1_000_000_000n
    const tx = chain.tx(chain.owner, [chain.send(chain.owner, chain.rival, 5n)], { timeout })
    t.equal(chain.devnet.broadcast(tx).code, 0)
  }
  await chain.devnet.mine()
  t.equal(balance(chain, chain.rival) - before, 15n)
})

t.test('a timestamp is used once, also after it is forgotten that it was', async (t) => {
  const chain = new Simchain()
  const timeout = chain.devnet.head.time + 3_000_000_000n
  const tx = (amount: bigint) =>
    chain.tx(chain.owner, [chain.send(chain.owner, chain.rival, amount)], { timeout })
  t.equal(chain.devnet.broadcast(tx(1n)).code, 0)
  t.equal(chain.devnet.broadcast(tx(2n)).code, 18, 'while the first is pending')
  await chain.devnet.mine()
  t.equal(chain.devnet.broadcast(tx(3n)).code, 18, 'after it was taken')
  await chain.mineTo(chain.height + 4)
  t.equal(chain.devnet.broadcast(tx(4n)).code, 42, 'when it has passed')
  t.same(chain.devnet.contextAt(chain.height).state.nonces.entries(), [], 'and is forgotten')
})

t.test('every signer must sign', async (t) => {
  const chain = new Simchain()
  const both = [chain.send(chain.owner, chain.rival, 1n), chain.send(chain.rival, chain.owner, 1n)]
  t.match(chain.devnet.broadcast(chain.tx(chain.owner, both)), {
    code: 4,
    log: 'wrong number of signers; expected 2, got 1: unauthorized',
  })
  const one = [chain.send(chain.owner, chain.rival, 1n)]
  const payer = chain.rival.address
  t.equal(chain.devnet.broadcast(chain.tx(chain.owner, one, { payer })).code, 4)
})

t.test('a failing message gives back everything but the fee', async (t) => {
  const chain = new Simchain()
  const before = balance(chain, chain.owner)
  const result = await chain.run(chain.owner, [
    chain.send(chain.owner, chain.rival, 5n),
    chain.send(chain.owner, chain.rival, 10n ** 18n),
  ])
  t.match(result, {
    code: 5,
    codespace: 'sdk',
    log: /^failed to execute message; message index: 1: /,
  })
  t.equal(before - balance(chain, chain.owner), 1n)
})

t.test('fields that the chain does not know are refused', async (t) => {
  const chain = new Simchain()
  const bytes = chain.tx(chain.owner, [chain.send(chain.owner, chain.rival, 5n)])
  t.match(chain.devnet.broadcast(new Uint8Array([...bytes, 0x20, 0x01])), { code: 2 })
})
