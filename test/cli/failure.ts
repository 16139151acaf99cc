import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { CommanderError } from 'commander'
import t from 'tap'
import { assert, BaseError, SupplierError } from '../../src/base/errors.ts'
import { ChainError } from '../../src/chain/errors.ts'
import { EXIT } from '../../src/cli/context.ts'
import { CliError } from '../../src/cli/errors.ts'
import { failureOf } from '../../src/cli/failure.ts'
import { ConfigError } from '../../src/config/load.ts'
import { DevnetError } from '../../src/devnet/errors.ts'
import { InferenceError } from '../../src/inference/errors.ts'
import { KeyError } from '../../src/keys/errors.ts'
import { NodeError } from '../../src/node/errors.ts'
import { OpsError } from '../../src/ops/admin.ts'
import { ProtocolError } from '../../src/protocol/errors.ts'
import { StoreError } from '../../src/store/errors.ts'

const quiet = { signal: new AbortController().signal, passphrase: undefined }

async function thrownBy(work: () => unknown): Promise<unknown> {
  try {
    await work()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

t.test('each error has the status that the help gives it', async (t) => {
  const cases: readonly (readonly [error: Error, status: number])[] = [
    [new ConfigError('CONFIG_INVALID', 'x'), EXIT.config],
    [new KeyError('PASSPHRASE', 'x'), EXIT.config],
    [new KeyError('NO_PASSPHRASE', 'x'), EXIT.config],
    [new KeyError('KEYFILE_EXISTS', 'x'), EXIT.config],
    [new BaseError('FILE_OPEN_TO_OTHERS', 'x'), EXIT.config],
    [new BaseError('DEADLINE', 'x'), EXIT.failure],
    [new ProtocolError('ADDRESS', 'x'), EXIT.config],
    [new CliError('USAGE', 'x'), EXIT.config],
    [new CliError('ANSWER', 'x'), EXIT.config],
    [new CliError('FILE', 'x'), EXIT.config],
    [new CliError('FOLDER_USED', 'x'), EXIT.config],
    [new CliError('DECLINED', 'x'), EXIT.failure],
    [new CliError('NOT_PAID', 'x'), EXIT.failure],
    [new CliError('RELAY_REFUSED', 'x'), EXIT.failure],
    [new CliError('REFUSED', 'x'), EXIT.chain],
    [new ChainError('RPC_UNREACHABLE', 'x'), EXIT.chain],
    [new ChainError('TX_FAILED', 'x'), EXIT.chain],
    [new NodeError('WRONG_CHAIN', 'x'), EXIT.chain],
    [new NodeError('CHAIN_ABSENT', 'x'), EXIT.chain],
    [new NodeError('STORE_LOST', 'x'), EXIT.failure],
    [new StoreError('LOCKED', 'x'), EXIT.locked],
    [new StoreError('CORRUPT', 'x'), EXIT.failure],
    [new OpsError('STATUS_UNREADABLE', 'x'), EXIT.failure],
    [new InferenceError('ENGINE_MISSING', 'x'), EXIT.failure],
    [new DevnetError('LISTEN', 'x'), EXIT.failure],
    [new CommanderError(1, 'commander.unknownOption', 'x'), EXIT.config],
    [new CommanderError(0, 'commander.helpDisplayed', 'x'), EXIT.ok],
  ]
  for (const [error, status] of cases) {
    const code = error instanceof SupplierError ? error.code : error.message
    t.equal(failureOf(error, quiet).status, status, `${error.name} ${code}`)
  }
})

t.test('a known error is told in a few lines: code, why, what to do', async (t) => {
  const cause = new Error('connect ECONNREFUSED', { cause: new Error('x:1: connect ECONNREFUSED') })
  const { lines } = failureOf(new ChainError('RPC_UNREACHABLE', 'nobody', { cause }), quiet)
  t.strictSame(lines, [
    'RPC_UNREACHABLE: nobody',
    '  because: connect ECONNREFUSED',
    '  because: x:1: connect ECONNREFUSED',
    '  No CometBFT endpoint answered. Check chain.rpc and the network.',
  ])
  const said = new Error('the disk is full')
  const twice = failureOf(
    new StoreError('DISK', 'failed: the disk is full', { cause: said }),
    quiet,
  )
  t.equal(twice.lines.length, 2, 'a cause that the message quotes is not told again')
})

t.test('an interruption is no failure to be explained', async (t) => {
  const stop = new AbortController()
  const reason = new Error('stopped by SIGINT')
  stop.abort(reason)
  const context = { signal: stop.signal, passphrase: undefined }
  for (const error of [reason, new DOMException('aborted', 'AbortError')])
    t.strictSame(failureOf(error, context), { lines: ['interrupted'], status: 130 }, error.message)
  const other = failureOf(new StoreError('DISK', 'full'), context)
  t.equal(other.status, EXIT.failure, 'something else that happened meanwhile is told')
  const abort = new DOMException('aborted', 'AbortError')
  t.equal(failureOf(abort, quiet).status, EXIT.failure, 'an abort that nobody asked for is a bug')
})

t.test('what the system refuses is told without a stack', async (t) => {
  const missing = failureOf(await thrownBy(() => readFile('/nowhere/at/all')), quiet)
  t.equal(missing.status, EXIT.failure)
  t.strictSame(missing.lines, [
    "ENOENT: no such file or directory, open '/nowhere/at/all'",
    '  Check the path.',
  ])
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  t.teardown(() => server.close())
  const second = createServer().listen(server.address())
  const error = await new Promise((resolve) => second.once('error', resolve))
  t.match(failureOf(error, quiet).lines, [/EADDRINUSE/, /Another program uses that port/])
})

t.test('a fault of ours shows where it was, and asks to be reported', async (t) => {
  const error = await thrownBy(() => assert(false, 'two and two are four'))
  const { lines, status } = failureOf(error, quiet)
  t.equal(status, EXIT.failure)
  t.match(lines[0], /two and two are four\n +at /)
  t.match(lines.at(-1), /fault of pokt-supplier. Please report/)
  const nested = failureOf(new AggregateError([new Error('inner one')], 'outer'), quiet)
  t.match(nested.lines[0], /outer[\s\S]*caused by: Error: inner one/)
  t.match(failureOf('a text', quiet).lines[0], 'a text')
})

t.test('no secret gets out with it', async (t) => {
  const words =
    'share under accuse enough seek sunny floor harvest trophy brush huge tiger link reflect stumble'
  const key = '1c7c170ce5df37d3d0f4cf6949f4ee765a5026ef597d4b557f4218f49d97abe2'
  const passphrase = 'correct horse'
  const error = new TypeError(`cannot read ${words} of ${key} with ${passphrase}`, {
    cause: new Error(`0x${key}`),
  })
  const told = failureOf(error, { ...quiet, passphrase }).lines.join('\n')
  t.match(told, '[words] of [hex digits] with [passphrase]')
  for (const secret of ['accuse', key.slice(0, 8), 'horse']) t.notMatch(told, secret, secret)
  t.match(told, /failure\.ts:\d+/, 'the stack is still there')
})
