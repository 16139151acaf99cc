import t from 'tap'
import { parseConfig } from '../../src/config/load.ts'
import type { GpuSample } from '../../src/gpu/sample.ts'
import { thisPlatform } from '../../src/inference/llamacpp/install.ts'
import { engineAdvice } from '../../src/node/advice.ts'

const CARD: GpuSample = {
  ...{ id: 'GPU-1', vendor: 'nvidia', index: 0, name: 'NVIDIA GeForce RTX 3060', driver: '580.95' },
  ...{ isShared: false, isAsleep: false },
}

const config = (folder: string, backend: string) =>
  parseConfig(
    `{ network: local, dataDir: data, operators: [{ keyFile: a }], services: [{ id: s, backend: ${backend} }] }`,
    folder,
  )

t.test('a card that no engine uses is worth a sentence', async (t) => {
  const folder = t.testdir()
  const here = { engine: {} }
  const llama = config(folder, '{ kind: llamacpp, model: tiny }')
  if (thisPlatform() === 'linux-x64')
    t.match(
      await engineAdvice(llama, here, [CARD]),
      /RTX 3060.*(pokt-supplier engine install|install libvulkan1)/,
    )
  t.equal(await engineAdvice(llama, here, []), undefined, 'no card')
  const off = config(folder, '{ kind: llamacpp, model: tiny, gpu: "off" }')
  t.equal(await engineAdvice(off, here, [CARD]), undefined, 'it is not wanted')
  const other = config(folder, '{ kind: upstream, url: "http://127.0.0.1:8000/v1", model: m }')
  t.equal(await engineAdvice(other, here, [CARD]), undefined, 'it is another program’s')
})
