/** The style that a program can check: floors, sizes, banned calls with what to use instead. */
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { packageRoot } from '../src/config/root.ts'

const FLOORS =
  'base crypto protocol smst keys store chain miner gpu models inference relay config ops node devnet cli'.split(
    ' ',
  )
/** What the simulated chain may use: it must not judge the supplier by the supplier's own code. */
const DEVNET_CHAIN = /^(base|crypto|protocol|devnet)\/|^smst\/(proof|gob|node|errors)\.ts$/
const DEVNET_GATEWAY = /^(base|crypto|protocol|devnet)\//
const FILE_LINES_MAX = 300
const FUNCTION_LINES_MAX = 70

const BANNED: readonly { call: RegExp; except: RegExp; instead: string }[] = [
  {
    call: /\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(|\bprocess\.hrtime/,
    except: /^base\/clock\.ts$/,
    instead: 'the injected Clock',
  },
  {
    call: /\b(setTimeout|setInterval)\(|\bAbortSignal\.timeout\(/,
    except: /^base\/clock\.ts$/,
    instead: 'Clock.sleep or withDeadline',
  },
  { call: /\bMath\.random\(/, except: /^$/, instead: 'the injected random' },
  { call: /\bprocess\.env\b/, except: /^config\//, instead: 'options made from the configuration' },
  {
    call: /\bprocess\.exit\(/,
    except: /^cli\/main\.ts$/,
    instead: 'an exit status returned to cli/main.ts',
  },
  { call: /\bconsole\./, except: /^cli\//, instead: 'the log, or the command context' },
  { call: /\bfetch\(/, except: /^$/, instead: 'undici request with a limit and a signal' },
  {
    call: /\bas any\b|@ts-ignore|@ts-expect-error|:\s*any\b/,
    except: /^$/,
    instead: 'a real type',
  },
  { call: /\bexport default\b|\bexport \*/, except: /^$/, instead: 'named exports' },
  { call: /\bthrow new Error\(/, except: /^$/, instead: 'a SupplierError with a code, or assert' },
]

const root = packageRoot()
const src = join(root, 'src')
const names = (await readdir(src, { recursive: true }))
  .filter((name) => name.endsWith('.ts') && !name.includes(`gen${sep}`))
  .map((name) => name.split(sep).join('/'))
const files = await Promise.all(
  names.map(async (name) => ({ name, text: await readFile(join(src, name), 'utf8') })),
)

/** Every file of ours that `text` imports, also by `import()` and `export … from`, relative to src. */
function importsOf(name: string, text: string): string[] {
  const specifiers = text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)
  return [...specifiers].map(([, to]) =>
    relative(src, join(src, dirname(name), to ?? ''))
      .split(sep)
      .join('/'),
  )
}

t.test('there is a source tree to check', async (t) => {
  t.ok(files.length > 5)
})

t.test('imports point down', async (t) => {
  for (const { name, text } of files) {
    const floor = FLOORS.indexOf(name.split('/')[0] ?? '')
    t.not(floor, -1, `${name} stands on a floor`)
    for (const to of importsOf(name, text)) {
      const below = FLOORS.indexOf(to.split('/')[0] ?? '')
      t.ok(below !== -1 && below <= floor, `${name} imports ${to}`)
      if (name.startsWith('devnet/gateway')) t.match(to, DEVNET_GATEWAY, `${name} imports ${to}`)
      else if (name.startsWith('devnet/')) t.match(to, DEVNET_CHAIN, `${name} imports ${to}`)
    }
  }
})

t.test('files and functions fit a head', async (t) => {
  for (const { name, text } of files) {
    const lines = text.split('\n').length - 1
    t.ok(lines <= FILE_LINES_MAX, `${name} has ${lines} lines, at most ${FILE_LINES_MAX}`)
    t.not(name.split('/').at(-1), 'index.ts', `${name}: an import says which file it means`)
    const tree = ts.createSourceFile(name, text, ts.ScriptTarget.ES2022, true)
    const visit = (node: ts.Node): void => {
      if (ts.isFunctionLike(node)) {
        const from = tree.getLineAndCharacterOfPosition(node.getStart()).line
        const long = tree.getLineAndCharacterOfPosition(node.getEnd()).line - from + 1
        t.ok(
          long <= FUNCTION_LINES_MAX,
          `${name}:${from + 1} is ${long} lines, at most ${FUNCTION_LINES_MAX}`,
        )
      }
      ts.forEachChild(node, visit)
    }
    visit(tree)
  }
})

t.test('no call that hides time, chance, the environment or the terminal', async (t) => {
  for (const { name, text } of files) {
    for (const [index, line] of text.split('\n').entries()) {
      if (/^\s*(\/\/|\*|\/\*)/.test(line)) continue
      for (const { call, except, instead } of BANNED)
        if (call.test(line) && !except.test(name))
          t.fail(`${name}:${index + 1}: use ${instead}: ${line.trim()}`)
    }
    t.match(text.slice(0, 200), /^(#!.*\n)?\/\*\*/, `${name} begins with what it is`)
    const mutable = text.split('\n').findIndex((line) => /^(export )?let /.test(line))
    t.equal(mutable, -1, `${name}:${mutable + 1} has module-level state`)
  }
})

t.test('each floor knows its error codes', async (t) => {
  const used = new Map<string, string>()
  const declared = new Set<string>()
  for (const { name, text } of files) {
    for (const [, table] of text.matchAll(/_ERRORS = \{([\s\S]*?)\} as const/g))
      for (const [, code] of (table ?? '').matchAll(/^\s*([A-Z][A-Z0-9_]+):/gm))
        declared.add(code ?? '')
    for (const [, code] of text.matchAll(/new \w+Error\(\s*'([A-Z][A-Z0-9_]+)'/g))
      used.set(code ?? '', name)
  }
  for (const [code, name] of used)
    t.ok(declared.has(code), `${code} of ${name} is in a table with advice`)
})
