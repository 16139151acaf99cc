import { delimiter } from 'node:path'
import t from 'tap'
import {
  type BestInput,
  bestEngine,
  deviceAdvice,
  librariesIn,
  readBestInput,
  readLibraries,
} from '../../../src/inference/llamacpp/best.ts'
import type { EngineKind } from '../../../src/inference/llamacpp/install.ts'

const RTX = { vendor: 'nvidia', name: 'NVIDIA GeForce RTX 3060', driver: '550.144.03' } as const
const RX = { vendor: 'amd', name: 'Radeon RX 7900 XTX', driver: 'amdgpu' } as const
const UHD = { vendor: 'intel', name: 'UHD Graphics 770', driver: 'i915' } as const
const M2 = { vendor: 'apple', name: 'Apple M2 (10 cores)' } as const
const NONE = { cuda: [], vulkan: false }
const VULKAN = { cuda: [], vulkan: true }
const CUDA12 = { cuda: [12], vulkan: true }

function machine(over: Partial<BestInput>): BestInput {
  return { gpus: [], platform: 'linux-x64', installed: ['cpu'], libraries: VULKAN, ...over }
}

interface Case {
  readonly name: string
  readonly is: BestInput
  readonly best: EngineKind
  readonly inUse: EngineKind | undefined
  /** Absent: nothing is said. */
  readonly says?: RegExp
}

const CASES: readonly Case[] = [
  { name: 'no card', is: machine({}), best: 'cpu', inUse: 'cpu' },
  {
    name: 'a card of NVIDIA with the runtime of CUDA',
    is: machine({ gpus: [RTX], libraries: CUDA12 }),
    best: 'cuda',
    inUse: 'cpu',
    says: /^This machine has an NVIDIA GeForce RTX 3060; the engine in use computes on the processor\. Run: pokt-supplier engine install cuda$/,
  },
  {
    name: 'the same when Vulkan is installed',
    is: machine({ gpus: [RTX], libraries: CUDA12, installed: ['vulkan', 'cpu'] }),
    best: 'cuda',
    inUse: 'vulkan',
    says: /computes with Vulkan\. Run: pokt-supplier engine install cuda$/,
  },
  {
    name: 'the same when CUDA is installed',
    is: machine({ gpus: [RTX], libraries: CUDA12, installed: ['cuda', 'vulkan', 'cpu'] }),
    best: 'cuda',
    inUse: 'cuda',
  },
  {
    name: 'a card of NVIDIA without the runtime',
    is: machine({ gpus: [RTX] }),
    best: 'vulkan',
    inUse: 'cpu',
    says: /engine install vulkan For CUDA, which is faster, install its runtime first: libcudart and libcublas, 12\.4 or newer\.$/,
  },
  {
    name: 'the same when Vulkan is installed: nothing to do',
    is: machine({ gpus: [RTX], installed: ['vulkan', 'cpu'] }),
    best: 'vulkan',
    inUse: 'vulkan',
  },
  {
    name: 'CUDA is installed and its runtime is not there',
    is: machine({ gpus: [RTX], installed: ['cuda', 'vulkan', 'cpu'] }),
    best: 'vulkan',
    inUse: 'vulkan',
  },
  {
    name: 'a driver that is too old for the runtime',
    is: machine({ gpus: [RTX], libraries: { cuda: [13], vulkan: true } }),
    best: 'vulkan',
    inUse: 'cpu',
    says: /For CUDA 13, which is faster, its driver must be 580 or newer, not 550\.144\.03\.$/,
  },
  {
    name: 'a driver that is new enough for one of two runtimes',
    is: machine({ gpus: [RTX], libraries: { cuda: [13, 12], vulkan: true } }),
    best: 'cuda',
    inUse: 'cpu',
    says: /install cuda$/,
  },
  {
    name: 'a card of AMD',
    is: machine({ gpus: [RX], libraries: CUDA12 }),
    best: 'vulkan',
    inUse: 'cpu',
    says: /^This machine has a Radeon RX 7900 XTX; .* Run: pokt-supplier engine install vulkan$/,
  },
  {
    name: "a card of Intel's without the library of Vulkan",
    is: machine({ gpus: [UHD], libraries: NONE }),
    best: 'vulkan',
    inUse: 'cpu',
    says: /library is missing: install libvulkan1 .*\. Run: pokt-supplier engine install vulkan$/,
  },
  {
    name: 'the same with the engine of Vulkan',
    is: machine({ gpus: [UHD], libraries: NONE, installed: ['vulkan', 'cpu'] }),
    best: 'vulkan',
    inUse: 'cpu',
    says: /install libvulkan1 \(Fedora: vulkan-loader\)\.$/,
  },
  {
    name: 'Apple silicon',
    is: machine({ gpus: [M2], platform: 'darwin-arm64', installed: ['metal'], libraries: NONE }),
    best: 'metal',
    inUse: 'metal',
  },
  {
    name: 'Apple silicon without an engine',
    is: machine({ gpus: [M2], platform: 'darwin-arm64', installed: [], libraries: NONE }),
    best: 'metal',
    inUse: undefined,
    says: /^This machine has an Apple M2 \(10 cores\); no engine is installed\. Run: .* metal$/,
  },
  {
    name: 'an old Mac',
    is: machine({ platform: 'darwin-x64' }),
    best: 'cpu',
    inUse: 'cpu',
  },
  {
    name: 'a system that no engine for cards is made for',
    is: machine({ gpus: [{ ...RTX, name: 'NVIDIA GB10' }], platform: 'linux-arm64' }),
    best: 'cpu',
    inUse: 'cpu',
    says: /^No engine for graphics cards is made for linux-arm64\. .* can use the NVIDIA GB10/,
  },
  {
    name: 'a system that nothing is made for',
    is: machine({ gpus: [RTX], platform: 'freebsd-x64', installed: [] }),
    best: 'cpu',
    inUse: undefined,
  },
  {
    name: 'Windows without the library of Vulkan',
    is: machine({ gpus: [RTX], platform: 'win32-x64', libraries: NONE }),
    best: 'vulkan',
    inUse: 'cpu',
    says: /Install the driver of the card anew/,
  },
  {
    name: 'cards of two makers',
    is: machine({ gpus: [RTX, RX], libraries: CUDA12, installed: ['cpu'] }),
    best: 'cuda',
    inUse: 'cpu',
    says: /has an NVIDIA GeForce/,
  },
]

t.test('the best engine for a machine', async (t) => {
  for (const { name, is, best, inUse, says } of CASES) {
    const found = bestEngine(is)
    t.strictSame([found.best, found.inUse], [best, inUse], name)
    if (says === undefined) t.equal(found.advice, undefined, name)
    else t.match(found.advice ?? '', says, name)
  }
})

t.test('an engine that computes on the processor although all is there', async (t) => {
  const all = machine({ gpus: [RTX], libraries: CUDA12, installed: ['cuda', 'vulkan', 'cpu'] })
  const engine = { kind: 'llamacpp', device: 'cpu' }
  t.match(
    deviceAdvice(engine, all) ?? '',
    /on the processor although an NVIDIA GeForce RTX 3060 and the cuda engine are here/,
  )
  const onCard = { kind: 'llamacpp', device: 'cuda: NVIDIA GeForce RTX 3060' }
  t.equal(deviceAdvice(onCard, all), undefined)
  t.equal(deviceAdvice({ kind: 'upstream', device: 'cpu' }, all), undefined, 'not our engine')
  t.equal(deviceAdvice({ kind: 'llamacpp', device: '' }, all), undefined, 'it has not started')
  t.match(deviceAdvice(engine, machine({ gpus: [RX] })) ?? '', /engine install vulkan$/)
  t.equal(deviceAdvice(engine, machine({})), undefined, 'there is no card')
})

t.test('libraries by their names', async (t) => {
  const cuda = (version: string, names = ['cudart', 'cublas', 'cublasLt']) =>
    names.map((name) => `lib${name}.so.${version}`)
  const cases: readonly (readonly [what: string, files: readonly string[], cuda: number[]])[] = [
    ['nothing', [], []],
    ['12.4 and its short names', [...cuda('12'), ...cuda('12.4.127')], [12]],
    ['12.1 and its short names', [...cuda('12'), ...cuda('12.1.105')], []],
    ['12.1 beside 12.6', [...cuda('12.1.105'), ...cuda('12.6.77')], [12]],
    ['short names only, as from a package of Python', cuda('12'), [12]],
    ['13', cuda('13.0.96'), [13]],
    ['both', [...cuda('13'), ...cuda('12')], [13, 12]],
    ['11', [...cuda('11'), ...cuda('11.8.89')], []],
    ['no libcublas', cuda('12.4.127', ['cudart']), []],
    ['no libcublasLt', cuda('12.4.127', ['cudart', 'cublas']), []],
    ['other files', ['libcudart.so', 'libcudart.so.120', 'libcudart_static.a'], []],
  ]
  for (const [what, files, expected] of cases)
    t.strictSame(librariesIn(files, 'linux-x64'), { cuda: expected, vulkan: false }, what)
  for (const file of ['libvulkan.so.1', 'libvulkan.so', 'libvulkan.so.1.3.239'])
    t.equal(librariesIn([file], 'linux-x64').vulkan, true, file)
  t.equal(librariesIn(['libvulkan_radeon.so'], 'linux-x64').vulkan, false, 'a driver alone')
  t.strictSame(
    librariesIn(
      ['cudart64_12.dll', 'cublas64_12.dll', 'cublasLt64_12.dll', 'VULKAN-1.DLL'],
      'win32-x64',
    ),
    { cuda: [12], vulkan: true },
  )
})

t.test('libraries are looked for where an engine would', async (t) => {
  const folders: Record<string, string[]> = {
    '/usr/local': ['bin', 'cuda', 'cuda-12.4', 'cuda-samples'],
    '/usr/local/cuda-12.4/lib64': ['libcudart.so.12.4.127', 'libcublasLt.so.12.4.5.8'],
    '/mine': ['libcublas.so.12'],
    '/usr/lib/x86_64-linux-gnu': ['libvulkan.so.1'],
  }
  const asked: string[] = []
  const list = async (folder: string) => {
    asked.push(folder)
    return folders[folder] ?? []
  }
  const environment = { LD_LIBRARY_PATH: ['', '/mine', '/mine'].join(delimiter) }
  t.strictSame(await readLibraries({ list, platform: 'linux-x64', environment }), {
    cuda: [12],
    vulkan: true,
  })
  t.equal(new Set(asked).size, asked.length, 'each folder once')
  t.notOk(asked.includes('/usr/local/cuda-samples/lib64'))
  t.strictSame(await readLibraries({ list, platform: 'darwin-arm64', environment }), NONE)
})

t.test('what is known of this machine', async (t) => {
  const list = async (folder: string) => (folder === '/usr/lib64' ? ['libvulkan.so.1'] : [])
  const beside = 'file:///nowhere/node_modules/node-llama-cpp/dist/index.js'
  const options = { dataFolder: t.testdir(), platform: 'linux-x64', beside }
  t.strictSame(await readBestInput({ list, environment: {} }, [RX], options), {
    ...{ gpus: [RX], platform: 'linux-x64', installed: [], libraries: VULKAN },
  })
})
