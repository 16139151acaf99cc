import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { height, ms } from '../../src/base/units.ts'
import { EXIT } from '../../src/cli/context.ts'
import { RPCType } from '../../src/protocol/gen/pocket/shared/shared.ts'
import { command } from '../support/command.ts'
import { SERVICE } from '../support/network.ts'
import { OPERATOR, OWNER, STAKE, Staking } from '../support/staking.ts'

const { address } = OPERATOR.signer

t.test('a dry run shows what it costs and sends nothing', async (t) => {
  const staking = await Staking.open(t)
  const config = await staking.config()
  const text = await command(['stake', '--config', config, '--dry-run'])
  t.equal(text.status, EXIT.ok, text.err)
  for (const line of [
    `operator         ${address}`,
    `owner            ${OWNER}`,
    'stake            0 POKT -> 60000 POKT (minimum 59500 POKT)',
    'services         text-generation',
    'reached at       http://127.0.0.1:8545 (JSON_RPC, REST)',
    'reached at       ws://127.0.0.1:8545 (WEBSOCKET)',
    `rewards          100 % to ${OWNER}`,
    'to be locked     60000 POKT of 60100 POKT',
    'to get it back   8 blocks after the session in which you unstake',
    'served from      height 5 on, in 4 blocks',
    'at risk          0.000001 POKT for each proof that is missed or wrong;',
    '  card           none',
    '  pay            449.796 upokt a relay (4000 compute units)',
    'from 1 relay on a session earns the 3 upokt that its claim and proof cost',
  ])
    t.ok(text.out.includes(line), `${line} in:\n${text.out}`)
  t.match(text.out, /^fee, gone {8}0.000001 POKT and 0.000001 POKT for \d{5,6} gas$/m)
  t.match(text.out, /prompt included, on the\s+chain/, 'and what becomes public')
  const json = await command(['stake', '--config', config, '--dry-run', '--json'])
  t.match(JSON.parse(json.out), {
    suppliers: [
      {
        operator: address,
        signer: address,
        lockedUpokt: String(STAKE),
        gasFeeUpokt: '1',
        penaltyUpokt: '1',
        unbondingBlocks: 8,
        // One block is there: nothing is known of how long they take.
        unbondingHours: null,
        pay: { [SERVICE]: { computeUnitsPerRelay: '4000', relaysToBreakEven: 1 } },
        cards: { [SERVICE]: null },
        concerns: [/^the operator gets no share of text-generation/],
        checks: [],
        sent: false,
      },
    ],
  })
  t.equal(staking.devnet.mempool.waiting.length, 0)
})

t.test('it asks, and a no sends nothing', async (t) => {
  const staking = await Staking.open(t)
  const config = await staking.config()
  for (const answer of ['', 'n', 'nope', 'yesss']) {
    const { status, err, asked } = await command(['stake', '--config', config], {
      answers: [answer],
    })
    t.equal(status, EXIT.failure, answer)
    t.match(err, /DECLINED: /, answer)
    t.equal(asked[0]?.question, 'Stake? [y/N] ', answer)
  }
  const nobody = await command(['stake', '--config', config])
  t.equal(nobody.status, EXIT.config)
  t.match(nobody.err, /nobody can be asked here: add --yes/)
  t.equal(staking.devnet.mempool.waiting.length, 0)
})

t.test('it stakes, waits for the block and says from when it is served', async (t) => {
  const staking = await Staking.open(t)
  const config = await staking.config()
  const { status, out, err } = await command(['stake', '--config', config, '--json'], {
    answers: ['y'],
    onSay: staking.mineWhenSent,
  })
  t.equal(status, EXIT.ok, err)
  const { suppliers } = JSON.parse(out)
  t.match(suppliers, [{ operator: address, sent: true, txHash: /^[0-9A-F]{64}$/, height: 2 }])
  t.match(err, `sent ${suppliers[0].txHash}, waiting for a block`)
  t.match(err, /staked at height 2; served from height \d+ on/)
  t.match(staking.supplier, { ownerAddress: OWNER, stake: { amount: String(STAKE) } })
  const [update] = staking.supplier?.serviceConfigHistory ?? []
  t.equal(update?.service?.serviceId, SERVICE)
  t.strictSame(
    update?.service?.endpoints.map(({ url, rpcType }) => [rpcType, url]),
    [
      [RPCType.JSON_RPC, 'http://127.0.0.1:8545'],
      [RPCType.REST, 'http://127.0.0.1:8545'],
      [RPCType.WEBSOCKET, 'ws://127.0.0.1:8545'],
    ],
  )
})

t.test('what the chain would refuse is said before anyone is asked', async (t) => {
  const staking = await Staking.open(t)
  const stake = { amount: '5upokt', url: 'http://127.0.0.1:8545' }
  const cases = [
    [{ stake }, /not possible: 0.000005 POKT is below the minimum/],
    [{ stake: { ...stake, amount: '90000000000upokt' } }, /not possible: the signer has/],
    [
      { services: [{ id: 'unheard-of', backend: { kind: 'llamacpp', model: 'tiny' } }] },
      /not possible: service unheard-of does not exist/,
    ],
  ] as const
  for (const [change, says] of cases) {
    const { status, err, asked } = await command(
      ['stake', '--config', await staking.config(change)],
      { answers: ['y'] },
    )
    t.equal(status, EXIT.chain, String(says))
    t.match(err, says)
    t.match(err, /REFUSED: the chain would refuse this/, String(says))
    t.strictSame(asked, [], String(says))
  }
})

t.test('a URL that only this machine knows is warned of on the main network', async (t) => {
  const dryRun = async (staking: Staking, url: string) => {
    const config = await staking.config({ stake: { amount: `${STAKE}upokt`, url } })
    return await command(['stake', '--dry-run', '--config', config])
  }
  const test = await dryRun(await Staking.open(t), 'http://127.0.0.1:8545')
  t.notMatch(test.err, /cannot reach/, 'not on a chain of this machine')
  const main = await Staking.open(t, {}, 'pocket')
  for (const [url, isPrivate] of [
    ['http://127.0.0.1:8545', true],
    ['http://localhost', true],
    ['http://192.168.1.5:80', true],
    ['http://172.20.0.2', true],
    ['http://[::1]:8545', true],
    ['https://supplier.example.org', false],
    ['http://172.32.0.1', false],
    ['http://100.1.2.3', false],
  ] as const) {
    const { status, err } = await dryRun(main, url)
    t.equal(status, EXIT.ok, `${url}: ${err}`)
    t.equal(/gateways elsewhere cannot reach/.test(err), isPrivate, `${url}: ${err}`)
  }
})

t.test('the path of a URL that differs from the configured one is warned of', async (t) => {
  const staking = await Staking.open(t)
  const words = ['stake', '--dry-run', '--config', await staking.config(), '--url']
  const says = /warning: the path of --url is another one than that of stake.url/
  t.match((await command([...words, 'http://127.0.0.1:8545/llm'])).err, says)
  t.notMatch((await command([...words, 'http://127.0.0.1:9999'])).err, says)
})

t.test('how long it takes is told by the blocks of late', async (t) => {
  const staking = await Staking.open(t, { time: ms(1_750_000_000_000) })
  for (let block = 0; block < 3; block++) await staking.devnet.mine()
  const { head } = staking.devnet
  const first = staking.devnet.block(height(1))
  const each = Number(head.time - (first?.time ?? 0n)) / 1e6 / (head.height - 1)
  const words = ['stake', '--dry-run', '--config', await staking.config()]
  const { out } = await command(words)
  t.match(out, /^to get it back {3}8 blocks \(about \d+ \w+\) after the session/m)
  const json = JSON.parse((await command([...words, '--json'])).out)
  const off = json.suppliers[0].unbondingHours / ((8 * each) / 3_600_000) - 1
  t.ok(Math.abs(off) < 1e-3, `off by ${off}`)
})

t.test('what is wrong with keys and settings is said with status 2', async (t) => {
  const staking = await Staking.open(t)
  const open = join(staking.folder, 'open')
  await command(['keys', 'create', open], { environment: { passphrase: 'x' } })
  await chmod(open, 0o644)
  const operators = (operator: object) => ({ operators: [operator] })
  const cases = [
    [
      { stake: undefined },
      /USAGE: what to stake is not said: add --amount and --url, or write stake.amount and stake.url/,
    ],
    [operators({ keyFile: 'none.json' }), /FILE_UNREADABLE: cannot read .*none.json/],
    [operators({ keyFile: 'open' }), /FILE_OPEN_TO_OTHERS: .*chmod 600/],
    [operators({ keyFile: 'passphrase' }), /KEYFILE: this is not a key file/],
    [operators({ keyFile: 'operator.json' }), /PASSPHRASE: the passphrase does not open/],
  ] as const
  for (const [change, says] of cases) {
    const { status, err } = await command(
      ['stake', '--yes', '--config', await staking.config(change)],
      { environment: { passphrase: 'wrong' } },
    )
    t.equal(status, EXIT.config, `${says}: ${err}`)
    t.match(err, says)
  }
  t.equal(staking.devnet.mempool.waiting.length, 0)
})

t.test('no node and a foreign chain end with status 4', async (t) => {
  const staking = await Staking.open(t)
  const chain = { rpc: [staking.rpcUrl], id: 'pocket' }
  const foreign = await staking.config({ chain })
  const alone = await staking.config({ chain: { ...chain, rpc: ['http://u:secret@127.0.0.1:9'] } })
  for (const name of ['stake', 'unstake']) {
    const other = await command([name, '--yes', '--config', foreign])
    t.equal(other.status, EXIT.chain, name)
    t.match(other.err, /CHAIN_ID: the node is of chain "pocket-devnet", not of "pocket"/, name)
    const none = await command([name, '--yes', '--config', alone])
    t.equal(none.status, EXIT.chain, name)
    t.match(none.err, /RPC_UNREACHABLE: .*127.0.0.1:9.*\n.*Check chain.rpc/s, name)
    t.notMatch(none.err, /secret/, `${name} does not show what is in the URL`)
  }
})

t.test('an interrupted wait says what is pending', async (t) => {
  const staking = await Staking.open(t)
  const config = await staking.config()
  const { status, err, out } = await command(['stake', '--yes', '--json', '--config', config], {
    onSay: (text, terminal) => {
      if (/^sent /.test(text)) setImmediate(() => terminal.interrupt())
    },
  })
  t.equal(status, EXIT.aborted)
  const [waiting] = staking.devnet.mempool.waiting
  t.match(err, `pending: transaction ${waiting?.hash} was sent and may still be included`)
  t.match(err, /up to height 21\. Look before you send another/)
  t.match(err, /interrupted\n$/)
  t.strictSame(JSON.parse(out), { suppliers: [] })
})

t.test('an interrupted question sends nothing', async (t) => {
  const staking = await Staking.open(t)
  const config = await staking.config()
  const { status, err } = await command(['stake', '--config', config], { answers: ['^C'] })
  t.equal(status, EXIT.aborted)
  t.match(err, /interrupted\n$/)
  t.notMatch(err, /pending/)
  t.equal(staking.devnet.mempool.waiting.length, 0)
})

t.test("a transaction that fails in its block is told with the chain's words", async (t) => {
  const staking = await Staking.open(t)
  const config = await staking.config()
  const { status, err } = await command(['stake', '--yes', '--config', config], {
    onSay: (text) => {
      if (!/^sent /.test(text)) return
      // Between the check and the block governance raises the minimum.
      staking.devnet.setParams('supplier', {
        minStake: { denom: 'upokt', amount: String(2n * STAKE) },
      })
      void staking.devnet.mine()
    },
  })
  t.equal(status, EXIT.chain, err)
  t.match(err, /TX_FAILED: .*must stake at least 120000000000upokt/)
  t.match(err, /The fee was spent/)
})
