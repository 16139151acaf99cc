import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { EXIT } from '../../src/cli/context.ts'
import { LLAMA_8B } from '../support/known-models.ts'
import { RTX_3060, SMALL } from '../support/machines.ts'
import { headedFile, models, niceCatalogue, niceHub } from '../support/models-command.ts'

const MIB = 1024 * 1024

t.test(
  'of the catalogue: the variant that suits, its licence and its fit, then the question',
  async (t) => {
    const folder = t.testdir()
    const catalogue = await niceCatalogue(folder)
    const { files, flags } = await niceHub(t)
    const words = ['add', 'nice-8b', '--data', folder, ...flags]
    const scene = { hardware: RTX_3060, catalogue }
    const added = await models(words, scene)
    t.equal(added.status, EXIT.ok, added.err)
    const lines = added.err.split('\n')
    t.equal(lines[0], 'nice-8b from hf:a/nice-GGUF:Q8_0')
    t.equal(lines[1], '  Nice by Nice people')
    t.match(
      lines[2],
      /^ {2}Q8_0 fits one card with \d x \d+ tokens, .* of 3 variants it is the finest/,
    )
    t.equal(lines[3], '  Nice-Q8_0.gguf  3.0 MiB')
    t.match(
      lines[4],
      '  licence: Nice-1.0, its answers may be sold within limits: https://example.org/nice',
    )
    t.match(lines[5], '    limits: no more than 700 million users')
    t.match(lines[6], /^ {2}3\.0 MiB to fetch/)
    t.match(
      lines[7],
      /^ {2}fits one card: \d x \d+ tokens, about \d+(\.\d)? tokens\/s \(modelled\)$/,
    )
    t.match(added.out, /^nice-8b is here: .*sha256-[0-9a-f]{64}\n$/)
    t.ok(files.sent <= 5 * MIB, 'the head once, the file once')

    const lock = JSON.parse(await readFile(join(folder, 'models', 'models.lock.json'), 'utf8'))
    t.match(lock.models, {
      'nice-8b': { catalogue: 'nice-8b:Q8_0', source: 'hf:a/nice-GGUF:Q8_0' },
    })
    const again = await models(words, { ...scene, hardware: SMALL })
    t.match(again, { status: EXIT.ok, err: /Q8_0: it is the variant that is here under this name/ })
  },
)

t.test('the variant that is named, under a name of its own', async (t) => {
  const folder = t.testdir()
  const scene = { hardware: RTX_3060, catalogue: await niceCatalogue(folder) }
  const { flags } = await niceHub(t)
  const add = (model: string) => models(['add', model, '--data', folder, '--json', ...flags], scene)
  const added = await add('Nice-8b:q4_k_m')
  t.equal(added.status, EXIT.ok, added.err)
  t.match(JSON.parse(added.out), { name: 'nice-8b-q4_k_m', catalogue: 'nice-8b:Q4_K_M' })
  t.match(await add('nice-8b:Q2_K'), {
    status: EXIT.config,
    err: /there is no nice-8b:Q2_K; of nice-8b there is: Q4_K_M, Q8_0, F16/,
  })
  t.match((await add('nice8')).err, /the catalogue has: nice-8b\n/)
  t.notMatch((await add('x')).err, /the catalogue has/)
})

t.test('what does not fit is said before anything is fetched', async (t) => {
  const folder = t.testdir()
  const scene = { hardware: SMALL, catalogue: await niceCatalogue(folder) }
  const { files, flags } = await niceHub(t)
  const words = ['add', 'nice-8b', '--data', folder, ...flags]
  const added = await models(words, scene)
  t.match(added.err, /Q4_K_M: it is the usual one .* none is likely to fit this machine/)
  t.match(
    added.err,
    /\n {2}does not fit this machine\n {4}weights: 4\.\d+ GiB .*\n(.*\n)*.*what helps: /,
  )
  t.ok(files.requests.some(({ range }) => range === `bytes=0-${MIB - 1}`))
})

t.test('without a look at the machine', async (t) => {
  const folder = t.testdir()
  const catalogue = await niceCatalogue(folder)
  const { files, flags } = await niceHub(t)
  const words = ['add', 'nice-8b', '--no-fit', '--data', folder, ...flags]
  const hardware = {
    get machine(): never {
      throw new Error('nobody looks')
    },
  }
  const added = await models(words, { hardware: hardware as never, catalogue })
  t.equal(added.status, EXIT.ok, added.err)
  t.match(added.err, 'Q4_K_M: it is the usual one of the catalogue\n')
  t.notMatch(added.err, / fits? /)
  t.ok(files.sent <= 3 * MIB, 'the file and nothing else')
})

t.test('a file that is no model of a known kind can be added all the same', async (t) => {
  const folder = t.testdir()
  const place = join(folder, 'strange.gguf')
  await writeFile(place, 'GGUF and nothing more')
  const scene = { hardware: RTX_3060, catalogue: await niceCatalogue(folder) }
  const added = await models(['add', place, '--data', folder], scene)
  t.match(added, { status: EXIT.ok, err: /whether it fits is not known: this is not a GGUF file/ })
  t.strictSame(await readdir(join(folder, 'models', 'blobs')).catch(() => []), [])
  const whole = join(folder, 'whole.gguf')
  await writeFile(whole, headedFile(LLAMA_8B))
  const fits = await models(['add', whole, '--data', folder], scene)
  t.match(fits.err, /nothing to fetch\n {2}fits one card: /)
})
