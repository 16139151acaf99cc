import t from 'tap'
import { parseSha256, parseSource, sourceText } from '../../src/models/source.ts'
import {
  isModelName,
  isSafeName,
  nameFrom,
  safeFileName,
  shardPaths,
} from '../../src/models/source-names.ts'

const HEX = 'ab'.repeat(32)
const CID = `Qm${'a'.repeat(44)}`

t.test('a source is read, and written as the same', (t) => {
  const rows: Readonly<Record<string, object>> = {
    'hf:a/b/m.gguf': { kind: 'huggingface', repo: 'a/b', file: 'm.gguf' },
    'hf:a/b/sub/m-00001-of-00002.gguf': { file: 'sub/m-00001-of-00002.gguf' },
    'hf:a/b/m.gguf@main': { file: 'm.gguf', revision: 'main' },
    'hf:a/b/m.gguf@refs/pr/1': { revision: 'refs/pr/1' },
    'hf:Qwen/Q2.5-0.5B_x:Q4_K_M': { repo: 'Qwen/Q2.5-0.5B_x', quant: 'Q4_K_M' },
    'hf:a/b:UD-Q4_K_XL@v1': { quant: 'UD-Q4_K_XL', revision: 'v1' },
    'ollama:llama3.2': { kind: 'ollama', name: 'llama3.2' },
    'ollama:me/mine:1b': { name: 'me/mine:1b' },
    'ollama:box:5000/a/b:v1': { name: 'box:5000/a/b:v1' },
    'https://x.org/a%20b.gguf?d=1': { kind: 'url', url: 'https://x.org/a%20b.gguf?d=1' },
    [`ipfs:${CID}`]: { kind: 'ipfs', cid: CID },
    [`ipfs:${CID}/sub/m.gguf`]: { cid: CID, path: 'sub/m.gguf' },
    './m.gguf': { kind: 'file', path: './m.gguf' },
    'm.gguf': { kind: 'file', path: 'm.gguf' },
    '/abs/m.gguf': { kind: 'file', path: '/abs/m.gguf' },
  }
  for (const [text, source] of Object.entries(rows)) {
    t.match(parseSource(text), source, text)
    t.equal(sourceText(parseSource(text)), text)
  }
  t.match(parseSource(`https://x.org/m.gguf#sha256=${HEX.toUpperCase()}`), {
    url: 'https://x.org/m.gguf',
    sha256: HEX,
  })
  t.match(parseSource(`ipfs://${CID}/m.gguf#sha256=${HEX}`), { path: 'm.gguf', sha256: HEX })
  t.equal(parseSha256(`sha256:${HEX}`), HEX)
  t.throws(() => parseSha256('abc'), { code: 'SOURCE_NAME' })
  t.end()
})

t.test('what is no source is refused, with the reason', (t) => {
  const rows = [
    ...['', 'qwen', 'a\0b.gguf', 'x'.repeat(3_000), 'hf:', 'hf:a', 'hf:a/b', 'hf:a/b/'],
    ...['hf:a/b/m.bin', 'hf:../b/m.gguf', 'hf:a/../m.gguf', 'hf:a/b/../m.gguf', 'hf:a/b//m.gguf'],
    ...['hf:a/b/con.gguf', 'hf:a/b:Q4:x', 'hf:a/b:Q4/m.gguf', 'hf:a/b:', 'hf:a/b/m.gguf@..'],
    ...[
      'hf:a/b/m.gguf@',
      'hf:a/b/m\\..\\x.gguf',
      'ollama:',
      'ollama:../x',
      'ollama:a b',
      'ollama:a/',
    ],
    ...['ipfs:nope', `ipfs:${CID}/../x.gguf`, `ipfs:${CID}//x`, 'ftp://x/m.gguf', 'file:///m.gguf'],
    ...['https://u:p@x.org/m.gguf', 'https://', 'https://x.org/m.gguf#md5=1', 'javascript:x.gguf'],
    `https://x.org/m.gguf#sha256=${HEX.slice(1)}`,
  ]
  for (const text of rows)
    t.throws(() => parseSource(text), { code: 'SOURCE_NAME' }, JSON.stringify(text.slice(0, 60)))
  try {
    parseSource('https://user:hunter2@x.org/m.gguf')
  } catch (error) {
    t.notMatch(String(error), 'hunter2')
  }
  t.end()
})

t.test('names that could lead elsewhere are none', (t) => {
  const evil = [
    ...['', '.', '..', '../x.gguf', '/etc/passwd', 'a/b.gguf', 'a\\b.gguf', 'C:x.gguf', 'a\0.gguf'],
    ...['a\n.gguf', '\u202egguf.exe', '.hidden.gguf', ' x.gguf', 'x.gguf ', 'x.gguf.', 'CON.gguf'],
    ...[
      'nul.gguf',
      'com1.gguf',
      'LPT9.x.gguf',
      'a*.gguf',
      'a?.gguf',
      'a|.gguf',
      'a".gguf',
      '<a>.gguf',
    ],
    ...[`${'a'.repeat(250)}.gguf`, `${'ä'.repeat(120)}.gguf`, '\ud800.gguf', 'a:stream.gguf'],
  ]
  for (const name of evil) t.notOk(isSafeName(name), JSON.stringify(name.slice(0, 30)))
  for (const name of ['a.gguf', 'Ünï çödé.gguf', 'a..b.gguf', 'console.gguf', 'q4(1)+x.gguf'])
    t.ok(isSafeName(name), name)
  for (const path of ['x/..', 'a/CON.gguf', 'a.bin', 'a/.gguf'])
    t.throws(() => safeFileName(path), { code: 'SOURCE_UNSAFE' }, path)
  t.equal(safeFileName('a/b/c.GGUF'), 'c.GGUF')
  for (const name of ['../x', 'A', '', '.a', 'a..b', 'con', 'a.', 'a b', 'a/b'])
    t.notOk(isModelName(name), name)
  t.equal(nameFrom('Qwen2.5 0.5B-Instruct-Q4_K_M.gguf'), 'qwen2.5-0.5b-instruct-q4_k_m')
  t.equal(nameFrom('Big-00001-of-00003.gguf'), 'big')
  t.throws(() => nameFrom('日本.gguf'), { code: 'MODEL_NAME' })
  t.end()
})

t.test('the files of a model in several', (t) => {
  t.strictSame(shardPaths('x/m.gguf'), ['x/m.gguf'])
  t.strictSame(shardPaths('x/m-00002-of-00002.gguf'), [
    'x/m-00001-of-00002.gguf',
    'x/m-00002-of-00002.gguf',
  ])
  for (const path of ['m-00003-of-00002.gguf', 'm-00000-of-00002.gguf', 'm-00001-of-99999.gguf'])
    t.throws(() => shardPaths(path), { code: 'SOURCE_UNSAFE' }, path)
  t.end()
})
