import t from 'tap'
import { type Height, height } from '../../src/base/units.ts'
import {
  CachedQuery,
  type CachedQueryDeps,
  type CachedQueryOptions,
} from '../../src/chain/cache.ts'
import { ChainError } from '../../src/chain/errors.ts'
import type { Seen } from '../../src/chain/query.ts'

/** Answers with what was asked and how often anything was; can be told to fail or to wait. */
function setUp(options: Partial<CachedQueryOptions> = {}, start: number | undefined = 100) {
  const asked: string[] = []
  const world = {
    asked,
    head: start as Height | undefined,
    failure: undefined as Error | undefined,
    gate: Promise.resolve(),
    hasKey: true,
    application: { address: 'app' } as object | undefined,
  }
  const answer = async (what: string, signal?: AbortSignal) => {
    asked.push(what)
    await world.gate
    signal?.throwIfAborted()
    if (world.failure !== undefined) throw world.failure
    return { what, turn: asked.length }
  }
  const query = {
    sharedParams: (at: Height, s?: AbortSignal) => answer(`shared ${at}`, s),
    session: (a: string, i: string, at: Height, s?: AbortSignal) =>
      answer(`session ${a} ${i} ${at}`, s),
    difficulty: (i: string, at: Height, s?: AbortSignal) => answer(`difficulty ${i} ${at}`, s),
    computeUnitsPerRelay: (i: string, at: Height, s?: AbortSignal) => answer(`units ${i} ${at}`, s),
    proofParams: (s?: AbortSignal) => answer('proof', s),
    sessionParams: (s?: AbortSignal) => answer('sessions', s),
    tokenomicsParams: (s?: AbortSignal) => answer('tokenomics', s),
    supplier: (a: string, s?: AbortSignal) => answer(`supplier ${a}`, s),
    service: (i: string, s?: AbortSignal) => answer(`service ${i}`, s),
    application: async (a: string, s?: AbortSignal) => {
      const { application } = world
      await answer(`application ${a}`, s)
      return application
    },
    account: async (a: string, s?: AbortSignal) => {
      const { turn } = await answer(`account ${a}`, s)
      const account = { number: 9n, sequence: BigInt(turn) }
      return world.hasKey ? { ...account, publicKey: new Uint8Array(33) } : account
    },
  } as unknown as CachedQueryDeps['query']
  const cached = new CachedQuery({ query, head: () => world.head }, options)
  return { ...world, world, cached }
}

t.test('what cannot change is asked once', async (t) => {
  const { cached, asked, world } = setUp()
  const ask = async () => [
    await cached.sharedParams(height(100)),
    await cached.session('app', 's', height(91)),
    await cached.difficulty('s', height(91)),
    await cached.computeUnitsPerRelay('s', height(91)),
    await cached.account('app'),
  ]
  const first = await ask()
  for (let at = 101; at < 105; at++) {
    world.head = height(at)
    t.strictSame(await ask(), first, `at ${at}`)
  }
  t.equal(asked.length, 5)
})

t.test('other arguments are other questions', async (t) => {
  const { cached, asked } = setUp()
  await cached.session('app', 's', height(91))
  await cached.session('app', 's', height(81))
  await cached.session('app', 't', height(91))
  await cached.session('bpp', 's', height(91))
  await cached.difficulty('s', height(91))
  await cached.difficulty('s', height(81))
  await cached.computeUnitsPerRelay('s', height(91))
  await cached.sharedParams(height(91))
  await cached.sharedParams(height(81))
  t.equal(asked.length, 9)
})

t.test('an end height still to come is good for the current block only', async (t) => {
  const { cached, asked, world } = setUp()
  await cached.sharedParams(height(110))
  await cached.sharedParams(height(110))
  t.equal(asked.length, 1)
  for (let at = 101; at <= 110; at++) {
    world.head = height(at)
    await cached.sharedParams(height(110))
    await cached.sharedParams(height(110))
    t.equal(asked.length, at - 99, `asked once more at ${at}`)
  }
  world.head = height(111)
  await cached.sharedParams(height(110))
  t.equal(asked.length, 11, 'reached: remembered for good')
})

t.test('a session of a height still to come as well', async (t) => {
  const { cached, asked, world } = setUp()
  await cached.session('app', 's', height(101))
  world.head = height(101)
  await cached.session('app', 's', height(101))
  await cached.session('app', 's', height(101))
  world.head = height(102)
  await cached.session('app', 's', height(101))
  t.equal(asked.length, 2)
})

t.test('live answers are asked once a block', async (t) => {
  const { cached, asked, world } = setUp()
  const ask = async () => {
    await cached.proofParams()
    await cached.sessionParams()
    await cached.tokenomicsParams()
    await cached.application('app')
    await cached.supplier('sup')
    await cached.service('s')
  }
  await ask()
  await ask()
  t.equal(asked.length, 6)
  world.head = height(101)
  await ask()
  t.equal(asked.length, 12)
})

t.test('that there is none is an answer, for one block', async (t) => {
  const { cached, asked, world } = setUp()
  world.application = undefined
  t.equal(await cached.application('app'), undefined)
  t.equal(await cached.application('app'), undefined)
  t.equal(asked.length, 1)
  world.head = height(101)
  world.application = { address: 'app' }
  t.strictSame(await cached.application('app'), { address: 'app' })
})

t.test('an account without a key is asked again with the next block', async (t) => {
  const { cached, asked, world } = setUp()
  world.hasKey = false
  await cached.account('sup')
  await cached.account('sup')
  t.equal(asked.length, 1)
  world.head = height(101)
  world.hasKey = true
  t.ok((await cached.account('sup'))?.publicKey)
  world.head = height(102)
  t.ok((await cached.account('sup'))?.publicKey)
  t.equal(asked.length, 2, 'with its key it stays')
})

t.test('errors are never remembered', async (t) => {
  const { cached, asked, world } = setUp()
  world.failure = new ChainError('RPC_UNREACHABLE', 'gone', { retryable: true })
  await t.rejects(cached.session('app', 's', height(91)), { code: 'RPC_UNREACHABLE' })
  await t.rejects(cached.proofParams(), { code: 'RPC_UNREACHABLE' })
  world.failure = undefined
  t.ok(await cached.session('app', 's', height(91)))
  t.ok(await cached.proofParams())
  t.equal(asked.length, 4)
})

t.test(
  'the same question at the same time is asked once, and one abort fails one caller',
  async (t) => {
    const { cached, asked, world } = setUp()
    let release = () => {}
    world.gate = new Promise((resolve) => {
      release = resolve
    })
    const controller = new AbortController()
    const leaving = t.rejects(cached.session('app', 's', height(91), controller.signal), {
      message: 'enough',
    })
    const staying = [
      cached.session('app', 's', height(91)),
      cached.session('app', 's', height(91), new AbortController().signal),
    ]
    controller.abort(new Error('enough'))
    await leaving
    release()
    const [a, b] = await Promise.all(staying)
    t.equal(a, b)
    t.equal(asked.length, 1)
    await cached.session('app', 's', height(91))
    t.equal(asked.length, 1, 'and the answer is kept')
  },
)

t.test('an answer that arrives a block late is not one of the new block', async (t) => {
  const { cached, asked, world } = setUp()
  let release = () => {}
  world.gate = new Promise((resolve) => {
    release = resolve
  })
  const old = cached.application('app')
  world.head = height(101)
  world.application = { address: 'of the new block' }
  world.gate = Promise.resolve()
  await cached.proofParams()
  const fresh = cached.application('app')
  t.equal(asked.filter((what) => what === 'application app').length, 2, 'not joined')
  await fresh
  release()
  t.strictSame(await old, { address: 'app' })
  t.strictSame(await cached.application('app'), { address: 'of the new block' })
  t.equal(asked.filter((what) => what === 'application app').length, 2)
})

t.test('without a head nothing is remembered', async (t) => {
  const { cached, asked, world } = setUp()
  world.head = undefined
  await cached.sharedParams(height(1))
  await cached.sharedParams(height(1))
  await cached.proofParams()
  await cached.proofParams()
  t.equal(asked.length, 4)
  t.equal(cached.size, 0)
})

t.test('what is remembered is limited', async (t) => {
  const { cached, asked } = setUp({ sessionsMax: 2, answersMax: 3, liveMax: 4 })
  for (let at = 1; at <= 50; at++) {
    await cached.session('app', 's', height(at))
    await cached.sharedParams(height(at))
    await cached.difficulty('s', height(at))
    await cached.application(`app${at}`)
  }
  t.equal(cached.size, 2 + 3 + 4)
  const before = asked.length
  await cached.session('app', 's', height(50))
  t.equal(asked.length, before, 'the latest are kept')
  await cached.session('app', 's', height(1))
  t.equal(asked.length, before + 1, 'the oldest are gone')
})

t.test('what a state says of a height that it has not reached is not kept', async (t) => {
  let state = height(99)
  let asked = 0
  const answer = async (seen?: (state: Height) => void) => {
    seen?.(state)
    return ++asked
  }
  const query = {
    sharedParams: (_: Height, __?: AbortSignal, seen?: Seen) => answer(seen),
    difficulty: (_: string, __: Height, ___?: AbortSignal, seen?: Seen) => answer(seen),
    computeUnitsPerRelay: (_: string, __: Height, ___?: AbortSignal, seen?: Seen) => answer(seen),
    session: (
      _: string,
      __: string,
      ___: Height,
      ____?: AbortSignal,
      _____?: Height,
      seen?: Seen,
    ) => answer(seen),
  } as unknown as CachedQueryDeps['query']
  const questions: [name: string, ask: (cached: CachedQuery) => Promise<unknown>][] = [
    ['parameters', (cached) => cached.sharedParams(height(100))],
    ['difficulty', (cached) => cached.difficulty('s', height(100))],
    ['compute units', (cached) => cached.computeUnitsPerRelay('s', height(100))],
    ['session', (cached) => cached.session('app', 's', height(100))],
  ]
  for (const [name, ask] of questions) {
    let head = height(100)
    const cached = new CachedQuery({ query, head: () => head })
    state = height(99)
    asked = 0
    t.same([await ask(cached), await ask(cached)], [1, 1], `${name}: good for this block`)
    head = height(101)
    t.equal(await ask(cached), 2, `${name}: asked again in the next, of an endpoint as old`)
    state = height(100)
    head = height(102)
    t.equal(await ask(cached), 3, `${name}: and again`)
    head = height(103)
    t.equal(await ask(cached), 3, `${name}: kept, now that the state had reached the height`)
  }
})
