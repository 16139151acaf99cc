import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { CatalogModel } from '../../src/models/catalog.ts'
import { recommend } from '../../src/models/recommend.ts'
import { candidateOf, readCatalogue, roughBytes } from '../../src/node/catalogue.ts'
import { LLAMA_8B } from '../support/known-models.ts'
import { RTX_3060 } from '../support/machines.ts'
import { shapeOfPlan } from '../support/model-heads.ts'
import { niceCatalogue } from '../support/models-command.ts'

t.test("the program's catalogue, with the owner's own files", async (t) => {
  const own = await readCatalogue(undefined)
  t.ok(own.families.length > 15)
  t.ok(own.find('qwen3-8b:Q4_K_M'))
  const extra = await niceCatalogue(t.testdir())
  const both = await readCatalogue(extra)
  t.equal(both.families.length, own.families.length + 1)
  t.equal(both.find('nice-8b')?.variant.quantisation, 'Q4_K_M')
  const absent = await readCatalogue(join(extra, 'none'))
  t.equal(absent.families.length, own.families.length, 'the folder need not be there')
  const wrong = t.testdir({})
  await mkdir(join(wrong, 'x'))
  await writeFile(join(wrong, 'x', 'bad.yaml'), 'family: other\n')
  await t.rejects(readCatalogue(join(wrong, 'x')), { code: 'CATALOG' })
})

t.test('an estimated size comes near the one that a page said', async (t) => {
  const catalog = await readCatalogue(undefined)
  let compared = 0
  for (const { model, variant } of catalog.all()) {
    if (variant.bytes === undefined) continue
    const ratio = roughBytes(model.parameters, variant.quantisation) / variant.bytes
    t.ok(ratio > 0.75 && ratio < 1.25, `${model.name}:${variant.quantisation}: ${ratio}`)
    compared++
  }
  t.ok(compared >= 10)
  t.equal(roughBytes(8e9, 'UD-Q4_K_XL'), roughBytes(8e9, 'Q4_K_M'))
  t.ok(roughBytes(8e9, 'KQUANT-17GB') > 0)
})

t.test('every model of the catalogue becomes a candidate with a plan', async (t) => {
  const catalog = await readCatalogue(undefined)
  const models = catalog.families.flatMap(({ models }) => models)
  const { machine } = RTX_3060
  const found = recommend({ machine, candidates: models.map((model) => candidateOf(model)) })
  t.equal(found.length, models.length)
  for (const { model, plan } of found)
    t.ok(Number.isFinite(plan.demand.total) && plan.demand.total > 0, model)
})

t.test('what is here is known exactly', async (t) => {
  const model = (await readCatalogue(undefined)).find('qwen3-8b')?.model as CatalogModel
  const shape = shapeOfPlan(LLAMA_8B)
  const measured = { decode: 33 }
  const { variants } = candidateOf(model, ({ quantisation }) =>
    quantisation === 'Q4_K_M' ? { shape, measured } : {},
  )
  const [known, other] = ['Q4_K_M', 'Q8_0'].map((name) => variants.find((v) => v.name === name))
  t.match(known, { size: { architecture: 'llama' }, measured: { decode: 33 } })
  t.match(other, { size: { bytes: Number, layers: 36, kvBytesPerToken: 36 * 8 * 128 * 4 } })
})
