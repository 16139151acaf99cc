import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { concat, sha256, u64, utf8 } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { height } from '../../src/base/units.ts'
import { createClaimMessage } from '../../src/chain/stake.ts'
import { chainAccess, sendAndWait } from '../../src/cli/chain.ts'
import { EXIT } from '../../src/cli/context.ts'
import { loadConfig } from '../../src/config/load.ts'
import { sharedAt } from '../../src/devnet/state.ts'
import { windowsOf } from '../../src/protocol/windows.ts'
import { command, FakeTerminal } from '../support/command.ts'
import { actor, chainOf, SERVICE } from '../support/network.ts'
import { OPERATOR, OWNER, STAKE, Staking } from '../support/staking.ts'

const { address } = OPERATOR.signer
const STAKED = {
  suppliers: [
    { operator: address, owner: OWNER, services: [SERVICE], url: 'http://127.0.0.1:8545' },
  ],
}

t.test('a dry run shows what it costs and sends nothing', async (t) => {
  const staking = await Staking.open(t)
  const config = await staking.config()
  const text = await command(['stake', '--config', config, '--dry-run'])
  t.equal(text.status, EXIT.ok, text.err)
  for (const line of [
    `operator         ${address}`,
    `owner            ${OWNER}`,
    'stake            0 POKT -> 60000 POKT (minimum 59500 POKT)',
    'to be locked     60000 POKT of 60100 POKT',
  ])
    t.match(text.out, line)
  t.match(text.out, /prompt included, on the\s+chain/, 'and what becomes public')
  const json = await command(['stake', '--config', config, '--dry-run', '--json'])
  t.match(JSON.parse(json.out), {
    suppliers: [{ operator: address, lockedUpokt: String(STAKE), sent: false }],
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
    update?.service?.endpoints.map(({ url }) => url),
    ['http://127.0.0.1:8545', 'http://127.0.0.1:8545'],
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

t.test('what is wrong with keys and settings is said with status 2', async (t) => {
  const staking = await Staking.open(t)
  const open = join(staking.folder, 'open')
  await command(['keys', 'create', open], { environment: { passphrase: 'x' } })
  await chmod(open, 0o644)
  const operators = (operator: object) => ({ operators: [operator] })
  const cases = [
    [{ stake: undefined }, /CONFIG_INVALID: stake: the section is missing/],
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

t.test('unstake gives the stake back', async (t) => {
  const staking = await Staking.open(t, { ...STAKED })
  const config = await staking.config()
  const { status, out, err } = await command(['unstake', '--config', config, '--json'], {
    answers: ['y'],
    onSay: staking.mineWhenSent,
  })
  t.equal(status, EXIT.ok, err)
  t.match(JSON.parse(out).suppliers, [{ operator: address, txHash: /^[0-9A-F]{64}$/ }])
  t.match(err, new RegExp(`comes back \\d+ POKT to ${OWNER} at height \\d+`))
  t.not(staking.supplier?.unstakeSessionEndHeight, 0n)
  const again = await command(['unstake', '--config', config, '--yes'])
  t.equal(again.status, EXIT.chain)
  t.match(again.err, /not possible: already unstaking/)
})

t.test('unstake of what is not staked, and a no', async (t) => {
  const nothing = await Staking.open(t)
  const none = await command(['unstake', '--yes', '--config', await nothing.config()])
  t.equal(none.status, EXIT.chain)
  t.match(none.err, `${address} is not staked`)
  const staking = await Staking.open(t, { ...STAKED })
  const no = await command(['unstake', '--config', await staking.config()], { answers: ['n'] })
  t.equal(no.status, EXIT.failure)
  t.match(no.err, /^DECLINED: /m)
  t.equal(staking.supplier?.unstakeSessionEndHeight, 0n)
})

/** A claim of 3 relays of the first session, in its block. */
async function claim(staking: Staking): Promise<void> {
  const { devnet } = staking
  const { header } = await chainOf(devnet).session(actor('application').signer.address, SERVICE)
  if (header === undefined) throw new Error('no session')
  const root = concat(sha256(utf8('root')), u64(3n * 4_000n), u64(3n))
  const { state } = devnet.contextAt(devnet.head.height)
  const end = height(header.sessionEndBlockHeight)
  const { claimOpen } = windowsOf(end, sharedAt(state, end))
  while (devnet.head.height < claimOpen) await devnet.mine()
  const terminal = new FakeTerminal({ onSay: staking.mineWhenSent })
  const chain = chainAccess(terminal.context, await loadConfig(await staking.config()))
  const message = createClaimMessage(address, header, root)
  await sendAndWait(terminal.context, chain, OPERATOR.signer, message)
  await chain.rpc.close()
}

t.test('unstake waits for claims that are not settled, unless told otherwise', async (t) => {
  const threshold = { denom: 'upokt', amount: '1000000' }
  const proof = { proofRequestProbability: 0, proofRequirementThreshold: threshold }
  const staking = await Staking.open(t, { ...STAKED, params: { proof } })
  await claim(staking)
  const config = await staking.config()
  const impatient = await command(['unstake', '--yes', '--config', config], {
    onSay: (text, terminal) => {
      if (/waiting for 1 claims/.test(text)) setImmediate(() => terminal.interrupt())
    },
  })
  t.equal(impatient.status, EXIT.aborted, impatient.err)
  t.match(impatient.err, /warning: 1 claims are not settled yet/)
  t.match(impatient.err, /start --settle/)
  t.equal(staking.supplier?.unstakeSessionEndHeight, 0n, 'nothing was sent')

  let settled = false
  const patient = await command(['unstake', '--yes', '--config', config], {
    clock: {
      ...systemClock,
      // It looks every five seconds; all other waits are limits.
      sleep: async (duration, signal) => {
        if (duration !== 5_000) return await systemClock.sleep(duration, signal)
        for (let block = 0; block < 40 && !settled; block++) {
          const { events } = await staking.devnet.mine()
          settled = events.some(({ type }) => type.endsWith('EventClaimSettled'))
        }
      },
    },
    onSay: staking.mineWhenSent,
  })
  t.equal(patient.status, EXIT.ok, patient.err)
  t.equal(settled, true, 'the claim was settled first')
  t.not(staking.supplier?.unstakeSessionEndHeight, 0n)
})

t.test('unstake --now does not wait', async (t) => {
  const staking = await Staking.open(t, { ...STAKED })
  await claim(staking)
  const config = await staking.config()
  const { status, err } = await command(['unstake', '--now', '--yes', '--config', config], {
    onSay: staking.mineWhenSent,
  })
  t.equal(status, EXIT.ok, err)
  t.notMatch(err, /waiting for 1/)
  t.not(staking.supplier?.unstakeSessionEndHeight, 0n)
})
