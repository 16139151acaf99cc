import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { assert } from '../../src/base/errors.ts'
import { packageRoot } from '../../src/config/root.ts'
import { Catalog, loadCatalog, parseFamily, samplingOf } from '../../src/models/catalog.ts'
import { ModelError } from '../../src/models/errors.ts'

const FOLDER = join(packageRoot(), 'models')
const names = (await readdir(FOLDER)).filter((name) => name.endsWith('.yaml')).sort()
const texts = await Promise.all(names.map((name) => readFile(join(FOLDER, name), 'utf8')))
const catalog = await loadCatalog(FOLDER)

const SOURCE =
  /^(hf:[\w.-]+\/[\w.-]+(\/[\w./-]+\.gguf|:[A-Za-z0-9][\w-]*)|ollama:[a-z0-9._-]+:[\w.-]+)$/

const TINY = `family: tiny
title: Tiny
author: Somebody
kinds: [chat, reasoning]
licence: { id: MIT, url: 'https://example.org/licence', commercial: 'yes' }
context: 4096
sampling:
  plain: { temperature: 0.7, topP: 0.8 }
  thinking: { temperature: 0.6, topK: 20 }
thinking: optional
thinkingTokensMax: 512
tools: false
architecture: llama
models:
  - name: tiny-1b
    parameters: 1e9
    layers: 16
    kvHeads: 8
    headLength: 64
    cacheLayers: 4
    default: Q4_K_M
    variants:
      - { quantisation: Q4_K_M, bytes: 800000000, source: 'hf:some/repo-GGUF/sub/tiny-1b-Q4_K_M.gguf' }
      - { quantisation: Q8_0, source: 'hf:some/repo-GGUF:Q8_0' }
  - name: tiny-2b
    parameters: 2e9
    thinking: none
    sampling: { plain: { temperature: 0 } }
    context: 8192
    default: F16
    variants:
      - { quantisation: F16, source: 'ollama:tiny:2b' }
sources: [https://example.org/tiny]
`

function refusal(work: () => unknown): ModelError {
  try {
    work()
  } catch (error) {
    if (error instanceof ModelError && error.code === 'CATALOG') return error
    throw error
  }
  throw new Error('it was taken')
}

t.test('every file of the catalogue is right, and the families are many', async (t) => {
  t.equal(catalog.families.length, names.length)
  t.ok(catalog.families.length >= 18, `${catalog.families.length} families`)
  const kinds = new Set(catalog.all().flatMap(({ model }) => model.kinds))
  t.strictSame([...kinds].sort(), ['chat', 'code', 'embedding', 'reasoning'])
  const sizes = catalog.all().map(({ model }) => model.parameters)
  t.ok(Math.min(...sizes) <= 0.6e9 && Math.max(...sizes) >= 70e9, 'from half a billion to 70')
})

t.test('names are safe, and each is found by itself', async (t) => {
  const all = catalog.all()
  const models = catalog.families.flatMap((family) => family.models)
  t.equal(new Set(models.map(({ name }) => name)).size, models.length)
  for (const { name } of models) t.match(name, /^[a-z0-9][a-z0-9.-]*[a-z0-9]$/, name)
  for (const { model, variant } of all) {
    const found = catalog.find(`${model.name}:${variant.quantisation}`)
    t.equal(found?.variant, variant, `${model.name}:${variant.quantisation}`)
    t.equal(catalog.find(model.name)?.variant.quantisation, model.default, model.name)
  }
})

t.test('no licence with limits stays without words, no weights without a source', async (t) => {
  for (const { model, variant } of catalog.all()) {
    const { licence } = model
    if (licence.commercial !== 'yes')
      t.ok((licence.limits ?? '').length > 20, `${model.name} says its limits`)
    t.not(licence.commercial, 'no', `${model.name} can be served for pay`)
    t.match(variant.source, SOURCE, `${model.name}: ${variant.source}`)
    t.notMatch(variant.source, /\.\./)
  }
})

t.test('no digest is written, only asked for', async (t) => {
  for (const [at, text] of texts.entries()) t.notMatch(text, /[0-9a-f]{64}/i, `${names[at]}`)
})

t.test('settings are in range, and whatever thinks has an end', async (t) => {
  for (const { model } of catalog.all()) {
    for (const isThinking of [false, true]) {
      const sampling = samplingOf(model, isThinking)
      if (sampling === undefined) continue
      const { temperature, topP, topK, minP, repeatPenalty, presencePenalty } = sampling
      const isRight =
        temperature >= 0 &&
        temperature <= 2 &&
        topP > 0 &&
        topP <= 1 &&
        topK >= 0 &&
        Number.isInteger(topK) &&
        minP >= 0 &&
        minP < 1 &&
        repeatPenalty >= 1 &&
        repeatPenalty <= 1.5 &&
        Math.abs(presencePenalty) <= 2
      t.ok(isRight, `${model.name}: ${JSON.stringify(sampling)}`)
    }
    const { thinking, thinkingTokensMax = 0, context, kinds } = model
    if (thinking === 'none') t.equal(model.sampling?.thinking, undefined, model.name)
    else t.ok(thinkingTokensMax >= 256 && thinkingTokensMax * 2 <= context, model.name)
    if (thinking !== 'none') t.ok(kinds.includes('reasoning'), model.name)
    if (kinds.includes('embedding')) t.equal(samplingOf(model, true), undefined, model.name)
  }
})

t.test('a model has what its family has, unless it says otherwise', async (t) => {
  const family = parseFamily(TINY, 'tiny.yaml')
  const [first, second] = family.models
  t.match(first, { context: 4096, thinking: 'optional', licence: { id: 'MIT' }, tools: false })
  t.match(second, { context: 8192, thinking: 'none', architecture: 'llama' })
  assert(first !== undefined && second !== undefined, 'two models')
  const neutral = { minP: 0, repeatPenalty: 1, presencePenalty: 0 }
  t.strictSame(samplingOf(first, false), { temperature: 0.7, topP: 0.8, topK: 0, ...neutral })
  t.strictSame(samplingOf(first, true), { temperature: 0.6, topP: 1, topK: 20, ...neutral })
  t.equal(samplingOf(second, true)?.temperature, 0, 'what cannot think is asked plainly')
  t.equal(samplingOf({ ...first, thinking: 'always' }, false)?.temperature, 0.6)
  const shared = TINY.replace('licence: {', 'licence: &one {').replace(
    '1e9',
    '1e9\n    licence: *one',
  )
  t.equal(parseFamily(shared, 'tiny.yaml').models[0]?.licence.id, 'MIT', 'an alias will do')
  t.throws(() => Object.assign(first, { context: 1 }), TypeError, 'nobody changes it')
})

t.test('a name is found with and without a quantisation', async (t) => {
  const found = new Catalog([parseFamily(TINY, 'tiny.yaml')])
  t.equal(found.find('tiny-1b')?.variant.quantisation, 'Q4_K_M')
  t.equal(found.find('Tiny-1B:q8_0')?.variant.quantisation, 'Q8_0')
  for (const name of ['', 'tiny', 'tiny-1b:Q2_K', 'tiny-1b:', 'tiny-1b:Q8_0:x', '__proto__'])
    t.equal(found.find(name), undefined, name)
  t.equal(found.all().length, 3)
})

const WRONG: Readonly<Record<string, readonly [find: string, put: string, says: RegExp]>> = {
  'an unknown setting': ['context: 4096', 'contxt: 4096', /contxt: there is no such setting/],
  'another family': ['family: tiny', 'family: other', /family: write tiny, as the file/],
  'a name with a slash': ['name: tiny-1b', 'name: ../tiny', /models\.0\.name: write a name/],
  'a name twice': ['name: tiny-2b', 'name: tiny-1b', /models\.1\.name: tiny-1b stands there twice/],
  'no such default': ['default: Q4_K_M', 'default: Q5_K_M', /models\.0\.default: write one of Q4/],
  'a quantisation twice': ['quantisation: Q8_0', 'quantisation: Q4_K_M', /name each quantis/],
  'half a shape': ['    kvHeads: 8\n', '', /layers, kvHeads and headLength, or none/],
  'too many cache layers': ['cacheLayers: 4', 'cacheLayers: 17', /at most as many as there are/],
  'more active than there are': ['layers: 16', 'active: 2e9\n    layers: 16', /active: write at/],
  'a path that climbs': ['sub/tiny', '../tiny', /variants\.0\.source: write hf:OWNER/],
  'another host': ["'hf:some/repo-GGUF:Q8_0'", 'https://evil.org/x.gguf', /source: write hf:/],
  'a token in a source': ['repo-GGUF:Q8_0', 'repo-GGUF?token=x', /variants\.1\.source: write hf:/],
  'a dot too many': ['repo-GGUF:Q8_0', 'repo..GGUF:Q8_0', /variants\.1\.source: write hf:/],
  'a file of another kind': ['Q4_K_M.gguf', 'Q4_K_M.bin', /variants\.0\.source: write hf:/],
  'no temperature': ['temperature: 0.7', 'temperature: 7', /sampling\.plain\.temp.*write 0 to 2/],
  'thoughts without end': ['thinkingTokensMax: 512\n', '', /models\.0\.thinkingTokensMax: it/],
  'settings for no thoughts': [
    'thinking: optional',
    'thinking: none',
    /sampling\.thinking: it doe/,
  ],
  'limits without words': ["commercial: 'yes'", 'commercial: limited', /licence: say in `limits`/],
  'a licence by file': ['https://example.org/licence', 'file:///etc', /licence\.url: write a pub/],
  'tools as a word': ['tools: false', 'tools: perhaps', /tools: write true or false/],
  'half a token': ['context: 4096', 'context: 4096.5', /context: write a whole number/],
  'a control character': ['author: Somebody', 'author: "a\\eb"', /author: write one line/],
  'no models': [TINY.slice(TINY.indexOf('  - name'), TINY.indexOf('sources')), '', /models: /],
}

t.test('what is wrong is told with its place and what to write', async (t) => {
  for (const [what, [find, put, says]] of Object.entries(WRONG)) {
    t.ok(TINY.includes(find), `${what} can be put in`)
    const error = refusal(() => parseFamily(TINY.replace(find, put), '/etc/models/tiny.yaml'))
    t.match(error.message, says, what)
    for (const line of error.message.split('\n'))
      t.ok(line.startsWith('/etc/models/tiny.yaml: '), `${what} names the file: ${line}`)
    t.equal(error.retryable, false)
  }
})

t.test('a file that is no YAML, too large or a bomb is refused', async (t) => {
  const bomb = `a: &a [${'x,'.repeat(50)}]\nb: &b [${'*a,'.repeat(50)}]\nc: [${'*b,'.repeat(50)}]`
  const bad = [
    '',
    '[',
    'a: 1\na: 2',
    '- x',
    '42',
    bomb,
    '['.repeat(20_000),
    `x: ${'y'.repeat(140_000)}`,
  ]
  for (const text of bad) {
    const error = refusal(() => parseFamily(text, 'bad.yaml'))
    t.ok(error.message.startsWith('bad.yaml: '), error.message.slice(0, 80))
    t.ok(error.message.length < 10_000)
  }
  const many = Array.from({ length: 50 }, (_, at) => `k${at}: 1`).join('\n')
  t.match(refusal(() => parseFamily(many, 'bad.yaml')).message, /there is no such setting/)
})

t.test("the owner's own files stand beside the program's", async (t) => {
  const own = t.testdir({ 'tiny.yaml': TINY, 'notes.md': 'no model', '.tiny.yaml': 'an editor’s' })
  const both = await loadCatalog(FOLDER, { extra: own })
  t.equal(both.families.length, names.length + 1)
  t.equal(both.find('tiny-2b')?.variant.source, 'ollama:tiny:2b')
  const none = await loadCatalog(FOLDER, { extra: join(own, 'absent') })
  t.equal(none.families.length, names.length, 'the folder need not be there')
})

t.test('a name that two files have is refused', async (t) => {
  const folder = t.testdir({ a: { 'tiny.yaml': TINY }, b: { 'tiny.yaml': TINY }, c: {} })
  const inTwo = loadCatalog(join(folder, 'a'), { extra: join(folder, 'b') })
  await t.rejects(inTwo, {
    code: 'CATALOG',
    message: /b.tiny\.yaml: the family tiny stands in .*a.t/,
  })
  await writeFile(join(folder, 'c', 'other.yaml'), TINY.replace('family: tiny', 'family: other'))
  const model = loadCatalog(join(folder, 'a'), { extra: join(folder, 'c') })
  await t.rejects(model, { code: 'CATALOG', message: /c.other\.yaml: tiny-1b stands in .*a.tiny/ })
})

t.test('a folder or a file that cannot be read is named', async (t) => {
  const folder = t.testdir()
  await t.rejects(loadCatalog(join(folder, 'absent')), { code: 'CATALOG', message: /absent: / })
  await mkdir(join(folder, 'x.yaml'))
  await t.rejects(loadCatalog(folder), { code: 'CATALOG', message: /x\.yaml: this file cannot/ })
  const large = t.testdir({ 'large.yaml': '#'.repeat(200_000) })
  await t.rejects(loadCatalog(large), { code: 'CATALOG', message: /large\.yaml: write at most/ })
})

t.test('whatever is done to a file, it is refused by name or still right', async (t) => {
  const edit = fc.record({
    file: fc.nat(),
    at: fc.nat(),
    cut: fc.nat({ max: 12 }),
    put: fc.oneof(
      fc.constantFrom(
        '',
        '-1',
        '1e99',
        '.nan',
        'null',
        '[]',
        '{}',
        '&a',
        '*a',
        '!!binary ',
        '..',
        '<<:',
      ),
      fc.string({ unit: 'binary', maxLength: 6 }),
    ),
  })
  let taken = 0
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
      const which = (edits[0]?.file ?? 0) % texts.length
      let text = texts[which] ?? ''
      for (const { at, cut, put } of edits) {
        const from = at % (text.length + 1)
        text = text.slice(0, from) + put + text.slice(from + cut)
      }
      const path = names[which] ?? ''
      try {
        new Catalog([parseFamily(text, path)]).all()
        taken++
      } catch (error) {
        if (!(error instanceof ModelError && error.code === 'CATALOG')) throw error
        return error.message.split('\n').every((line) => line.startsWith(`${path}: `))
      }
      return true
    }),
    { numRuns: 200 },
  )
  t.ok(taken > 0, `${taken} edits changed nothing that matters`)
})
