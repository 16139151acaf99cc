/** The built program as a user runs it: arguments in; exit status, stdout and stderr out. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { systemClock } from '../../src/base/clock.ts'
import { ms } from '../../src/base/units.ts'
import { packageRoot } from '../../src/config/root.ts'
import type { Devnet } from '../../src/devnet/chain.ts'

const PROGRAM = join(packageRoot(), 'bin', 'pokt-supplier.js')
const LOOK_EVERY = ms(20)
/** No command takes so long; one that would never end must not take its test along. */
const LIMIT = ms(60_000)

export interface Ran {
  /** Null for one that a signal ended. */
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/**
 * Without a terminal, and with nothing of this process's environment but the path. What the test tool
 * puts into the environment of every child, to load itself into it, is taken out again by `env`.
 */
export function launch(
  home: string,
  args: readonly string[],
): ChildProcessByStdio<null, Readable, Readable> {
  return spawn('/usr/bin/env', ['-u', 'NODE_OPTIONS', process.execPath, PROGRAM, ...args], {
    cwd: home,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '', HOME: home },
  })
}

/** Runs to its end in `folder`; one that takes a minute is killed. */
export async function command(folder: string, ...args: string[]): Promise<Ran> {
  const child = launch(folder, args)
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const ended = new AbortController()
  systemClock.sleep(LIMIT, ended.signal).then(
    () => child.kill('SIGKILL'),
    () => {},
  )
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  ended.abort()
  return { status, stdout, stderr }
}

/** Makes a block for each transaction that arrives, until `work` is done. */
export async function mining<T>(devnet: Devnet, work: Promise<T>): Promise<T> {
  let done = false
  const miner = async () => {
    while (!done) {
      if (devnet.mempool.waiting.length > 0) await devnet.mine()
      await systemClock.sleep(LOOK_EVERY)
    }
  }
  const [result] = await Promise.all([
    work.finally(() => {
      done = true
    }),
    miner(),
  ])
  return result
}
