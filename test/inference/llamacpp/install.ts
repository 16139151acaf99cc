import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import t from 'tap'
import {
  ENGINE_VERSION,
  type EngineKind,
  installEngine,
  kindsFor,
  type Npm,
  npmEnvironment,
  showEngines,
  systemNpm,
  thisPlatform,
} from '../../../src/inference/llamacpp/install.ts'

const signal = new AbortController().signal

/** Puts a package where npm would put it. */
async function put(modules: string, name: string, version: string): Promise<void> {
  const folder = join(modules, name)
  await mkdir(join(folder, name.startsWith('@') ? 'bins' : 'dist'), { recursive: true })
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name, version }))
}

/** Does what it is told as npm would, and writes down what that was. */
function fakeNpm(calls: string[][] = []): Npm {
  return async (args) => {
    calls.push([...args])
    const folder = args[args.indexOf('--prefix') + 1] ?? ''
    for (const item of args.filter((arg) => /.@/.test(arg))) {
      const at = item.lastIndexOf('@')
      await put(join(folder, 'node_modules'), item.slice(0, at), item.slice(at + 1))
    }
  }
}

t.test('each platform has its kinds, the best first', async (t) => {
  const want: [string, EngineKind[]][] = [
    ['linux-x64', ['cuda', 'vulkan', 'cpu']],
    ['linux-arm64', ['cpu']],
    ['darwin-arm64', ['metal']],
    ['darwin-x64', ['cpu']],
    ['win32-x64', ['cuda', 'vulkan', 'cpu']],
    ['sunos-x64', []],
  ]
  for (const [platform, kinds] of want) t.strictSame(kindsFor(platform), kinds, platform)
  t.match(thisPlatform(), /^\w+-\w+$/)
})

t.test(
  'CUDA brings what it falls back to, into a folder of its version, with scripts off',
  async (t) => {
    const dataFolder = t.testdir()
    const calls: string[][] = []
    const options = { dataFolder, platform: 'linux-x64' }
    const copy = await installEngine('cuda', { npm: fakeNpm(calls) }, options, signal)
    const folder = join(dataFolder, 'engines', ENGINE_VERSION)
    const [args = []] = calls
    t.strictSame(args.slice(0, 5), [
      'install',
      '--prefix',
      folder,
      '--ignore-scripts',
      '--omit=optional',
    ])
    t.strictSame(
      args.filter((arg) => arg.includes('@')).map((arg) => arg.replace(`@${ENGINE_VERSION}`, '')),
      [
        'node-llama-cpp',
        '@node-llama-cpp/linux-x64-cuda',
        '@node-llama-cpp/linux-x64-cuda-ext',
        '@node-llama-cpp/linux-x64-vulkan',
        '@node-llama-cpp/linux-x64',
      ],
    )
    t.strictSame(copy, {
      where: 'data folder',
      version: ENGINE_VERSION,
      url: pathToFileURL(join(folder, 'node_modules/node-llama-cpp/dist/index.js')).href,
      kinds: ['cuda', 'vulkan', 'cpu'],
    })
  },
)

t.test('a kind that is not made for the platform', async (t) => {
  const calls: string[][] = []
  const options = { dataFolder: t.testdir(), platform: 'darwin-arm64' }
  await t.rejects(installEngine('cuda', { npm: fakeNpm(calls) }, options, signal), {
    code: 'ENGINE_MISSING',
    message: 'there is no cuda engine for darwin-arm64 (there is: metal)',
  })
  t.strictSame(calls, [], 'npm was not asked')
})

t.test('what npm says when it fails', async (t) => {
  const options = { dataFolder: t.testdir(), platform: 'darwin-arm64' }
  const failing = (words: string) => async () => {
    throw new Error(
      `Command failed: npm install @node-llama-cpp/mac-arm64-metal@${ENGINE_VERSION}\n${words}`,
    )
  }
  const absent = [
    `npm error code ETARGET\nnpm error notarget No matching version found for @node-llama-cpp/mac-arm64-metal@${ENGINE_VERSION}.`,
    `npm error code E404\nnpm error 404  The requested resource '@node-llama-cpp/mac-arm64-metal@${ENGINE_VERSION}' could not be found`,
  ]
  for (const words of absent) {
    await t.rejects(
      installEngine('metal', { npm: failing(words) }, options, signal),
      {
        code: 'ENGINE_MISSING',
        message: `@node-llama-cpp/mac-arm64-metal ${ENGINE_VERSION} is not in the registry: not available`,
        retryable: false,
      },
      words,
    )
  }
  await t.rejects(
    installEngine('metal', { npm: failing('npm error code ENOTFOUND') }, options, signal),
    { code: 'ENGINE_MISSING', message: /ENOTFOUND/, retryable: true },
  )
  await t.rejects(installEngine('metal', { npm: async () => {} }, options, signal), {
    code: 'ENGINE_MISSING',
    message: /npm ended well but/,
  })
})

t.test('an install may be given up', async (t) => {
  const controller = new AbortController()
  const npm: Npm = async () => {
    controller.abort(new Error('not needed'))
    throw new Error('killed')
  }
  const options = { dataFolder: t.testdir(), platform: 'linux-x64' }
  await t.rejects(installEngine('cpu', { npm }, options, controller.signal), {
    message: 'not needed',
  })
})

t.test('the runner gives npm its environment and its output', async (t) => {
  const folder = t.testdir()
  const bin = join(folder, 'npm')
  await writeFile(bin, '#!/bin/sh\necho "$@ $TOLD" >&2; exit 1\n', { mode: 0o755 })
  const npm = systemNpm({ PATH: `${folder}:/bin:/usr/bin`, TOLD: 'so' })
  await t.rejects(npm(['install', 'x'], signal), { message: /install x so/ })
})

t.test('npm is given the way to the registry, and no secret', async (t) => {
  const way = {
    PATH: '/bin',
    HTTPS_PROXY: 'p',
    no_proxy: 'n',
    NODE_EXTRA_CA_CERTS: 'c',
    npm_config_registry: 'r',
  }
  t.strictSame(
    npmEnvironment({ ...way, POKT_SUPPLIER_PASSPHRASE: 'x', NODE_OPTIONS: 'x', HOME: undefined }),
    way,
  )
})

t.test('which engine is used, and why', async (t) => {
  const dataFolder = t.testdir()
  const platform = 'linux-x64'
  const modules = join(dataFolder, 'checkout', 'node_modules')
  const beside = pathToFileURL(join(modules, 'node-llama-cpp/dist/index.js')).href
  const show = () => showEngines({ dataFolder, platform, beside })

  t.match(await show(), { copies: [], use: undefined, why: /engine install cuda\|vulkan\|cpu$/ })

  await put(modules, 'node-llama-cpp', ENGINE_VERSION)
  t.match(await show(), { copies: [{ kinds: [] }], use: undefined }, 'a library without binaries')

  await put(modules, '@node-llama-cpp/linux-x64', '3.21.1')
  t.equal((await show()).use, undefined, 'binaries of another version are none')

  await put(modules, '@node-llama-cpp/linux-x64', ENGINE_VERSION)
  const packaged = await show()
  t.strictSame(packaged.use, {
    where: 'package',
    version: ENGINE_VERSION,
    url: beside,
    kinds: ['cpu'],
  })
  t.match(packaged.why, /beside the program \(cpu\)/)

  await installEngine('vulkan', { npm: fakeNpm() }, { dataFolder, platform }, signal)
  const both = await show()
  t.equal(both.copies.length, 2)
  t.match(both.use, { where: 'data folder', kinds: ['vulkan', 'cpu'] })
  t.match(both.why, /installed on purpose/)

  const data = join(dataFolder, 'engines', ENGINE_VERSION, 'node_modules')
  await put(data, 'node-llama-cpp', '3.0.0')
  t.match(
    (await show()).use,
    { where: 'package' },
    'another version than the pinned one is not used',
  )
  const nowhere = await showEngines({ dataFolder, platform: 'sunos-x64', beside })
  t.match(nowhere, { use: undefined, why: /no engine for sunos-x64.*upstream/ })
})

t.test('the engine beside this package is found', async (t) => {
  const { use } = await showEngines({ dataFolder: t.testdir(), platform: thisPlatform() })
  t.equal(use?.where, 'package')
  t.match(fileURLToPath(use?.url ?? ''), /node-llama-cpp.dist.index\.js$/)
})
