/** The program as its owner meets it: starting and stopping, refusing to start, and the commands. */
import { access, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { request } from 'undici'
import { parse, stringify } from 'yaml'
import { upokt } from '../../src/base/units.ts'
import { GatewayError } from '../../src/devnet/gateway.ts'
import { writeKeyfile } from '../../src/keys/keyfile.ts'
import { readRunFile } from '../../src/ops/admin.ts'
import { actor, field, Network, SERVICE, until } from '../support/network.ts'
import { command, mining } from '../support/program.ts'

const PASSPHRASE = 'test passphrase'
const POKT = 1_000_000n
const CHEAP = { n: 2 ** 10, r: 8, p: 1 }

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** Changes supplier.yaml, here or under another name. @returns its path */
async function configure(
  network: Network,
  change: (config: Record<string, Record<string, unknown>>) => Record<string, unknown>,
  path = network.configPath,
): Promise<string> {
  const config = parse(await readFile(network.configPath, 'utf8'))
  await writeFile(path, stringify({ ...config, ...change(config) }), { mode: 0o600 })
  return path
}

async function keyFile(folder: string, name: string, file: string): Promise<void> {
  const deps = { randomBytes: (length: number) => new Uint8Array(length).fill(1) }
  await writeKeyfile(join(folder, file), actor(name).secret, PASSPHRASE, deps, CHEAP)
}

t.test('a daemon from its first minute to its last', async (t) => {
  const network = await Network.open(t)
  const { folder, upstream, configPath, runFile } = network
  const status = async () =>
    JSON.parse((await command(folder, 'status', '--config', configPath, '--json')).stdout)

  await t.test('answers health to anybody here, and status to its owner', async (t) => {
    t.strictSame(await status(), { state: 'stopped' }, 'nothing has run yet')
    const child = await network.start()
    const run = await readRunFile(runFile)
    t.equal(run.pid, child.pid)
    t.equal((await stat(runFile)).mode & 0o777, 0o600, 'only the owner can read the token')
    const get = async (path: string, headers: Record<string, string> = {}) => {
      const { statusCode, body } = await request(`${run.url}${path}`, { headers })
      return { code: statusCode, ...((await body.json()) as Record<string, unknown>) }
    }
    const authorization = `Bearer ${run.token}`
    t.match(await get('/healthz'), { code: 200, ok: true, reasons: [] })
    t.match(await get('/status', { authorization }), { code: 200, pid: run.pid })
    t.match(await get('/status'), { code: 401 }, 'not without the token')
    t.match(await get('/status', { authorization: `${authorization.slice(0, -1)}x` }), {
      code: 401,
    })
    for (const path of ['/healthz', '/status']) {
      const foreign = await get(path, { authorization, host: 'evil.example' })
      t.match(foreign, { code: 403 }, `${path} is not for web pages`)
    }
    t.match(await get('/', { authorization }), { code: 404 })
  })

  await t.test('commands beside it ask it, and a second daemon leaves it alone', async (t) => {
    await keyFile(folder, 'gateway', 'gateway.json')
    const from = ['--rpc', network.rpc.url, '--key', 'gateway.json', '--service', SERVICE]
    const payer = ['--passphrase-file', 'passphrase', '--app', network.application.signer.address]
    const [text, second, relay, stranger] = await Promise.all([
      command(folder, 'status', '--config', configPath),
      command(folder, 'start', '--config', configPath),
      command(folder, 'relay', ...from, ...payer, '--prompt', 'hello', '--json'),
      command(folder, 'relay', ...from, '--passphrase-file', 'passphrase', '--prompt', 'hello'),
    ])
    const pid = network.child?.pid
    t.equal(text.status, 0, text.stderr)
    t.match(text.stdout, `process ${pid}`)
    t.match(text.stdout, /^chain +pocket-devnet at height 1$/m)
    t.equal(second.status, 3, second.stderr)
    t.match(second.stderr, `process ${pid}`, 'it says who holds the folder')
    t.equal(relay.status, 0, relay.stderr)
    t.match(JSON.parse(relay.stdout), {
      supplier: network.operators[0]?.signer.address,
      verified: true,
      status: 200,
    })
    t.equal(stranger.status, 4, 'a gateway pays for nothing by itself')
    t.match(await status(), {
      state: 'running',
      pid,
      chain: { id: 'pocket-devnet', height: 1 },
      relays: { mined: 1, inFlight: 0 },
      engines: [{ services: [SERVICE], state: 'ready' }],
      sessions: [{ state: 'serving', served: 1, sessionEnd: 4 }],
      earnings: { sessions: 0, settledUpokt: '0', lostUpokt: '0' },
    })
  })

  await t.test('SIGTERM lets a running relay end and takes no new one', async (t) => {
    const held = upstream.hold()
    const running = network.relay('the last one')
    await held.caught
    const stopped = network.stop('SIGTERM')
    await until(() => network.output.includes('supplier stops'), 'it has heard')
    await t.rejects(network.relay('too late'), GatewayError)
    t.equal(network.upstream.chats, 2, 'the late one was not served')
    held.release()
    const relayed = await running
    t.equal(relayed.verified && relayed.inner?.status, 200, relayed.fault)
    t.equal(await stopped, 0)
    t.equal(await exists(runFile), false, 'nothing points to it any more')
    t.match(await status(), { state: 'stopped', sessions: [{ served: 2, state: 'serving' }] })
  })

  await t.test('SIGTERM cuts off what runs past the limit', async (t) => {
    await configure(network, ({ relay }) => ({ relay: { ...relay, drain: '200ms' } }))
    await network.start()
    await network.mineTo(7)
    const held = upstream.hold()
    const cut = t.rejects(network.relay('an endless one'), GatewayError)
    await held.caught
    t.equal(await network.stop('SIGTERM'), 0)
    await cut
    t.match(await status(), { sessions: [{ served: 2, state: 'claimed' }, { served: 0 }] })
  })

  await t.test('it does not start with what is not its own', async (t) => {
    const data = join(folder, 'data')
    await rename(data, join(folder, 'kept'))
    await writeFile(join(folder, 'wrong'), 'another passphrase', { mode: 0o600 })
    const other = await configure(
      network,
      ({ chain }) => ({ dataDir: 'other', chain: { ...chain, id: 'pocket' } }),
      join(folder, 'other.yaml'),
    )
    const keys = [{ keyFile: 'operator-1.json', passphraseFile: 'wrong' }]
    const wrong = await configure(network, () => ({ operators: keys }), join(folder, 'wrong.yaml'))
    const [lost, foreign, locked, none] = await Promise.all([
      command(folder, 'start', '--config', configPath),
      command(folder, 'start', '--config', other),
      command(folder, 'start', '--config', wrong),
      command(folder, 'start', '--config', 'nowhere.yaml'),
    ])
    t.equal(lost.status, 1, lost.stderr)
    t.match(lost.stderr, /STORE_LOST: the chain holds 1 claims/)
    t.equal(foreign.status, 4, foreign.stderr)
    t.match(foreign.stderr, 'WRONG_CHAIN: the node is of chain "pocket-devnet", not of "pocket"')
    t.equal(locked.status, 2, locked.stderr)
    t.match(locked.stderr, /^PASSPHRASE: /)
    t.equal(none.status, 2, none.stderr)
    t.match(none.stderr, /^CONFIG_MISSING: /)
    await rename(data, join(folder, 'empty'))
    await rename(join(folder, 'kept'), data)
    await network.start()
    await network.mineTo(10)
    const paid = network.named('ClaimSettled').map((event) => field(event, 'num_relays'))
    t.strictSame(paid, ['2'], 'with its own database the claim is proven and paid')
  })
})

t.test('the commands of an owner', async (t) => {
  const network = await Network.open(t)
  const { folder, devnet } = network
  const newcomer = actor('newcomer').signer.address

  await t.test('keys are made, read in and shown', async (t) => {
    const pass = ['--passphrase-file', 'passphrase']
    const { privateKey } = actor('newcomer').secret
    await writeFile(join(folder, 'hex'), Buffer.from(privateKey).toString('hex'), { mode: 0o600 })
    const [made, read] = await Promise.all([
      command(folder, 'keys', 'create', 'made.json', ...pass, '--json'),
      command(folder, 'keys', 'import', 'read.json', '--from', 'hex', ...pass, '--json'),
    ])
    t.equal(made.status, 0, made.stderr)
    t.equal((await stat(join(folder, 'made.json'))).mode & 0o777, 0o600)
    const { address } = JSON.parse(made.stdout)
    t.match(JSON.parse(read.stdout), { address: newcomer })
    const [shown, secret, again, open] = await Promise.all([
      command(folder, 'keys', 'show', 'made.json', ...pass),
      command(folder, 'keys', 'show', 'made.json', ...pass, '--secret', '--yes', '--json'),
      command(folder, 'keys', 'create', 'made.json', ...pass),
      command(folder, 'keys', 'show', 'made.json'),
    ])
    t.match(shown.stdout, new RegExp(`^address +${address}$`, 'm'))
    t.notMatch(
      shown.stdout + made.stdout,
      /mnemonic|privateKey/,
      'secrets are shown on demand only',
    )
    t.equal(again.status, 2, 'a key file is never overwritten')
    t.match(again.stderr, /^KEYFILE_EXISTS: /)
    t.equal(open.status, 2)
    t.match(open.stderr, /^NO_PASSPHRASE: /)
    const { mnemonic } = JSON.parse(secret.stdout)
    t.equal(mnemonic.split(' ').length, 24)
    await writeFile(join(folder, 'words'), mnemonic, { mode: 0o600 })
    const words = ['--from', 'words', ...pass, '--json']
    const copied = await command(folder, 'keys', 'import', 'copy.json', ...words)
    t.match(JSON.parse(copied.stdout), { address }, 'the words give the same key')
  })

  await t.test('a stake is made, raised and ended', async (t) => {
    const path = join(folder, 'newcomer.yaml')
    const config = (amount: bigint) =>
      configure(
        network,
        () => ({
          operators: [{ keyFile: 'newcomer.json', passphraseFile: 'passphrase' }],
          stake: { amount: `${amount * POKT}upokt`, url: network.relayUrl },
        }),
        path,
      )
    const run = async (...args: string[]) => {
      const ran = await mining(devnet, command(folder, ...args, '--config', path, '--json'))
      return { ...ran, supplier: ran.stdout === '' ? {} : JSON.parse(ran.stdout).suppliers[0] }
    }
    const staked = () => devnet.contextAt(devnet.head.height).state.suppliers.get(newcomer)
    await keyFile(folder, 'newcomer', 'newcomer.json')
    devnet.fund(newcomer, upokt(70_000n * POKT))
    await devnet.mine()
    await config(60_000n)
    const dry = await run('stake', '--dry-run')
    t.match(dry.supplier, { sent: false, lockedUpokt: String(60_000n * POKT) })
    t.match(await run('stake'), { status: 2, stderr: /nobody can be asked here/ })
    t.equal(staked(), undefined, 'without a yes nothing is sent')
    const first = await run('stake', '--yes')
    t.equal(first.status, 0, first.stderr)
    t.match(first.supplier, { operator: newcomer, sent: true, activeFrom: 5 })
    t.equal(staked()?.stake?.amount, String(60_000n * POKT))
    await config(61_000n)
    await network.mineTo(4)
    const second = await run('stake', '--yes')
    t.match(second.supplier, { sent: true, lockedUpokt: String(1_000n * POKT) })
    const active = Number(staked()?.serviceConfigHistory.at(-1)?.activationHeight)
    t.equal(second.supplier.activeFrom, active, 'reckoned from the block that took it')
    t.equal(active, 9)
    t.equal(staked()?.stake?.amount, String(61_000n * POKT))
    await config(80_000n)
    const third = await run('stake', '--yes')
    t.match(third, { status: 4, stderr: /not possible: the signer has/ }, 'not without the money')
    await network.mineTo(8)
    const ended = await run('unstake', '--yes')
    t.equal(ended.status, 0, ended.stderr)
    t.match(ended.supplier, { operator: newcomer, stakeUpokt: String(61_000n * POKT) })
    t.ok((staked()?.unstakeSessionEndHeight ?? 0n) > 0n, 'the chain has begun to unbond')
    t.match(await run('unstake', '--yes'), { status: 4, stderr: /already unstaking/ })
    await network.mineTo(ended.supplier.returnedAt + 1)
    t.equal(staked(), undefined, 'and it is over when the command said')
  })

  await t.test('the engine that is there is shown', async (t) => {
    const shown = await command(folder, 'engine', 'show', '--data', 'data', '--json')
    t.equal(shown.status, 0, shown.stderr)
    t.match(JSON.parse(shown.stdout), { use: { where: 'package' }, why: /./ })
  })
})
