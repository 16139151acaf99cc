/**
 * `pocketd`, the network's own node program, as somebody has built or installed it: where it is, and
 * single command lines of it. Nothing here fetches or builds it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { constants, openSync } from 'node:fs'
import { access } from 'node:fs/promises'
import { delimiter, join, resolve } from 'node:path'

/** What to do without one. */
export const NO_POCKETD =
  'no pocketd: put the program of a Pocket Network node on the PATH, or set POCKETD to where it is'

export interface PocketdEnvironment {
  readonly POCKETD?: string | undefined
  readonly PATH?: string | undefined
}

/** `$POCKETD`, or the first on the PATH. @throws Error when `$POCKETD` is set to something else */
export async function findPocketd(
  { POCKETD, PATH = '' }: PocketdEnvironment = process.env,
): Promise<string | undefined> {
  if (POCKETD !== undefined && POCKETD !== '') {
    if (await isProgram(POCKETD)) return resolve(POCKETD)
    throw new Error(`POCKETD is ${POCKETD}, which is no program that can be run`)
  }
  for (const folder of PATH.split(delimiter)) {
    const path = join(folder, 'pocketd')
    if (folder !== '' && (await isProgram(path))) return path
  }
  return undefined
}

async function isProgram(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}

export class Pocketd {
  readonly binary: string
  /** Its home: genesis, node, keys. */
  readonly home: string

  constructor(binary: string, home: string) {
    this.binary = binary
    this.home = home
  }

  /** @returns what it printed on stdout. @throws Error with what it said when it fails */
  async run(args: readonly string[], input = ''): Promise<string> {
    const { status, stdout, stderr } = await this.try(args, input)
    if (status === 0) return stdout
    const said = (stderr.trim() || stdout.trim()).split('\n').slice(-3).join(' ')
    throw new Error(`pocketd ${args.slice(0, 4).join(' ')} ended with ${status}: ${said}`)
  }

  async try(
    args: readonly string[],
    input = '',
  ): Promise<{ status: number | null; stdout: string; stderr: string }> {
    const child = spawn(this.binary, [...args, '--home', this.home], { env: this.#environment() })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString()
    })
    // One that does not read what it is told has its reasons.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', resolve)
    })
    return { status, stdout, stderr }
  }

  /** One that goes on; what it says is appended to a file. It does not outlive this process. */
  launch(args: readonly string[], log: string): ChildProcess {
    const file = openSync(log, 'a')
    const child = spawn(this.binary, [...args, '--home', this.home], {
      env: this.#environment(),
      stdio: ['ignore', file, file],
      // Of its own group: what is typed at a terminal reaches this process first.
      detached: true,
    })
    const end = () => child.kill('SIGKILL')
    process.once('exit', end)
    child.once('exit', () => process.removeListener('exit', end))
    return child
  }

  /** It also looks for a configuration in the user's own home, which is none of its business here. */
  #environment(): NodeJS.ProcessEnv {
    return { PATH: process.env['PATH'], HOME: this.home }
  }
}
