import t from 'tap'
import { AssertionError } from '../../src/base/errors.ts'
import { height } from '../../src/base/units.ts'
import { ChainError } from '../../src/chain/errors.ts'
import type { Moment } from '../../src/miner/plan.ts'
import type { SessionState } from '../../src/store/sessions.ts'
import { unavailable } from '../support/miner-chain.ts'
import { Scene } from '../support/miner-scene.ts'
import { OTHER, turn } from '../support/miner-world.ts'
import { OPERATOR, root, session, submission } from '../support/sessions.ts'

const R = root(5000n, 5n)
/** Of another operator: what belongs to one is looked after together. */
const other = { name: 'b', operator: OTHER }
const sealed: SessionState = { at: 'sealed', root: R }
const claiming: SessionState = { at: 'claiming', root: R, tx: submission() }
const claimed: SessionState = { at: 'claimed', root: R }
const proven: SessionState = { at: 'proven', root: R }

t.test('each block is planned for once, and the plan is carried out', async (t) => {
  const scene = new Scene(t, 11, [session({ at: 'serving' })]).start()
  await scene.planned()
  t.strictSame(scene.taken(), [], 'not time yet')
  t.equal(scene.miner.planned, 11)
  await scene.mine()
  t.strictSame(scene.taken(), ['seal 0'])
  await scene.mine()
  t.strictSame(scene.taken(), ['seal 0'], 'still serving: the seal is tried again')
})

t.test('a seal leads to a claim in the same block, and nothing more', async (t) => {
  const scene = new Scene(t, 12, [session({ at: 'serving' }), session(sealed, { name: 'b' })])
  scene.act = (name, { key }) => {
    scene.to(scene.nameOf(key.sessionId), name === 'seal' ? sealed : claiming)
  }
  await scene.start().planned()
  t.strictSame(
    scene.taken(),
    ['seal 0', 'claim 1', 'claim 0'],
    'what was sent is not looked up yet',
  )
})

t.test('a claim that is seen leads to its proof in the same block', async (t) => {
  const scene = new Scene(t, 16, [session(claiming)])
  scene.act = (name) => {
    if (name === 'confirm-claim') scene.to(0, claimed)
  }
  await scene.start().planned()
  t.strictSame(scene.taken(), ['confirm-claim 0', 'prove 0'])
})

t.test('what was missed is not made up for: only the newest block is planned for', async (t) => {
  const scene = new Scene(t, 11, [session({ at: 'serving' })])
  const heights: number[] = []
  scene.act = (_, __, moment) => void heights.push(moment?.block.height ?? 0)
  await scene.start().planned()
  scene.chain.mineTo(1_014)
  await scene.planned()
  t.strictSame(heights, [1_014])
  t.ok(scene.fetched.length < 5, 'nor is every block between asked for')
})

t.test('an action that hangs holds up its own sessions and no others', async (t) => {
  const scene = new Scene(t, 13, [session(claiming), session(claiming, other)])
  let release = () => {}
  scene.act = (_, { key }) => {
    if (scene.nameOf(key.sessionId) !== 0 || scene.chain.height > 13) return
    return new Promise<void>((resolve) => {
      release = resolve
    })
  }
  scene.start()
  while (scene.acts.length < 2) await turn()
  t.strictSame(scene.taken(), ['confirm-claim 0', 'confirm-claim 1'])
  t.equal(scene.miner.planned, undefined, 'the block is not done')
  await scene.mine()
  t.strictSame(scene.taken(), ['confirm-claim 1'])
  t.equal(scene.miner.planned, 14)
  t.equal(scene.lines.at(-1)?.msg, 'actions of an earlier block are still at work')
  release()
  await turn()
  await scene.mine()
  t.strictSame(scene.taken(), ['confirm-claim 0', 'confirm-claim 1'], 'when it ends it goes on')
})

t.test('what an old action may have changed while sessions were read is not planned', async (t) => {
  const scene = new Scene(t, 13, [session(sealed)])
  let release = () => {}
  scene.act = () =>
    new Promise<void>((resolve) => {
      release = resolve
    })
  scene.start()
  while (scene.acts.length < 1) await turn()
  const stale = [...scene.sessions]
  scene.open = async () => {
    scene.to(0, claiming)
    release()
    await turn()
    return stale
  }
  await scene.mine()
  t.strictSame(scene.taken(), ['claim 0'], 'it was read as sealed, and is not claimed twice')
})

t.test('an action starts only while its block is the newest', async (t) => {
  const both = [session(claiming), session(claiming, other)]
  const scene = new Scene(t, 13, both, { parallelMax: 1 })
  let release = () => {}
  scene.act = () =>
    new Promise<void>((resolve) => {
      release = resolve
    })
  scene.start()
  while (scene.acts.length < 1) await turn()
  scene.act = () => {}
  scene.open = async () => []
  scene.chain.mine()
  await turn()
  release()
  for (let n = 0; n < 10; n++) await turn()
  t.strictSame(scene.taken(), ['confirm-claim 0'], 'the second of block 13 waits for block 14')
})

t.test('what may go well later is tried again within the block', async (t) => {
  const scene = new Scene(t, 13, [session(claiming)])
  scene.act = () => Promise.reject(unavailable(13))
  await scene.start().planned()
  t.strictSame(scene.taken(), ['confirm-claim 0'])
  await scene.clock.advance(1_999)
  t.strictSame(scene.taken(), [])
  await scene.clock.advance(1)
  await turn()
  t.strictSame(scene.taken(), ['confirm-claim 0'])
  scene.act = () => {}
  await scene.clock.advance(3_999)
  t.strictSame(scene.taken(), [], 'with longer and longer pauses')
  await scene.clock.advance(1)
  await turn()
  t.strictSame(scene.taken(), ['confirm-claim 0'])
  await scene.clock.advance(100_000)
  await turn()
  t.strictSame(scene.taken(), [], 'until it went well')
  t.equal(scene.clock.sleeping, 0)
})

t.test('a new block ends the tries of the last', async (t) => {
  const scene = new Scene(t, 13, [session(claiming)])
  scene.act = () => Promise.reject(unavailable(13))
  await scene.start().planned()
  scene.act = () => {}
  await scene.mine()
  scene.taken()
  await scene.clock.advance(100_000)
  await turn()
  t.strictSame(scene.taken(), [])
})

t.test('what failed for good is tried again at the next block only', async (t) => {
  const scene = new Scene(t, 13, [session(claiming), session(claiming, { name: 'b' })])
  scene.act = (_, { key }) => {
    if (scene.nameOf(key.sessionId) === 0) throw new AssertionError('a bug')
  }
  await scene.start().planned()
  t.equal(scene.clock.sleeping, 0)
  t.strictSame(scene.taken(), ['confirm-claim 0', 'confirm-claim 1'], 'the other is not concerned')
  t.match(scene.lines, [{ level: 'error', msg: 'action failed', action: 'confirm-claim' }])
  scene.act = () => Promise.reject(new ChainError('QUERY', 'refused'))
  await scene.mine()
  t.equal(scene.clock.sleeping, 0)
  t.strictSame(scene.taken(), ['confirm-claim 0', 'confirm-claim 1'])
})

t.test('without the parameters of a session end nothing is planned for it', async (t) => {
  const scene = new Scene(t, 20, [session(proven), session(proven, { name: 'b', end: 9 })])
  scene.params = (at) => {
    if (at === 10) throw unavailable(10)
    return scene.chain.shared(at)
  }
  await scene.start().planned()
  t.strictSame(scene.taken(), ['settle 1'])
  t.match(scene.lines[0], { level: 'warn', sessionEnd: 10, err: { code: 'HEIGHT_UNAVAILABLE' } })
  scene.params = (at) => scene.chain.shared(at)
  await scene.mine()
  t.strictSame(scene.taken().sort(), ['settle 0', 'settle 1'])
})

t.test('windows are those of the parameters at the session END', async (t) => {
  const scene = new Scene(t, 12, [session({ at: 'serving' })])
  const asked: number[] = []
  scene.params = (at) => {
    asked.push(at)
    return { ...scene.chain.shared(at), claimWindowOpenOffsetBlocks: 3n }
  }
  await scene.start().planned()
  t.strictSame(scene.taken(), [])
  t.strictSame(asked, [10])
  await scene.mine()
  await scene.mine()
  t.strictSame(scene.taken(), ['seal 0'], 'three blocks after the end, and one')
})

t.test('a disk that cannot be read is asked again', async (t) => {
  const scene = new Scene(t, 13, [session(claiming)])
  const { open } = scene
  scene.open = () => Promise.reject(unavailable(13))
  await scene.start().planned()
  scene.open = open
  await scene.clock.advance(2_000)
  await turn()
  t.strictSame(scene.taken(), ['confirm-claim 0'])
})

t.test('what may be tried again is not held up by what was done just now', async (t) => {
  const scene = new Scene(t, 13, [session(claiming), session(sealed, { name: 'b' })])
  scene.act = (name, { key }) => {
    if (name === 'claim') scene.to(scene.nameOf(key.sessionId), claiming)
    else throw unavailable(13)
  }
  await scene.start().planned()
  t.strictSame(scene.taken(), ['confirm-claim 0', 'claim 1'])
  await scene.clock.advance(2_000)
  await turn()
  t.strictSame(scene.taken(), ['confirm-claim 0'], 'what was only just sent is not looked up')
})

t.test('a damaged record is an error in the log, once', async (t) => {
  const scene = new Scene(t, 11, [session({ at: 'serving' })])
  scene.damaged = ['01'.repeat(60)]
  await scene.miner.recover()
  await scene.start().planned()
  scene.damaged = [...scene.damaged, '02'.repeat(60)]
  await scene.mine()
  await scene.mine()
  t.match(
    scene.lines.filter(({ level }) => level === 'error'),
    ['01', '02'].map((byte) => ({
      msg: 'a session record is damaged and was set aside',
      key: byte.repeat(60),
      sessionId: byte.repeat(32),
    })),
  )
  t.equal(scene.acts.length > 0, true, 'and the others go on')
})

t.test('after a restart what was sealed stays sealed', async (t) => {
  const all = [session({ at: 'serving' }), session(sealed, { name: 'b' })]
  const scene = new Scene(t, 12, all)
  t.strictSame(await scene.miner.recover(), all)
  t.strictSame(scene.sealedDoors, [all[1]?.key.sessionId])
})

t.test('it ends with the signal, when what is at work has ended', async (t) => {
  const scene = new Scene(t, 13, [session(claiming)])
  let release = () => {}
  const { signal } = scene.controller
  scene.act = () =>
    new Promise<void>((_, reject) => {
      release = () => reject(signal.reason)
    })
  let over = false
  const running = scene.miner.run(signal).finally(() => {
    over = true
  })
  while (scene.acts.length < 1) await turn()
  scene.controller.abort(new Error('stopped'))
  for (let n = 0; n < 5; n++) await turn()
  t.equal(over, false, 'an action is at work')
  release()
  await t.rejects(running, { message: 'stopped' })
  t.strictSame(scene.lines, [], 'being stopped is no failure')
})

t.test('what is asked of the chain is asked at the height that is planned for', async (t) => {
  const scene = new Scene(t, 16, [session(claimed), session({ at: 'serving' }, { end: 30 })])
  let moment: Moment | undefined
  scene.act = (_, __, given) => {
    moment = given
  }
  await scene.start().planned()
  t.match(moment, { block: { height: height(16) }, windows: { proofOpen: 16, seed: 15 } })
  t.strictSame(moment?.open, new Map([[OPERATOR, scene.sessions]]), 'and every session in work')
})
