/** A supplier's view of several nodes that a test moves on, and that may lie, with a clock by hand. */
import type { Test } from 'tap'
import { hex } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { height, ms } from '../../src/base/units.ts'
import { Blocks } from '../../src/chain/blocks.ts'
import { Rpc } from '../../src/chain/rpc.ts'
import { LyingNode } from './lying-node.ts'
import { until } from './recorded-node.ts'
import { WatchedClock } from './watched-clock.ts'

export const POLL = 3_000
/** From block to block, in all of these tests. */
export const PACE = 30_000

export interface World {
  readonly clock: WatchedClock
  readonly nodes: readonly LyingNode[]
  readonly rpc: Rpc
  readonly blocks: Blocks
  /** Every height that a consumer got, with the hash as it was then. */
  readonly got: { height: number; hash: Uint8Array }[]
  readonly logged: string[]
  readonly signal: AbortSignal
  at(index: number): LyingNode
  head(): number
  state(index: number): string
  /** One poll: moves the clock and waits for the look that follows. */
  poll(): Promise<void>
  /** As many polls as fit between two blocks. */
  block(...heights: readonly (number | undefined)[]): Promise<void>
}

export async function open(t: Test, heights: readonly number[], subscribe = false): Promise<World> {
  const clock = new WatchedClock()
  const nodes = await Promise.all(heights.map((start) => LyingNode.start(start)))
  const logged: string[] = []
  const log = silentLog()
  for (const level of ['warn', 'error'] as const)
    log[level] = (...parts: unknown[]) => {
      const { reason = '' } = parts[0] as { reason?: string }
      logged.push(`${level} ${String(parts[1])} ${reason}`.trim())
    }
  const deps = { clock, random: () => 1, log }
  const endpoints = nodes.map(({ node }) => node.url)
  const rpc = new Rpc(deps, { endpoints, timeout: ms(60_000), chainId: 'pocket' })
  const blocks = new Blocks({ rpc, ...deps }, { subscribe, pollEvery: ms(POLL) })
  const controller = new AbortController()
  const { signal } = controller
  const running = blocks.run(signal)
  const got: World['got'] = []
  const follow = async () => {
    for await (const block of blocks.follow(signal)) got.push(block)
  }
  const following = follow().catch(() => {})
  t.teardown(async () => {
    controller.abort(new Error('stopped'))
    await running
    await following
    await rpc.close()
    for (const { node } of nodes) await node.close()
  })
  const poll = async () => {
    await until(() => clock.pending(POLL) > 0, 'a pause')
    const before = clock.begun(POLL)
    await clock.advance(POLL)
    await until(() => clock.begun(POLL) > before, 'the next pause')
  }
  const at = (index: number) => {
    const node = nodes[index]
    if (node === undefined) throw new Error(`no node ${index}`)
    return node
  }
  const block = async (...next: readonly (number | undefined)[]) => {
    for (const [index, node] of nodes.entries()) node.height = next[index] ?? node.height
    for (let turn = 0; turn < PACE / POLL; turn++) await poll()
    await until(() => (got.at(-1)?.height ?? 0) >= head(), 'the consumer has it')
  }
  const head = () => blocks.head()?.height ?? 0
  await until(() => clock.pending(POLL) > 0, 'the first look')
  const state = (index: number) => rpc.health[index]?.state ?? ''
  return { clock, nodes, rpc, blocks, got, logged, signal, at, head, state, poll, block }
}

/** Every height from the first on, once and in order. */
export function isWhole(got: World['got']): boolean {
  const [first] = got
  return got.every(({ height }, i) => height === (first?.height ?? 0) + i)
}

export async function hashAt({ blocks, signal }: World, at: number): Promise<string> {
  return hex((await blocks.at(height(at), signal)).hash)
}
