/** `scripts/localnet` as somebody uses it: what it says without a `pocketd`, and a chain with one. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { access, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { request } from 'undici'
import { findPocketd, NO_POCKETD } from '../support/pocketd.ts'

const PROGRAM = fileURLToPath(new URL('../../scripts/localnet.js', import.meta.url))
const pocketd = await findPocketd()

class Running {
  readonly child: ChildProcessByStdio<null, Readable, Readable>
  stdout = ''
  stderr = ''
  readonly ended: Promise<number | null>

  constructor(args: readonly string[], environment: Record<string, string>) {
    this.child = spawn('/usr/bin/env', ['-u', 'NODE_OPTIONS', process.execPath, PROGRAM, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environment,
    })
    this.child.stdout.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString()
    })
    this.child.stderr.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString()
    })
    t.teardown(() => this.child.kill('SIGTERM'))
    this.ended = new Promise((resolve) => this.child.once('close', resolve))
  }

  /** Resolves with what it printed, once that is one JSON object. */
  async json<T>(): Promise<T> {
    const found = new Promise<T>((resolve) => {
      const look = () => {
        if (this.stdout.endsWith('}\n')) resolve(JSON.parse(this.stdout))
      }
      this.child.stdout.on('data', look)
      look()
    })
    const early = this.ended.then((status) => {
      throw new Error(`ended with ${status}: ${this.stderr}`)
    })
    return await Promise.race([found, early])
  }
}

interface Described {
  readonly rpc: string
  readonly home: string
  readonly chainId: string
  readonly session: number
  readonly accounts: Record<string, { address: string; privateKey: string }>
}

async function ask<T>(rpc: string, path: string): Promise<T> {
  const { body } = await request(`${rpc}/${path}`)
  return ((await body.json()) as { result: T }).result
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  )
}

t.test('without a program it says what to do, and how it is used', async (t) => {
  const none = new Running([], { PATH: '' })
  t.equal(await none.ended, 1)
  t.equal(none.stderr, `localnet: ${NO_POCKETD}\n`)
  const wrong = new Running([], { PATH: '', POCKETD: '/nowhere/pocketd' })
  t.equal(await wrong.ended, 1)
  t.match(wrong.stderr, /^localnet: POCKETD is \/nowhere\/pocketd, which is no program/)
  const help = new Running(['--help'], { PATH: '' })
  t.equal(await help.ended, 0)
  for (const option of ['--session', '--threshold', '--probability', '--target-relays', '--keep'])
    t.match(help.stdout, option)
  const bad = new Running(['--block-time', 'soon'], { PATH: '' })
  t.equal(await bad.ended, 1)
  t.match(bad.stderr, 'write a time from 100ms to 600s')
})

t.test('a chain, until Ctrl-C', { skip: pocketd === undefined && NO_POCKETD }, async (t) => {
  const environment = { PATH: process.env['PATH'] ?? '', POCKETD: pocketd ?? '' }
  const home = await mkdtemp(join(tmpdir(), 'pokt-localnet-test-'))
  t.teardown(() => rm(home, { recursive: true, force: true }))
  const few = ['--suppliers', '1', '--applications', '1']
  const options = ['--json', '--block-time', '500ms', '--session', '6', ...few]
  const removed = new Running([...options, '--chain-id', 'mine'], environment)
  const kept = new Running([...options, '--home', home, '--keep'], environment)
  for (const [name, running] of Object.entries({ removed, kept })) {
    const chain = await running.json<Described>()
    const status = await ask<{ node_info: { network: string } }>(chain.rpc, 'status')
    t.equal(status.node_info.network, name === 'removed' ? 'mine' : 'pocket-localnet')
    t.equal(chain.session, 6)
    t.equal(chain.accounts['supplier1']?.privateKey.length, 64)
    t.match(chain.accounts['gateway1']?.address, /^pokt1/)
    running.child.kill('SIGINT')
    t.equal(await running.ended, 0, running.stderr)
    await t.rejects(ask(chain.rpc, 'status'), 'the node is gone')
    t.equal(await isThere(chain.home), name === 'kept', `${name}: its home`)
  }
  const again = new Running(['--home', home], environment)
  t.equal(await again.ended, 1)
  t.match(again.stderr, 'is not empty', 'what is there already is left alone')
})
