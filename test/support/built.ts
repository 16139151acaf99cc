/**
 * The engine's files as the build makes them, in a folder of the test.
 *
 * A process that is forked from a test runs every file through the test runner's compiler, three seconds of
 * work for each engine; these are plain JavaScript and start at once. It also is what is shipped:
 * `./engine.js` beside `./host.js`.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import ts from 'typescript'

const SOURCE = fileURLToPath(new URL('../../src', import.meta.url))
const FILES = ['base', 'inference/errors.ts', 'inference/llamacpp']

const OPTIONS: ts.CompilerOptions = {
  module: ts.ModuleKind.ESNext,
  target: ts.ScriptTarget.ES2022,
  rewriteRelativeImportExtensions: true,
  verbatimModuleSyntax: true,
}

/** @returns the URL of a built file, such as `inference/llamacpp/engine.js` */
export async function build(folder: string): Promise<(file: string) => URL> {
  for (const name of FILES) {
    const names = name.endsWith('.ts')
      ? [name]
      : (await readdir(join(SOURCE, name))).map((file) => `${name}/${file}`)
    for (const file of names) {
      const { outputText } = ts.transpileModule(await readFile(join(SOURCE, file), 'utf8'), {
        compilerOptions: OPTIONS,
      })
      const out = join(folder, file.replace(/\.ts$/, '.js'))
      await mkdir(dirname(out), { recursive: true })
      await writeFile(out, outputText)
    }
  }
  return (file) => pathToFileURL(join(folder, file))
}
