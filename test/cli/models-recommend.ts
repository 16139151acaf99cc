import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Hardware } from '../../src/node/hardware.ts'
import { CPU_ONLY, M2_16, RTX_3060, SMALL, TWO_4090 } from '../support/machines.ts'
import { models, niceCatalogue } from '../support/models-command.ts'

interface Found {
  name: string
  variant: string
  verdict: string
  why: string
  weights: number
  contextSize: number
  slots: number
  speed?: { decode: number; says: string }
  joulesPerToken?: number
  licence: { commercial: string }
  kinds: string[]
}

async function recommended(t: Test, hardware: Hardware, ...more: string[]): Promise<Found[]> {
  const words = ['recommend', '--json', '--data', t.testdir(), ...more]
  const { status, out, err } = await models(words, { hardware })
  t.equal(status, 0, err)
  return JSON.parse(out).models
}

t.test('each machine gets models that run well on it', async (t) => {
  const cases: readonly (readonly [
    name: string,
    hardware: Hardware,
    verdict: string,
    billions: readonly [least: number, most: number],
  ])[] = [
    ['RTX 3060', RTX_3060, 'gpu', [4, 11]],
    ['two RTX 4090', TWO_4090, 'gpu|split', [15, 46]],
    ['M2 with 16 GB', M2_16, 'gpu', [2, 10]],
    ['CPU only', CPU_ONLY, 'cpu', [0.4, 11]],
  ]
  for (const [name, hardware, verdict, [least, most]] of cases) {
    const found = await recommended(t, hardware)
    t.equal(found.length, 5, name)
    for (const one of found) {
      const text = `${name}: ${one.name}:${one.variant} ${one.why}`
      t.match(one.verdict, new RegExp(`^(${verdict})$`), text)
      const gib = one.weights / 1024 ** 3
      t.ok(gib >= least && gib <= most, `${gib} GiB: ${text}`)
      t.ok((one.speed?.decode ?? 0) >= 8, text)
      t.ok((one.joulesPerToken ?? 0) > 0, text)
      t.ok(one.contextSize >= 4_096 || verdict === 'cpu', text)
      t.not(one.licence.commercial, 'no', text)
      t.notOk(one.kinds.includes('embedding'), text)
    }
  }
})

t.test('kinds, and all of them', async (t) => {
  for (const kind of ['chat', 'reasoning', 'code', 'embedding']) {
    const found = await recommended(t, RTX_3060, '--kind', kind)
    t.ok(found.length > 2, kind)
    for (const one of found) t.ok(one.kinds.includes(kind), `${kind}: ${one.name}`)
  }
  const all = await recommended(t, RTX_3060, '--all')
  t.ok(all.length > 60)
  t.equal(all.at(-1)?.verdict, 'no', 'what does not fit is last')
  t.match(all.at(-1)?.why, /does not fit/)
})

t.test('a table for people, and the command to go on with', async (t) => {
  const data = t.testdir()
  const { out, err } = await models(['recommend', '--data', data], { hardware: RTX_3060 })
  const [head, first, why] = out.split('\n')
  t.match(head, /^ +model +size +runs on +slots x tokens +tokens\/s +J\/token +licence$/)
  t.match(
    first,
    /^1 {2}[a-z0-9.-]+:[A-Z0-9_-]+ +~?[\d.]+ GiB +card +\d+ x \d+ +[\d.]+~ +[\d.]+ +\S/,
  )
  t.match(why, /^ {5}\S+ fits one card with/)
  t.match(err, /This machine: NVIDIA GeForce RTX 3060, 12\.0 GiB of 12\.0 GiB free; 24\.0 GiB/)
  const name = /^1 {2}([^:]+):/.exec(first ?? '')?.[1]
  t.match(err, `pokt-supplier models add ${name}\n`)
  const vectors = await models(['recommend', '--kind', 'embedding', '--data', data], {
    hardware: RTX_3060,
  })
  t.match(vectors.out, /fits one card and reads about \d+ tokens\/s/)
  const priced = ['recommend', '--relay-price', '150upokt', '--json', '--data', data]
  const money = JSON.parse((await models(priced, { hardware: RTX_3060 })).out).models
  t.ok(BigInt(money[0].upoktPerDay) > 0n)
})

t.test('where nothing fits, that is said', async (t) => {
  const folder = t.testdir()
  const catalogue = await niceCatalogue(folder)
  const { status, out, err } = await models(['recommend', '--data', folder], {
    hardware: SMALL,
    catalogue,
  })
  t.equal(status, 0)
  t.notMatch(out, 'nice-8b')
  t.match(err, /none of the catalogue fits/)
})

t.test('what may not be sold is shown with --all only', async (t) => {
  const folder = t.testdir()
  const catalogue = await niceCatalogue(folder)
  const text = await readFile(join(catalogue, 'nice.yaml'), 'utf8')
  await writeFile(
    join(catalogue, 'nice.yaml'),
    text.replace('commercial: limited', 'commercial: no'),
  )
  const scene = { hardware: RTX_3060, catalogue }
  t.match((await models(['recommend', '--data', folder], scene)).err, /none of the catalogue fits/)
  const all = await models(['recommend', '--data', folder, '--all'], scene)
  t.match(all.out, /nice-8b.*Nice-1\.0 \(no sale\)/)
})
