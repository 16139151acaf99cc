import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { concat, sha256, u64, utf8 } from '../../src/base/bytes.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { type Height, height, upokt } from '../../src/base/units.ts'
import { createClaimMessage } from '../../src/chain/stake.ts'
import { chainAccess, sendAndWait } from '../../src/cli/chain.ts'
import { EXIT } from '../../src/cli/context.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { GenesisInput } from '../../src/devnet/genesis.ts'
import { sharedAt } from '../../src/devnet/state.ts'
import { writeKeyfile } from '../../src/keys/keyfile.ts'
import { Admin } from '../../src/ops/admin.ts'
import type { Report, SessionReport } from '../../src/ops/report.ts'
import { type Windows, windowsOf } from '../../src/protocol/windows.ts'
import { openStore } from '../../src/store/db.ts'
import type { SessionState } from '../../src/store/sessions.ts'
import { type CommandOptions, command, FakeTerminal } from '../support/command.ts'
import { actor, chainOf, SERVICE } from '../support/network.ts'
import { report, sessionRow } from '../support/report.ts'
import { OPERATOR, OWNER, Staking } from '../support/staking.ts'
import { record, relay, sessionKey, storeDeps } from '../support/store.ts'

const POKT = 1_000_000n
const { address } = OPERATOR.signer
/** Claims need no proof. */
const PROOF = {
  proofRequestProbability: 0,
  proofRequirementThreshold: { denom: 'upokt', amount: '1000000' },
}
const STAKED: Partial<GenesisInput> = {
  suppliers: [
    { operator: address, owner: OWNER, services: [SERVICE], url: 'http://127.0.0.1:8545' },
  ],
  params: { proof: PROOF },
}

const unstake = async (staking: Staking, words: readonly string[], options: CommandOptions = {}) =>
  await command(['unstake', '--config', await staking.config(), ...words], {
    onSay: staking.mineWhenSent,
    ...options,
  })

/** The command looks every five seconds; all other waits are limits. */
function looking(look: () => unknown): Clock {
  return {
    ...systemClock,
    sleep: async (duration, signal) => {
      if (duration !== 5_000) return await systemClock.sleep(duration, signal)
      await look()
    },
  }
}

/** Ends the command at its first look. */
const once = (options: CommandOptions = {}): CommandOptions => ({
  ...options,
  onSay: (text, terminal) => {
    if (/^not settled before/.test(text)) setImmediate(() => terminal.interrupt())
  },
})

function windows(staking: Staking, end: number): Windows {
  const { state } = staking.devnet.contextAt(staking.devnet.head.height)
  return windowsOf(height(end), sharedAt(state, height(end)))
}

async function mineTo({ devnet }: Staking, at: Height): Promise<void> {
  while (devnet.head.height < at) await devnet.mine()
}

t.test('unstake gives the stake back', async (t) => {
  const staking = await Staking.open(t, STAKED)
  const { status, out, err } = await unstake(staking, ['--json'], { answers: ['y'] })
  t.equal(status, EXIT.ok, err)
  t.match(JSON.parse(out).suppliers, [{ operator: address, txHash: /^[0-9A-F]{64}$/ }])
  t.match(err, new RegExp(`comes back \\d+ POKT to ${OWNER} at height \\d+`))
  t.not(staking.supplier?.unstakeSessionEndHeight, 0n)
  const again = await unstake(staking, ['--yes'])
  t.equal(again.status, EXIT.chain)
  t.match(again.err, /not possible: already unstaking/)
})

t.test('unstake of what is not staked, and a no', async (t) => {
  const none = await unstake(await Staking.open(t), ['--yes'])
  t.equal(none.status, EXIT.chain)
  t.match(none.err, `${address} is not staked`)
  const staking = await Staking.open(t, STAKED)
  const no = await unstake(staking, [], { answers: ['n'] })
  t.equal(no.status, EXIT.failure)
  t.match(no.err, /^DECLINED: /m)
  t.equal(staking.supplier?.unstakeSessionEndHeight, 0n)
})

t.test('the owner may unstake, a stranger may not', async (t) => {
  const accounts = [address, OWNER, actor('owner 2').signer.address].map((one) => ({
    address: one,
    balance: upokt(POKT),
  }))
  accounts.push({ address: actor('application').signer.address, balance: upokt(POKT) })
  const staking = await Staking.open(t, { ...STAKED, accounts })
  const deps = { randomBytes: (n: number) => new Uint8Array(randomBytes(n)) }
  const cheap = { n: 2 ** 10, r: 8, p: 1 }
  const as = async (name: string) => {
    const file = join(staking.folder, `${name.replace(' ', '-')}.json`)
    await writeKeyfile(file, actor(name).secret, 'secret', deps, cheap)
    await writeFile(join(staking.folder, 'secret'), 'secret', { mode: 0o600 })
    const passphrase = ['--owner-passphrase-file', join(staking.folder, 'secret')]
    return ['--yes', '--signer', 'owner', '--owner-key', file, ...passphrase]
  }
  const stranger = await unstake(staking, await as('owner 2'))
  t.equal(stranger.status, EXIT.chain)
  t.match(stranger.err, /not possible: only the owner or the operator may unstake/)
  const owner = await unstake(staking, await as('owner 1'))
  t.equal(owner.status, EXIT.ok, owner.err)
  t.not(staking.supplier?.unstakeSessionEndHeight, 0n)
})

/** A claim of 3 relays of the first session, in its block. */
async function claim(staking: Staking): Promise<{ end: number; sessionId: string }> {
  const { header } = await chainOf(staking.devnet).session(
    actor('application').signer.address,
    SERVICE,
  )
  if (header === undefined) throw new Error('no session')
  const root = concat(sha256(utf8('root')), u64(3n * 4_000n), u64(3n))
  const end = Number(header.sessionEndBlockHeight)
  await mineTo(staking, windows(staking, end).claimOpen)
  const terminal = new FakeTerminal({ onSay: staking.mineWhenSent })
  const chain = chainAccess(terminal.context, await loadConfig(await staking.config()))
  const message = createClaimMessage(address, header, root)
  await sendAndWait(terminal.context, chain, OPERATOR.signer, message)
  await chain.rpc.close()
  return { end, sessionId: header.sessionId }
}

t.test('it waits for claims that are not settled, and says until which height', async (t) => {
  const staking = await Staking.open(t, STAKED)
  const { end } = await claim(staking)
  const { settlement } = windows(staking, end)
  const impatient = await unstake(staking, ['--yes'], once())
  t.equal(impatient.status, EXIT.aborted, impatient.err)
  t.match(impatient.err, /warning: 1 claims are not settled yet/)
  const now = staking.devnet.head.height
  t.match(
    impatient.err,
    `not settled before height ${settlement}, now ${now}; --now does not wait:`,
  )
  t.match(
    impatient.err,
    `${SERVICE}, session that ends at ${end}: claimed on the chain; settled at ${settlement}`,
  )
  t.equal(staking.supplier?.unstakeSessionEndHeight, 0n, 'nothing was sent')

  let settled = false
  const clock = looking(async () => {
    const { events } = await staking.devnet.mine()
    settled ||= events.some(({ type }) => type.endsWith('EventClaimSettled'))
  })
  const patient = await unstake(staking, ['--yes'], { clock })
  t.equal(patient.status, EXIT.ok, patient.err)
  t.equal(settled, true, 'the claim was settled first')
  t.equal(staking.devnet.head.height, settlement + 1, 'and then no block was waited for')
  t.equal(patient.err.match(/not settled before/g)?.length, 1, 'it is said once')
})

t.test('unstake --now says what it gives up', async (t) => {
  const staking = await Staking.open(t, STAKED)
  await claim(staking)
  const { status, err } = await unstake(staking, ['--now', '--yes'])
  t.equal(status, EXIT.ok, err)
  t.match(err, /given up, since --now does not wait:\n {2}text-generation, session that ends at 4/)
  t.not(staking.supplier?.unstakeSessionEndHeight, 0n)
})

/** The admin port of a daemon, without the daemon. */
async function daemon(t: Test, { folder }: Staking, make: () => Partial<Report>): Promise<void> {
  await mkdir(join(folder, 'data'), { recursive: true })
  const admin = new Admin(
    {
      health: () => [],
      pause: async () => {},
      resume: async () => {},
      report: async () => report(make()),
      randomBytes: (n) => new Uint8Array(n).fill(1),
      log: silentLog(),
    },
    { host: '127.0.0.1', port: 0, runFile: join(folder, 'data', 'run.json'), pid: 4242 },
  )
  t.teardown(() => admin.stop())
  await admin.listen()
}

t.test('it waits for the sessions of the running daemon', async (t) => {
  const staking = await Staking.open(t, STAKED)
  const mine = sessionRow({ supplier: address, sessionEnd: 4 })
  const others: SessionReport[] = [
    sessionRow({ sessionId: '11'.repeat(32), sessionEnd: 400 }),
    sessionRow({ sessionId: '22'.repeat(32), sessionEnd: 400, supplier: address, served: 0 }),
  ]
  let state: Partial<Report> = { serving: true, sessions: [mine, ...others] }
  await daemon(t, staking, () => state)
  const { settlement } = windows(staking, 4)
  const told = await unstake(staking, ['--yes'], once())
  t.equal(told.status, EXIT.aborted, told.err)
  t.match(told.err, `not settled before height ${settlement}, now 1;`)
  t.match(told.err, `session that ends at 4: serving, 12 relays; settled at ${settlement}`)
  t.notMatch(told.err, /400/, 'nothing of other operators, nothing without relays')

  state = { ...state, serving: false }
  let looks = 0
  const clock = looking(async () => {
    looks++
    if (looks === 1) await mineTo(staking, height(settlement - 1))
    if (looks === 2) state = { ...state, sessions: [{ ...mine, state: 'proven' }, ...others] }
    if (looks === 3) state = { ...state, sessions: others }
  })
  const { status, err } = await unstake(staking, ['--yes'], { clock })
  t.equal(status, EXIT.ok, err)
  t.equal(looks, 3)
  t.match(err, /serving, 12 relays.*\n(.*\n)*.*proven, 12 relays/, 'what changes is said')
  t.not(staking.supplier?.unstakeSessionEndHeight, 0n)
})

t.test('a claim of a session that the daemon tells of is told once', async (t) => {
  const staking = await Staking.open(t, STAKED)
  const { end, sessionId } = await claim(staking)
  const told = sessionRow({ sessionId, supplier: address, sessionEnd: end, state: 'claimed' })
  await daemon(t, staking, () => ({ serving: false, sessions: [told] }))
  const { err } = await unstake(staking, ['--yes'], once())
  t.strictSame(err.match(/session that ends at .*;/g), [
    `session that ends at ${end}: claimed, 12 relays;`,
  ])
})

t.test('a daemon that serves makes new sessions, and it is said what to do', async (t) => {
  const staking = await Staking.open(t, STAKED)
  const sessions = [sessionRow({ supplier: address, sessionEnd: 4 })]
  await daemon(t, staking, () => ({ serving: true, sessions }))
  const { err } = await unstake(staking, ['--yes'], once())
  t.match(err, /a daemon that serves makes new ones: stop it and run pokt-supplier start --settle/)
  await mineTo(staking, windows(staking, 4).settlement)
  const late = await unstake(staking, ['--yes'])
  t.equal(late.status, EXIT.ok, 'what the chain has settled cannot be lost')
})

/** A session with one relay in the database, which nobody has open. */
async function stored(staking: Staking, end: number, state: SessionState): Promise<void> {
  await using store = await openStore(join(staking.folder, 'data', 'db'), storeDeps())
  const key = { ...sessionKey(end), operator: address }
  await store.sessions.put(record(key, state))
  await store.relays.record(key, relay('one'))
}

t.test('without a daemon, relays that nobody claims or proves are not given up', async (t) => {
  const root = new Uint8Array(48)
  for (const state of [
    { at: 'serving' },
    { at: 'sealed', root },
    { at: 'claimed', root },
  ] as const) {
    const staking = await Staking.open(t, STAKED)
    await stored(staking, 4, state)
    const { status, err } = await unstake(staking, ['--yes'])
    t.equal(status, EXIT.failure, state.at)
    t.match(err, `session that ends at 4: ${state.at}, 1 relays`, state.at)
    t.match(err, /UNSETTLED: no daemon runs to claim or prove 1 sessions with relays/, state.at)
    t.match(err, /Run pokt-supplier start --settle first; unstake --now gives them up/, state.at)
    t.equal(staking.supplier?.unstakeSessionEndHeight, 0n, state.at)
    const now = await unstake(staking, ['--yes', '--now'])
    t.equal(now.status, EXIT.ok, now.err)
    t.match(now.err, `  llm, session that ends at 4: ${state.at}, 1 relays`)
  }
})

t.test('without a daemon, what needs nobody any more is waited for', async (t) => {
  const staking = await Staking.open(t, STAKED)
  await stored(staking, 4, { at: 'unproven', root: new Uint8Array(48) })
  const clock = looking(() => staking.devnet.mine())
  const { status, err } = await unstake(staking, ['--yes'], { clock })
  t.equal(status, EXIT.ok, err)
  const { settlement, claimClose } = windows(staking, 4)
  t.equal(staking.devnet.head.height, settlement + 1)
  const late = await Staking.open(t, STAKED)
  await stored(late, 4, { at: 'serving' })
  await mineTo(late, claimClose)
  const lost = await unstake(late, ['--yes'], { clock: looking(() => late.devnet.mine()) })
  t.equal(lost.status, EXIT.ok, 'no time is left to claim it')
})

t.test('a daemon that does not answer yet is waited for', async (t) => {
  const staking = await Staking.open(t, STAKED)
  const store = await openStore(join(staking.folder, 'data', 'db'), storeDeps())
  const clock = looking(() => store.close())
  const { status, err } = await unstake(staking, ['--yes'], { clock })
  t.equal(status, EXIT.ok, err)
  t.match(err, /a daemon has the database and does not answer yet; waiting for what it knows/)
})
