import t from 'tap'
import { EXIT } from '../../src/cli/context.ts'
import { program } from '../../src/cli/main.ts'
import { command, FakeTerminal } from '../support/command.ts'

const COMMANDS = [
  ['start'],
  ['stake'],
  ['unstake'],
  ['status'],
  ['keys'],
  ['keys', 'create'],
  ['keys', 'import'],
  ['keys', 'show'],
  ['engine'],
  ['engine', 'show'],
  ['engine', 'install'],
  ['models'],
  ['models', 'recommend'],
  ['models', 'show'],
  ['models', 'list'],
  ['models', 'add'],
  ['models', 'remove'],
  ['models', 'verify'],
  ['models', 'prune'],
  ['try'],
  ['gpu'],
  ['pause'],
  ['resume'],
  ['relay'],
  ['audit'],
  ['devnet'],
]

t.test('the help of every command goes to stdout and fits a terminal', async (t) => {
  for (const words of [[], ...COMMANDS]) {
    const name = words.join(' ') || 'the program'
    const { status, out, err } = await command([...words, '--help'])
    t.equal(status, EXIT.ok, name)
    t.equal(err, '', name)
    t.match(out, `Usage: pokt-supplier ${words.join(' ')}`.trim(), name)
    for (const line of out.split('\n').filter((line) => !line.includes('curl')))
      t.ok(line.length <= 100, `${name}: ${line}`)
  }
})

t.test('the help states every exit status', async (t) => {
  const { out } = await command(['--help'])
  for (const [name, status] of Object.entries(EXIT))
    t.match(out, new RegExp(`^ {2}${status} `, 'm'), name)
})

t.test('no command is missing from the list above', async (t) => {
  const names = (parent: string[], list: readonly { name(): string }[]) =>
    list.map((one) => [...parent, one.name()].join(' '))
  const root = program(new FakeTerminal().context)
  const all = root.commands.flatMap((one) => [
    one.name(),
    ...names(
      [one.name()],
      one.commands.filter((inner) => inner.name() !== 'help'),
    ),
  ])
  t.strictSame(all.sort(), COMMANDS.map((words) => words.join(' ')).sort())
})

t.test('wrong arguments end with status 2 and one clear line', async (t) => {
  const cases: readonly (readonly [words: string, says: RegExp])[] = [
    ['bogus', /unknown command 'bogus'/],
    ['start --foo', /unknown option '--foo'/],
    ['start --log-level loud', /Allowed choices are error, warn/],
    ['stake now', /too many arguments/],
    ['keys create', /missing required argument 'file'/],
    ['relay --service x', /required option '--rpc <url>' not specified/],
    ['relay --rpc nowhere --key k --service x', /write a URL such as/],
    ['relay --rpc http://127.0.0.1:1 --key k --service x --path chat', /begins with \//],
    ['devnet --block-time 3', /write manual, or a time from 50ms to 600s/],
    ['devnet --block-time 0ms', /write manual, or a time from 50ms to 600s/],
    ['devnet --block-time 9999999s', /write manual, or a time from 50ms to 600s/],
    ['devnet --rpc-port 70000', /a port is a number/],
    ['devnet --slots 0', /a number from 1 to 64/],
    ['devnet --latency 1h', /write a time such as 200ms/],
    ['devnet --latency 99999999s', /at most 600s/],
    ['devnet --hang-up 2', /a number from 0 to 1/],
    ['devnet --hang-up some', /a number from 0 to 1/],
    ['devnet --log-level loud', /Allowed choices/],
  ]
  for (const [words, says] of cases) {
    const { status, out, err } = await command(words.split(' '))
    t.equal(status, EXIT.config, words)
    t.match(err, says, words)
    t.equal(out, '', words)
    t.ok(err.trimEnd().split('\n').length <= 2, `${words}: ${err}`)
    t.notMatch(err, / at .*:\d+/, `${words} shows no stack`)
  }
})

t.test('nothing at all shows the help', async (t) => {
  const { status, err } = await command([])
  t.equal(status, EXIT.config)
  t.match(err, /^Usage: pokt-supplier/)
})

t.test('the version is that of the package', async (t) => {
  const terminal = new FakeTerminal()
  t.equal(await terminal.run('--version'), EXIT.ok)
  t.equal(terminal.printed, `${terminal.context.version}\n`)
  t.match(terminal.context.version, /^\d+\.\d+\.\d+$/)
})

t.test('commands that need a configuration say which one they looked for', async (t) => {
  const folder = t.testdir({ 'supplier.yaml': 'chain: [', 'wrong.yaml': 'dataDir: 3\nfoo: 1\n' })
  for (const name of ['start', 'stake', 'unstake', 'status', 'engine show', 'engine install cpu']) {
    const words = name.split(' ')
    const missing = await command([...words, '--config', `${folder}/none.yaml`])
    t.equal(missing.status, EXIT.config, name)
    t.match(missing.err, `CONFIG_MISSING: no configuration at ${folder}/none.yaml`, name)
    t.match(missing.err, /Copy supplier.example.yaml/, name)
    const broken = await command([...words, '--config', `${folder}/supplier.yaml`])
    t.equal(broken.status, EXIT.config, name)
    t.match(broken.err, /^CONFIG_YAML: /, name)
    const wrong = await command([...words, '--config', `${folder}/wrong.yaml`])
    t.equal(wrong.status, EXIT.config, name)
    t.match(wrong.err, /dataDir: .*\n(.*\n)*chain.rpc: /, `${name} names all that is wrong`)
    t.match(wrong.err, /foo: there is no such setting/, name)
  }
})

t.test('POKT_SUPPLIER_CONFIG names the configuration', async (t) => {
  const configPath = `${t.testdir()}/elsewhere.yaml`
  const { err } = await command(['status'], { environment: { configPath } })
  t.match(err, `no configuration at ${configPath}`)
})
