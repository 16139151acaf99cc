import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { EXIT } from '../../src/cli/context.ts'
import { Measured } from '../../src/cli/try-measured.ts'
import { command } from '../support/command.ts'
import { sha256 } from '../support/hostile-server.ts'
import { GPT_OSS_20B, LLAMA_8B } from '../support/known-models.ts'
import { CPU_ONLY, RTX_3060, SMALL } from '../support/machines.ts'
import { headedFile, models, niceCatalogue, niceHub } from '../support/models-command.ts'
import { startServer } from '../support/pulling.ts'

const MIB = 1024 * 1024

t.test(
  'of the catalogue: what it is, and what it would do here, from the head alone',
  async (t) => {
    const folder = t.testdir()
    const scene = { hardware: RTX_3060, catalogue: await niceCatalogue(folder) }
    const { files, flags } = await niceHub(t)
    const { status, out, err } = await models(
      ['show', 'nice-8b', '--data', folder, ...flags],
      scene,
    )
    t.equal(status, EXIT.ok, err)
    const [what, here = ''] = out.split('\n\n')
    t.equal(
      what?.replace(/ tokens\/s.*\n/, ' …\n'),
      `nice-8b: Nice by Nice people
  chat; 8B weights; made for 8192 tokens
  calls tools; does not think
  licence: Nice-1.0, its answers may be sold within limits: https://example.org/nice
    limits: no more than 700 million users
  sampling by its author: temperature 0.4, topP 0.9
  variants:
    Q4_K_M        about 4.6 GiB  hf:a/nice-GGUF:Q4_K_M  (usual)
  * Q8_0          about 7.9 GiB  hf:a/nice-GGUF:Q8_0
    F16          about 14.9 GiB  hf:a/nice-GGUF:F16
  * Q8_0 fits one card with 2 x 8192 tokens, at about 26 …
  head: llama, Q8_0, 32 layers, trained for 131072 tokens, 3.0 MiB`,
    )
    t.match(
      here,
      /^On this machine it fits one card: \d x \d+ tokens, about .* \(modelled\)\n {2}weights: 7\./,
    )
    t.match(
      here,
      /\n {2}speed: [\d.]+ tokens\/s of one answer, [\d.]+ of all together, \d+ of a prompt\n/,
    )
    t.match(here, /modelled from NVIDIA GeForce RTX 3060 at 360 GB\/s, which may be off by a third/)
    t.match(here, /\n {2}power: [\d.]+ J a token, at 170 W by the makers\n/)
    t.match(here, /income: not known without a price: give --relay-price and --relays-per-day\n$/)
    t.ok(files.sent < 1.5 * MIB, 'not more than the head')
  },
)

t.test('wishes, and money', async (t) => {
  const folder = t.testdir()
  const scene = { hardware: RTX_3060, catalogue: await niceCatalogue(folder) }
  const { flags } = await niceHub(t)
  const show = async (...more: string[]) =>
    (await models(['show', 'nice-8b:Q4_K_M', '--data', folder, ...flags, ...more], scene)).out
  t.match(await show('--context', '4096', '--slots', '3'), /fits one card: 3 x 4096 tokens/)
  t.match(await show('--context', '131072', '--gpu-only'), /it does not fit on cards alone\n/)
  t.match(
    await show('--relay-price', '150upokt', '--relays-per-day', '2000'),
    'income: 0.3 POKT a day',
  )
  t.match(await show('--relay-price', '150upokt'), /income: at most [\d.]+ POKT a day, if as many/)
  const json = JSON.parse(await show('--json', '--relay-price', '0.001POKT'))
  t.match(json, {
    title: 'nice-8b:Q4_K_M',
    family: 'nice',
    variant: 'Q4_K_M',
    isEstimated: false,
    fits: true,
    verdict: 'gpu',
    speed: { says: 'modelled' },
    watts: 170,
    upoktPerDay: /^\d+$/,
  })
  for (const wrong of ['0', 'many', '1.5'])
    t.match(await command(['models', 'show', 'tiny', '--context', wrong]), {
      status: EXIT.config,
      err: /write a whole number, 1 or more/,
    })
})

t.test('a server without ranges, and a head longer than the first piece', async (t) => {
  const folder = t.testdir()
  const data = headedFile({ ...LLAMA_8B, name: 'x'.repeat(1.5 * MIB) })
  const server = await startServer(t, { '/m.gguf': data })
  server.behave = () => ({ noRanges: true })
  const words = ['show', `${server.url}/m.gguf`, '--data', folder]
  const { status, out, err } = await models(words, { hardware: RTX_3060 })
  t.equal(status, EXIT.ok, err)
  t.match(out, /head: llama, Q4_K_M, 32 layers/)
})

t.test('where nobody answers, the catalogue has to do', async (t) => {
  const folder = t.testdir()
  const scene = { hardware: SMALL, catalogue: await niceCatalogue(folder) }
  const words = ['show', 'nice-8b', '--data', folder, '--endpoint', 'http://127.0.0.1:9']
  const { status, out } = await models(words, scene)
  t.equal(status, EXIT.ok)
  t.match(out, /its head could not be read: .*127\.0\.0\.1:9.*\n {2}what follows is estimated/)
  t.match(out, /On this machine it does not fit this machine\n(.*\n)*.*what helps/)
  t.notMatch(out, /income|speed/)
  const lost = await models([...words, '--json'].with(1, 'hf:a/other:Q4_0'), scene)
  t.match(lost, { status: EXIT.failure, err: /SOURCE_UNREACHABLE/ }, 'nothing is known of it')
  t.equal(JSON.parse((await models([...words, '--json'], scene)).out).fits, false)
})

t.test('what is here, and what was measured with it', async (t) => {
  const folder = t.testdir()
  const scene = { hardware: CPU_ONLY, catalogue: await niceCatalogue(folder) }
  const data = headedFile(LLAMA_8B)
  const place = join(folder, 'mine.gguf')
  await writeFile(place, data)
  await models(['add', place, '--data', folder], scene)
  const run = { sha256: sha256(data), tokens: 100, at: 1 }
  const measured = new Measured(folder)
  await measured.keep({ ...run, device: 'cpu', decode: 17.25, prefill: 60 })
  await measured.keep({ ...run, device: 'cuda: NVIDIA GeForce RTX 3060', decode: 41 })
  for (const name of ['mine', place]) {
    const { out } = await models(['show', name, '--data', folder], scene)
    t.match(out, `here: ${place}`, name)
    t.match(out, /runs on the processor: .* about 17\.3 tokens\/s \(measured\)/, name)
    t.match(out, /measured from a run on this machine\n/, name)
  }
  const onCard = await models(['show', 'mine', '--data', folder], { ...scene, hardware: RTX_3060 })
  t.match(onCard.out, /fits one card: .* about 41\.0 tokens\/s \(measured\)/)
  await writeFile(join(folder, 'measured.json'), '{')
  t.match((await models(['show', 'mine', '--data', folder], scene)).out, /\(modelled\)/)
})

t.test('the tiny model, a model of experts, and a file that is none', async (t) => {
  const folder = t.testdir()
  const scene = { hardware: CPU_ONLY }
  t.match((await models(['show', 'tiny', '--data', folder], scene)).out, /^tiny: comes with/)
  await mkdir(join(folder, 'x'))
  const experts = join(folder, 'x', 'experts.gguf')
  await writeFile(experts, headedFile(GPT_OSS_20B))
  t.match((await models(['show', experts, '--data', folder], scene)).out, /head: gpt-oss, MXFP4/)
  const none = join(folder, 'x', 'none.gguf')
  await writeFile(none, 'GGUF')
  t.match(await models(['show', none, '--data', folder], scene), {
    status: EXIT.failure,
    err: /MODEL_LOAD/,
  })
})
