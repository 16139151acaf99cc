/** What drivers write, as it was written, and a program that writes it again. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { packageRoot } from '../../../src/config/root.ts'
import type { Runner, RunResult } from '../../../src/gpu/run.ts'

/** @param name of a file here, such as `apple-m2.ioreg.txt` */
export function recorded(name: string): string {
  return readFileSync(join(packageRoot(), 'test/support/gpu', name), 'utf8')
}

export const done = (text: string): RunResult => ({ is: 'done', text })
export const failed = (text: string): RunResult => ({ is: 'failed', text })
export const MISSING: RunResult = { is: 'missing' }

/** Answers by the first argument that it knows; whatever it was asked is kept. */
export class RecordedPrograms {
  readonly asked: string[] = []
  /** By `program` or by `program argument`, where a prefix of an argument is enough. */
  readonly answers: Record<string, RunResult>

  constructor(answers: Record<string, RunResult>) {
    this.answers = answers
  }

  get run(): Runner {
    return async (program, args, signal) => {
      signal.throwIfAborted()
      this.asked.push([program, ...args].join(' '))
      for (const [key, answer] of Object.entries(this.answers)) {
        const [name, start] = key.split(' ')
        if (name === program && args.some((arg) => arg.startsWith(start ?? ''))) return answer
      }
      return MISSING
    }
  }

  /** How often since the last call, by what kind of question. */
  count(): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const line of this.asked.splice(0)) {
      const kind =
        /--query-gpu|--query-compute-apps|pmon|-L|ioreg|hw\.memsize/.exec(line)?.[0] ?? line
      counts[kind] = (counts[kind] ?? 0) + 1
    }
    return counts
  }
}

/** The answers of a machine with NVIDIA's cards. */
export function nvidiaOf(name: string, parts: readonly ('pmon' | 'apps' | 'list')[]) {
  const answers: Record<string, RunResult> = {
    'nvidia-smi --query-gpu': done(recorded(`${name}.gpus.txt`)),
    'nvidia-smi pmon': failed('Not supported on the device(s)'),
  }
  if (parts.includes('pmon')) answers['nvidia-smi pmon'] = done(recorded(`${name}.pmon.txt`))
  if (parts.includes('apps'))
    answers['nvidia-smi --query-compute-apps'] = done(recorded(`${name}.apps.txt`))
  if (parts.includes('list')) answers['nvidia-smi -L'] = done(recorded(`${name}.list.txt`))
  return answers
}

type Entry = Exclude<NonNullable<Parameters<Test['testdir']>[0]>, Tree> | Tree
interface Tree {
  [name: string]: Entry
}

/** A folder of lines `path = content` and `path -> link`. */
export function treeOf(t: Test, text: string, more: Record<string, string> = {}): string {
  const tree: Tree = {}
  const put = (path: string, value: Entry) => {
    const names = path.split('/')
    const last = names.pop() ?? ''
    let at = tree
    for (const name of names) {
      at[name] ??= {}
      at = at[name] as Tree
    }
    at[last] = value
  }
  for (const line of text.split('\n')) {
    const link = /^(\S+) -> (\S+)$/.exec(line)
    if (link) put(link[1] ?? '', t.fixture('symlink', link[2] ?? ''))
    const file = /^([^#\s]\S*) = (.*)$/.exec(line)
    if (file) put(file[1] ?? '', `${(file[2] ?? '').replaceAll('\\n', '\n')}\n`)
  }
  for (const [path, content] of Object.entries(more))
    put(path, content.startsWith('-> ') ? t.fixture('symlink', content.slice(3)) : content)
  return t.testdir(tree)
}
