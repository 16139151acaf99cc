/** Where the program itself lies: the folder with its package.json, from sources as from a build. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { assert } from '../base/errors.ts'

export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder)
    assert(parent !== folder, 'the program lies in a package')
    folder = parent
  }
  return folder
}

export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8'))
  return String(version)
}

/** The small model that comes with the program. */
export function tinyModelPath(): string {
  return join(packageRoot(), 'models', 'tiny-chat.gguf')
}
