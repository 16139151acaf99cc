import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { EXIT } from '../../src/cli/context.ts'
import { askDaemon } from '../../src/ops/admin.ts'
import { command, FakeTerminal } from '../support/command.ts'
import { Network, until } from '../support/network.ts'

const NO_PROOF = {
  proofRequestProbability: 0,
  proofRequirementThreshold: { denom: 'upokt', amount: '1000000000' },
}

function words(network: Network, ...more: readonly string[]): string[] {
  return ['start', '--config', network.configPath, '--log-level', 'silent', ...more]
}

/** The daemon in this process, until `stop`. */
async function started(network: Network, ...more: readonly string[]) {
  const terminal = new FakeTerminal()
  const running = terminal.run(...words(network, ...more))
  const never = new AbortController().signal
  const report = () => askDaemon(network.runFile, never)
  await until(
    async () => (await report().catch(() => undefined)) !== undefined,
    'the daemon answers',
    () => terminal.said,
  )
  const stop = async () => {
    terminal.interrupt()
    return await running
  }
  return { terminal, running, report, stop }
}

t.test('it serves until it is told to stop, and that is no failure', async (t) => {
  const network = await Network.open(t)
  const { terminal, report, stop } = await started(network)
  t.equal((await network.relay()).verified, true)
  t.match(await report(), { serving: true, problems: [], relays: { mined: 1 } })
  const second = await command(words(network))
  t.equal(second.status, EXIT.locked, 'a second one on the same folder')
  t.match(second.err, `LOCKED: the database is in use (by process ${process.pid})`)
  t.equal(await stop(), EXIT.ok)
  t.equal(terminal.said, '')
  const status = await command(['status', '--config', network.configPath])
  t.match(status.out, /^not running\n/)
})

t.test('told to stop while it starts, it ends well too', async (t) => {
  const network = await Network.open(t)
  await network.rpc.stop()
  const terminal = new FakeTerminal()
  const running = terminal.run(...words(network))
  await until(
    async () => {
      const { out } = await command(['status', '--config', network.configPath])
      return /^starting or stopping/.test(out)
    },
    'it starts',
    () => terminal.said,
  )
  terminal.interrupt()
  t.equal(await running, EXIT.ok)
  t.equal(terminal.said, '')
})

t.test('--settle serves nothing, pays out what was served, and ends by itself', async (t) => {
  const network = await Network.open(t, { params: { proof: NO_PROOF } })
  const { stop } = await started(network)
  await network.relay()
  await network.relay('again')
  t.equal(await stop(), EXIT.ok)

  const { terminal, running, report } = await started(network, '--settle')
  t.match(await report(), { serving: false, problems: [], sessions: [{ served: 2 }] })
  t.not((await report()).engines[0]?.state, 'ready', 'no engine is loaded for it')
  await t.rejects(network.relay(), { code: 'RELAY' }, 'the relay port stays closed')
  let ended = false
  void running.finally(() => {
    ended = true
  })
  for (let blocks = 0; blocks < 20 && !ended; blocks++) {
    await network.devnet.mine()
    const { height } = network.devnet.head
    const planned = async () => ended || (await report()).chain.planned >= height
    await until(() => planned().catch(() => true), 'the block was planned')
  }
  t.equal(await running, EXIT.ok, terminal.said)
  t.equal(terminal.said, '1 sessions are not settled yet\nall settled\n')
  const [entry] = await network.ledger()
  t.match(entry, { outcome: 'settled', served: 2, count: 2n })
})

t.test('--settle with nothing to settle ends at once; interrupted, it says so', async (t) => {
  const network = await Network.open(t)
  const nothing = await command(words(network, '--settle'))
  t.equal(nothing.status, EXIT.ok, nothing.err)
  t.equal(nothing.err, 'all settled\n')

  const { stop } = await started(network)
  await network.relay()
  await stop()
  const terminal = new FakeTerminal({
    onSay: (text) => /not settled yet/.test(text) && setImmediate(() => terminal.interrupt()),
  })
  t.equal(await terminal.run(...words(network, '--settle')), EXIT.aborted, 'so that && stops')
  t.match(terminal.said, /interrupted\n$/)
})

t.test('what keeps it from starting is said in a line', async (t) => {
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  t.teardown(() => taken.close())
  const address = taken.address()
  const port = typeof address === 'object' ? address?.port : 0
  const admin = await Network.open(t, {
    config: { admin: { listen: `127.0.0.1:${port}` } },
  })
  const busy = await command(words(admin))
  t.equal(busy.status, EXIT.failure)
  t.match(
    busy.err,
    `PORT: cannot listen on 127.0.0.1:${port} (admin.listen)\n  because: listen EADDRINUSE`,
  )
  t.notMatch(busy.err, /\n +at /, 'no stack')

  const relay = await Network.open(t, { relay: { listen: `127.0.0.1:${port}` } })
  const busyRelay = await command(words(relay))
  t.equal(busyRelay.status, EXIT.failure)
  t.match(busyRelay.err, `PORT: cannot listen on 127.0.0.1:${port} (relay.listen)`)
  const afterwards = await command(['status', '--config', relay.configPath])
  t.match(afterwards.out, /^not running\n/, 'and nothing is left open')

  const foreign = await Network.open(t, {
    config: { chain: { rpc: [admin.rpc.url], id: 'pocket' } },
  })
  const wrong = await command(words(foreign))
  t.equal(wrong.status, EXIT.chain)
  t.match(wrong.err, /^WRONG_CHAIN: the node is of chain "pocket-devnet", not of "pocket"/)
})

t.test('a model that is not there ends it with a message', async (t) => {
  const network = await Network.open(t, {
    config: {
      services: [
        {
          id: 'text-generation',
          backend: { kind: 'llamacpp', model: 'nowhere/model.gguf', gpu: 'off' },
        },
      ],
    },
  })
  const { status, err } = await command(words(network))
  t.equal(status, EXIT.failure)
  t.match(err, /^MODEL_LOAD: /)
  t.match(err, join(network.folder, 'nowhere/model.gguf'))
  t.notMatch(err, /\n +at /, 'no stack')
})
