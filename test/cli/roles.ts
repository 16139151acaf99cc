import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { upokt } from '../../src/base/units.ts'
import { EXIT } from '../../src/cli/context.ts'
import type { GenesisInput } from '../../src/devnet/genesis.ts'
import { writeKeyfile } from '../../src/keys/keyfile.ts'
import { command } from '../support/command.ts'
import { actor, SERVICE } from '../support/network.ts'
import { OPERATOR, OWNER, STAKE, Staking } from '../support/staking.ts'

const POKT = 1_000_000n
const { address } = OPERATOR.signer
const SECOND = actor('operator 2')
const URL = 'https://supplier.example.org'
const SERVICES = [
  { id: SERVICE, computeUnitsPerRelay: 4_000n },
  { id: 'other', computeUnitsPerRelay: 10n },
]

/** The operator, staked and owned by `OWNER`; both have money. */
const STAKED: Partial<GenesisInput> = {
  services: SERVICES,
  accounts: [
    { address, balance: upokt(60_100n * POKT) },
    { address: OWNER, balance: upokt(60_100n * POKT) },
    { address: SECOND.signer.address, balance: upokt(60_100n * POKT) },
    { address: actor('application').signer.address, balance: upokt(POKT) },
  ],
  suppliers: [{ operator: address, owner: OWNER, services: [SERVICE], url: URL }],
}
const FRESH: Partial<GenesisInput> = { ...STAKED, suppliers: [] }

async function open(t: Test, genesis: Partial<GenesisInput>): Promise<Staking> {
  const staking = await Staking.open(t, genesis)
  const deps = { randomBytes: (n: number) => new Uint8Array(randomBytes(n)) }
  const cheap = { n: 2 ** 10, r: 8, p: 1 }
  for (const [name, { secret }] of [
    ['owner', actor('owner 1')],
    ['stranger', actor('owner 2')],
    ['second', SECOND],
  ] as const)
    await writeKeyfile(join(staking.folder, `${name}.json`), secret, 'secret', deps, cheap)
  await writeFile(join(staking.folder, 'secret'), 'secret', { mode: 0o600 })
  return staking
}

/** As the owner, or whoever has the key. */
function asOwner({ folder }: Staking, key = 'owner'): string[] {
  const file = (name: string) => join(folder, name)
  const keys = ['--owner-key', file(`${key}.json`), '--owner-passphrase-file', file('secret')]
  return ['--signer', 'owner', ...keys]
}

async function stake(
  staking: Staking,
  words: readonly string[],
  change: Record<string, unknown> = {},
) {
  const config = await staking.config(change)
  return await command(['stake', '--config', config, ...words], { onSay: staking.mineWhenSent })
}

t.test('flags go before what stands in the configuration', async (t) => {
  const staking = await open(t, FRESH)
  const words = ['--amount', '59999.5POKT', '--owner', SECOND.signer.address, '--url', URL]
  const shares = ['--rev-share', `${OWNER}=60`, '--rev-share', `${address}=40`]
  const services = ['--service', 'other', '--service', SERVICE]
  const { status, err } = await stake(staking, [...words, ...shares, ...services, '--yes'])
  t.equal(status, EXIT.ok, err)
  t.match(err, 'warning: other is not among the configured services: nothing here serves it')
  t.match(staking.supplier, {
    ownerAddress: SECOND.signer.address,
    stake: { amount: '59999500000' },
  })
  const history = staking.supplier?.serviceConfigHistory ?? []
  t.strictSame(history.map(({ service }) => service?.serviceId).sort(), ['other', SERVICE].sort())
  t.match(history[0]?.service, {
    endpoints: [{ url: URL }, { url: URL }, { url: 'wss://supplier.example.org' }],
    revShare: [
      { address: OWNER, revSharePercentage: 60n },
      { address, revSharePercentage: 40n },
    ],
  })
})

t.test(
  'flags that are wrong or do not fit together are refused before anything is asked',
  async (t) => {
    const staking = await open(t, FRESH)
    const shares = (...list: string[]) => list.flatMap((share) => ['--rev-share', share])
    const cases: [string[], RegExp][] = [
      [
        ['--amount', '5'],
        /--amount.* write an amount such as 60005000000upokt or 60005POKT, not "5"/,
      ],
      [['--amount', '1.1234567POKT'], /--amount.* write an amount/],
      [['--owner', 'pokt1xyz'], /--owner.* not an address/],
      [['--operator', 'me'], /--operator.* not an address/],
      [['--url', 'ftp://x'], /--url.* an http or https URL is needed/],
      [['--service', 'no blanks'], /--service.* 1 to 42 letters/],
      [['--service', 'a', '--service', 'a'], /--service.* stands there already/],
      [shares(`${OWNER}=0`), /--rev-share.* whole number from 1 to 100/],
      [shares(`${OWNER}=101`), /--rev-share.* whole number/],
      [shares(`${OWNER}=1e1`), /--rev-share.* whole number/],
      [shares(`${OWNER}=50`, `${OWNER}=50`), /--rev-share.* has a share already/],
      [shares(`${OWNER}=50`), /the shares of --rev-share add up to 50, not to 100/],
      [['--stake-only', '--services-only'], /cannot be used with/],
      [['--stake-only', '--service', 'a'], /cannot be used with/],
      [['--services-only', '--amount', '5upokt'], /cannot be used with/],
      [['--services-only', '--signer', 'owner'], /services are set by the operator only/],
      [['--signer', 'somebody'], /Allowed choices are operator, owner/],
      [['--signer', 'owner', '--stake-only'], /add --owner-key/],
      [['--owner-key', 'owner.json'], /is used with --signer owner only/],
      [['--dry-run', '--wait-funds'], /--dry-run waits for nothing/],
      [['--operator', OWNER], new RegExp(`no key file .* that of ${OWNER}; there are: ${address}`)],
      [asOwner(staking), /services are set by the operator only: add --stake-only/],
      [[...asOwner(staking, 'stranger'), '--stake-only'], /the owner's key is that of .*, not of /],
    ]
    for (const [words, says] of cases) {
      const { status, err } = await stake(staking, ['--yes', ...words])
      t.equal(status, EXIT.config, `${words.join(' ')}: ${err}`)
      t.match(err, says)
    }
    t.equal(staking.devnet.mempool.waiting.length, 0)
  },
)

t.test('the owner changes stake and owner, and leaves the services as they are', async (t) => {
  const staking = await open(t, STAKED)
  const before = staking.supplier?.serviceConfigHistory
  const words = [...asOwner(staking), '--stake-only', '--amount', '60001POKT']
  const { status, err, out } = await stake(staking, [...words, '--yes', '--json'])
  t.equal(status, EXIT.ok, err)
  t.match(JSON.parse(out).suppliers, [{ operator: address, signer: OWNER, lockedUpokt: '1000000' }])
  t.match(err, `signed by        ${OWNER}`)
  t.match(err, /warning: the chain has no public key of .*: gateways cannot check its answers/)
  t.match(staking.supplier, { ownerAddress: OWNER, stake: { amount: '60001000000' } })
  t.strictSame(staking.supplier?.serviceConfigHistory, before)
  const given = await stake(staking, [...words, '--owner', SECOND.signer.address, '--yes'])
  t.equal(given.status, EXIT.ok, given.err)
  t.match(given.err, `warning: ${SECOND.signer.address} becomes the owner`)
  t.equal(staking.supplier?.ownerAddress, SECOND.signer.address)
  const late = await stake(staking, [...words, '--yes'])
  t.equal(late.status, EXIT.chain)
  t.match(late.err, /not possible: only the owner or the operator may change a staked supplier/)
})

t.test('the owner stakes first, the operator adds the services', async (t) => {
  const staking = await open(t, FRESH)
  const first = await stake(staking, [...asOwner(staking), '--stake-only', '--yes'])
  t.equal(first.status, EXIT.ok, first.err)
  t.match(first.err, 'warning: without services nothing is served')
  t.match(staking.supplier, { ownerAddress: OWNER, serviceConfigHistory: [] })
  const second = await stake(staking, ['--services-only', '--yes', '--json'])
  t.equal(second.status, EXIT.ok, second.err)
  t.match(JSON.parse(second.out).suppliers, [{ signer: address, lockedUpokt: '0' }])
  t.match(staking.supplier, { ownerAddress: OWNER, stake: { amount: String(STAKE) } })
  t.equal(staking.supplier?.serviceConfigHistory[0]?.service?.serviceId, SERVICE)
  const own = await stake(staking, ['--owner', SECOND.signer.address, '--yes'])
  t.equal(own.status, EXIT.chain)
  t.match(own.err, `not possible: only its owner ${OWNER} may change the owner`)
})

t.test('services alone cannot be the first stake', async (t) => {
  const staking = await open(t, FRESH)
  const { status, err } = await stake(staking, ['--services-only', '--yes'])
  t.equal(status, EXIT.chain)
  t.match(err, /not possible: a new supplier needs a stake/)
})

t.test('what is missing is asked for on a terminal, with the default shown', async (t) => {
  const staking = await open(t, FRESH)
  const config = await staking.config({ stake: undefined })
  const answers = ['', OWNER, URL, 'y']
  const { status, err, asked } = await command(['stake', '--config', config], {
    answers,
    onSay: staking.mineWhenSent,
  })
  t.equal(status, EXIT.ok, err)
  t.strictSame(
    asked.map(({ question }) => question),
    [
      'New total stake [59500.0001 POKT]: ',
      'Owner (pokt1…) [the operator]: ',
      'Public URL of the relay port: ',
      'Stake? [y/N] ',
    ],
  )
  t.match(staking.supplier, { ownerAddress: OWNER, stake: { amount: '59500000100' } })
  const again = await command(['stake', '--config', config, '--url', URL], {
    answers: ['', '', 'n'],
  })
  t.equal(again.status, EXIT.failure, again.err)
  t.match(again.asked, [
    { question: 'New total stake [59500.0001 POKT]: ' },
    { question: `Owner (pokt1…) [${OWNER}]: ` },
    { question: 'Stake? [y/N] ' },
  ])
  for (const [answer, says] of [
    ['much', /ANSWER: write an amount such as .*not "much"/],
    ['1POKT', /not possible: 1 POKT is below the minimum/],
  ] as const) {
    const words = ['stake', '--config', config, '--url', URL, '--owner', OWNER]
    const wrong = await command(words, { answers: [answer] })
    t.not(wrong.status, EXIT.ok)
    t.match(wrong.err, says)
  }
})

t.test('of several operators one can be picked; else each is asked about once', async (t) => {
  const staking = await open(t, FRESH)
  const operators = [
    { keyFile: 'operator.json', passphraseFile: 'passphrase' },
    { keyFile: 'second.json', passphraseFile: 'secret' },
  ]
  const config = await staking.config({ operators })
  const one = await command(
    ['stake', '--config', config, '--operator', SECOND.signer.address, '--json', '--dry-run'],
    // The other key would not open.
    { environment: { passphrase: 'wrong' } },
  )
  t.equal(one.status, EXIT.ok, one.err)
  t.match(JSON.parse(one.out).suppliers, [{ operator: SECOND.signer.address }])
  const both = await command(['stake', '--config', config, '--json'], {
    answers: ['y', 'n'],
    onSay: staking.mineWhenSent,
  })
  t.equal(both.status, EXIT.failure)
  t.equal(both.asked.length, 2)
  t.match(
    JSON.parse(both.out).suppliers,
    [{ operator: address, sent: true }],
    'what was done is told',
  )
  t.equal(JSON.parse(both.out).suppliers.length, 1)
})

t.test('it waits for money and goes on when it comes', async (t) => {
  const accounts = [{ address: actor('application').signer.address, balance: upokt(POKT) }]
  const staking = await open(t, { ...FRESH, accounts })
  // The first look finds nothing, the second a part of it, the third all.
  const gifts = [0n, 50_000n * POKT, 10_100n * POKT]
  const clock: Clock = {
    ...systemClock,
    sleep: async (duration, signal) => {
      if (duration !== 5_000) return await systemClock.sleep(duration, signal)
      staking.devnet.fund(address, upokt(gifts.shift() ?? 0n))
      await staking.devnet.mine()
    },
  }
  const config = await staking.config()
  const { status, out, err } = await command(
    ['stake', '--config', config, '--wait-funds', '--yes'],
    {
      clock,
      onSay: staking.mineWhenSent,
    },
  )
  t.equal(status, EXIT.ok, err)
  t.strictSame(out.trim().split('\n'), [
    `${address} needs 60000.000002 POKT`,
    `${address} needs 10000.000002 POKT`,
  ])
  t.match(err, /waiting for money; Ctrl-C ends this, and nothing is sent/)
  t.match(staking.supplier?.stake, { amount: String(STAKE) })
})

t.test(
  'a wait for money that is interrupted has sent nothing; programs get one line',
  async (t) => {
    const accounts = [{ address: actor('application').signer.address, balance: upokt(POKT) }]
    const staking = await open(t, { ...FRESH, accounts })
    const words = ['stake', '--config', await staking.config(), '--wait-funds', '--yes', '--json']
    const { status, out } = await command(words, {
      onSay: (text, terminal) => {
        if (/^waiting for money/.test(text)) setImmediate(() => terminal.interrupt())
      },
    })
    t.equal(status, EXIT.aborted)
    const [line = '', ...rest] = out.split('\n')
    t.strictSame(JSON.parse(line), { address, needsUpokt: '60000000002' })
    t.strictSame(JSON.parse(rest.join('\n')), { suppliers: [] })
    t.equal(staking.devnet.mempool.waiting.length, 0)
    const hopeless = await staking.config({
      services: [{ id: 'unheard-of', backend: { kind: 'llamacpp', model: 'tiny' } }],
    })
    const refused = await command(['stake', '--config', hopeless, '--wait-funds', '--yes'])
    t.equal(refused.status, EXIT.chain, 'money would not help')
    t.match(refused.err, /not possible: service unheard-of does not exist/)
    t.notMatch(refused.out, /needs/)
  },
)
