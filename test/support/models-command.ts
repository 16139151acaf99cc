/** Commands of `models` on a machine and with a catalogue of the test's own. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { failureOf } from '../../src/cli/failure.ts'
import { modelsCommand } from '../../src/cli/models.ts'
import type { ModelsDeps } from '../../src/cli/models-folder.ts'
import { type Catalog, loadCatalog } from '../../src/models/catalog.ts'
import { readCatalogue } from '../../src/node/catalogue.ts'
import type { Hardware } from '../../src/node/hardware.ts'
import { type CommandOptions, FakeTerminal } from './command.ts'
import { serveHub } from './hostile-server.ts'
import { LLAMA_8B } from './known-models.ts'
import { headBytes, metaOf, type Plan, tensorsOf } from './model-heads.ts'
import { startServer } from './pulling.ts'

export interface Scene extends CommandOptions {
  readonly hardware: Hardware
  /** Of the catalogue; absent: the program's own. */
  readonly catalogue?: string
}

const own: { catalogue?: Promise<Catalog> } = {}

export function depsOf({ hardware, catalogue }: Scene): ModelsDeps {
  return {
    catalogue: (extra) => {
      if (catalogue !== undefined) return loadCatalog(catalogue, { extra })
      // It takes half a second to read.
      own.catalogue ??= readCatalogue(undefined)
      return own.catalogue
    },
    hardware: async () => hardware,
    redraw: undefined,
  }
}

export async function models(words: readonly string[], scene: Scene) {
  const terminal = new FakeTerminal(scene)
  const { context } = terminal
  let status = 0
  try {
    const command = modelsCommand(context, depsOf(scene))
    await command.parseAsync(['node', 'models', ...words])
  } catch (error) {
    const failure = failureOf(error, { signal: context.signal, passphrase: undefined })
    status = failure.status
    for (const line of failure.lines) context.say(line)
  }
  return { status, out: terminal.printed, err: terminal.said, asked: terminal.asked }
}

/** A file with the head of a model and nothing of its weights, three megabytes long. */
export function headedFile(plan: Plan): Buffer {
  const data = Buffer.alloc(3 * 1024 * 1024)
  headBytes(metaOf(plan, { words: false }), tensorsOf(plan)).copy(data)
  return data
}

/** The repository of `niceCatalogue`, on two servers. @returns flags for a command */
export async function niceHub(t: Test, more: { token?: string } = {}) {
  const [server, files] = [await startServer(t), await startServer(t)]
  const finer = { type: 8, fileType: 7 }
  serveHub(server, files, {
    repo: 'a/nice-GGUF',
    files: {
      'Nice-Q4_K_M.gguf': headedFile(LLAMA_8B),
      'Nice-Q8_0.gguf': headedFile({ ...LLAMA_8B, ...finer }),
    },
    license: 'other',
    ...more,
  })
  return { server, files, flags: ['--endpoint', server.url] }
}

/** A family with one model in three variants, of the repository `a/nice-GGUF`. @returns its folder */
export async function niceCatalogue(folder: string): Promise<string> {
  const path = join(folder, 'catalogue')
  await mkdir(path)
  const variant = (quantisation: string) =>
    `{ quantisation: ${quantisation}, source: 'hf:a/nice-GGUF:${quantisation}' }`
  await writeFile(
    join(path, 'nice.yaml'),
    `family: nice
title: Nice
author: Nice people
kinds: [chat]
licence: { id: Nice-1.0, url: 'https://example.org/nice', commercial: limited, limits: 'no more than 700 million users' }
context: 8192
sampling: { plain: { temperature: 0.4, topP: 0.9 } }
thinking: none
tools: true
models:
  - name: nice-8b
    parameters: 8e9
    layers: 32
    kvHeads: 8
    headLength: 128
    default: Q4_K_M
    variants: [${['Q4_K_M', 'Q8_0', 'F16'].map(variant).join(', ')}]
sources: ['https://example.org/nice']
`,
  )
  return path
}
