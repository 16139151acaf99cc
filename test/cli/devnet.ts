import { readdir, readFile, stat } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { request } from 'undici'
import { systemClock } from '../../src/base/clock.ts'
import { ms } from '../../src/base/units.ts'
import { EXIT } from '../../src/cli/context.ts'
import { loadConfig } from '../../src/config/load.ts'
import { readKeyfile } from '../../src/keys/keyfile.ts'
import { command, FakeTerminal } from '../support/command.ts'

const PORTS = ['--rpc-port', '0', '--gateway-port', '0', '--relay-port', '0', '--admin-port', '0']
const MANUAL = ['devnet', ...PORTS, '--block-time', 'manual']

/** Runs a devnet while `work` does; then Ctrl-C. */
async function during(
  words: readonly string[],
  work: (said: (label: string) => string, terminal: FakeTerminal) => Promise<void>,
): Promise<{ status: number; err: string }> {
  let up = () => {}
  const ready = new Promise<void>((resolve) => {
    up = resolve
  })
  const terminal = new FakeTerminal({ onSay: (text) => /^ask /.test(text) && up() })
  const running = terminal.run(...words)
  const ended = running.then((status) => {
    throw new Error(`it ended with ${status}: ${terminal.said}`)
  })
  try {
    await Promise.race([ready, ended])
    const said = (label: string) =>
      new RegExp(`^${label} +(.*)$`, 'm').exec(terminal.said)?.[1] ?? `no ${label}`
    await Promise.race([work(said, terminal), ended])
  } finally {
    ended.catch(() => {})
    terminal.interrupt()
  }
  return { status: await running, err: terminal.said }
}

async function rpc(url: string, method: string): Promise<Record<string, unknown>> {
  const { body } = await request(`${url}/${method}`)
  return ((await body.json()) as { result: Record<string, unknown> }).result
}

t.test('without a supplier it says how to stake and start one', async (t) => {
  const data = join(t.testdir(), 'net')
  const { status, err } = await during(
    [...MANUAL, '--no-supplier', '--data', data],
    async (said) => {
      const [url = ''] = said('chain').split(' ')
      t.match(await rpc(url, 'status'), {
        node_info: { network: 'pocket-devnet' },
        sync_info: { latest_block_height: '1' },
      })
      const mine = /'(.*)'/.exec(said('mine'))?.[1] ?? ''
      const { body } = await request(mine)
      t.match(await body.json(), { result: { height: '2' } }, 'a block by hand')

      const config = join(data, 'supplier.yaml')
      t.equal(said('stake'), `pokt-supplier stake --yes --config ${config}`)
      t.equal(said('start'), `pokt-supplier start --config ${config}`)
      t.equal(said('look'), `pokt-supplier status --config ${config}`)
      const stake = ['stake', '--yes', '--config', config]
      const staked = await command(stake, { onSay: (text) => /^sent/.test(text) && request(mine) })
      t.equal(staked.status, EXIT.ok, staked.err)
      const looked = await command(['status', '--config', config])
      t.match(looked.out, /^not running, and nothing has run yet/)

      const { statusCode, body: answer } = await request(`${said('gateway')}/models`)
      t.equal(statusCode, 502, 'nobody serves yet')
      await answer.dump()
    },
  )
  t.equal(status, EXIT.ok, err)
  t.match(err, /block +3 +supplier staked/, 'what happens is told')
})

t.test('its folder holds keys, passphrase and a configuration, for its owner only', async (t) => {
  const data = join(t.testdir(), 'net')
  await during([...MANUAL, '--no-supplier', '--data', data], async () => {
    const names = [
      'application.json',
      'gateway.json',
      'operator.json',
      'passphrase',
      'supplier.yaml',
    ]
    t.strictSame((await readdir(data)).sort(), names)
    for (const name of names)
      t.equal((await stat(join(data, name))).mode & 0o077, 0, `${name} is not for others`)
    const config = await loadConfig(join(data, 'supplier.yaml'))
    const passphrase = (await readFile(join(data, 'passphrase'), 'utf8')).trim()
    t.ok(await readKeyfile(config.operators[0]?.keyFile ?? '', passphrase))
    t.equal(config.dataDir, join(data, 'data'))
  })
  t.ok(await readdir(data), 'a folder that was named stays')
})

t.test('a folder that was used before is refused, and nothing in it is touched', async (t) => {
  const data = join(t.testdir(), 'net')
  await during([...MANUAL, '--no-supplier', '--data', data], async () => {})
  const before = await readFile(join(data, 'operator.json'), 'utf8')
  const again = await command([...MANUAL, '--no-supplier', '--data', data])
  t.equal(again.status, EXIT.config)
  t.match(again.err, /^FOLDER_USED: .*supplier.yaml is there already\n.*Remove the folder/)
  t.equal(await readFile(join(data, 'operator.json'), 'utf8'), before)

  for (const name of ['supplier.yaml', 'passphrase', 'gateway.json']) {
    const mine = t.testdir({ [name]: 'mine' })
    const { status, err } = await command([...MANUAL, '--data', mine])
    t.equal(status, EXIT.config, name)
    t.match(err, `FOLDER_USED: ${join(mine, name)} is there already`, name)
    t.equal(await readFile(join(mine, name), 'utf8'), 'mine', name)
    t.strictSame(await readdir(mine), [name], name)
  }
  const old = t.testdir({ data: { db: {} } })
  t.match((await command([...MANUAL, '--data', old])).err, /FOLDER_USED: .*data\/db/)
  const engine = t.testdir({ data: { engines: {} } })
  const fine = await during([...MANUAL, '--no-supplier', '--data', engine], async () => {})
  t.equal(fine.status, EXIT.ok, 'an engine may have been put there before')
})

t.test('without --data there is a folder until it ends', async (t) => {
  let folder = ''
  await during([...MANUAL, '--no-supplier'], async (said) => {
    folder = said('look')
      .replace(/.*--config /, '')
      .replace('/supplier.yaml', '')
    t.ok(folder.startsWith(join(tmpdir(), 'pokt-supplier-devnet-')), folder)
    t.ok((await readdir(folder)).length > 0)
  })
  await t.rejects(stat(folder), { code: 'ENOENT' })
})

t.test('ports in use are said, and nothing stays open', async (t) => {
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  t.teardown(() => taken.close())
  const port = String((taken.address() as AddressInfo).port)
  const words = ['devnet', '--no-supplier', '--block-time', 'manual']
  for (const [name, other, code] of [
    ['--rpc-port', '--gateway-port', 'LISTEN'],
    ['--gateway-port', '--rpc-port', 'GATEWAY_LISTEN'],
  ] as const) {
    const data = join(t.testdir(), 'net')
    const { status, err } = await command([...words, name, port, other, '0', '--data', data])
    t.equal(status, EXIT.failure, name)
    t.match(err, new RegExp(`^${code}: .*EADDRINUSE`, 'm'), name)
    t.match(err, /Choose another one/, name)
  }
})

t.test('a demonstration needs a supplier and a clock', async (t) => {
  for (const more of ['--block-time=manual', '--no-supplier']) {
    const { status, err } = await command(['devnet', '--demo', more])
    t.equal(status, EXIT.config, more)
    t.match(err, /^USAGE: --demo needs a supplier, and blocks by the clock/, more)
  }
})

t.test('Ctrl-C while it starts ends with 130', async (t) => {
  const data = join(t.testdir(), 'net')
  const terminal = new FakeTerminal({
    onSay: (text) => /^sent /.test(text) && terminal.interrupt(),
  })
  const status = await terminal.run(...['devnet', ...PORTS, '--block-time', '60s', '--data', data])
  t.equal(status, EXIT.aborted)
  t.match(terminal.said, /pending: transaction [0-9A-F]{64}/)
  t.match(terminal.said, /interrupted\n$/)
})

t.test('blocks by the clock', async (t) => {
  const data = join(t.testdir(), 'net')
  const words = ['devnet', ...PORTS, '--no-supplier', '--block-time', '50ms', '--data', data]
  const { status } = await during(words, async (said) => {
    const [url = ''] = said('chain').split(' ')
    const height = async () => {
      const { sync_info: sync } = await rpc(url, 'status')
      return Number((sync as { latest_block_height: string }).latest_block_height)
    }
    while ((await height()) < 4) await systemClock.sleep(ms(20))
  })
  t.equal(status, EXIT.ok)
})

t.test('what it says of itself is what it does: a supplier with blocks by hand', async (t) => {
  const data = join(t.testdir(), 'net')
  const { status, err } = await during([...MANUAL, '--data', data], async (said) => {
    const [url = ''] = said('chain').split(' ')
    const config = join(data, 'supplier.yaml')
    t.match(said('staked'), /^pokt1\w+ in block 2$/)
    t.equal(said('stake'), 'no stake', 'nobody need stake it')
    // To the first session that it is in.
    await rpc(url, 'devnet_mine?blocks=6')
    const looked = await command(['status', '--config', config])
    t.match(looked.out, /^pokt-supplier .* up /)
    t.match(looked.out, /60000 POKT staked/)
    t.notMatch(looked.out, /PROBLEM/)
    const messages = [{ role: 'user', content: 'What is the capital of Japan?' }]
    const { statusCode, body } = await request(`${said('gateway')}/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ messages, max_tokens: 20 }),
    })
    t.equal(statusCode, 200)
    t.match(await body.json(), { choices: [{ message: { content: String } }] })
    const json = await command(['status', '--config', config, '--json'])
    t.match(JSON.parse(json.out), { state: 'running', relays: { mined: 1 }, problems: [] })
  })
  t.equal(status, EXIT.ok, err)
})
