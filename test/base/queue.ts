import t from 'tap'
import { BoundedQueue, KeyedMutex, LruMap, Mutex } from '../../src/base/queue.ts'

t.test('a full queue says no', async (t) => {
  const queue = new BoundedQueue<number>(2)
  t.ok(queue.push(1) && queue.push(2))
  t.notOk(queue.push(3))
  t.strictSame(
    queue.remove((n) => n === 1),
    [1],
  )
  t.ok(queue.push(4))
  t.strictSame([queue.shift(), queue.shift(), queue.shift()], [2, 4, undefined])
})

t.test('a mutex lets one in at a time, also after a failure', async (t) => {
  const mutex = new Mutex()
  const steps: string[] = []
  const work = (name: string, fail = false) =>
    mutex.run(async () => {
      steps.push(`${name} in`)
      await new Promise((resolve) => setImmediate(resolve))
      steps.push(`${name} out`)
      if (fail) throw new Error(name)
    })
  const [a, b] = await Promise.allSettled([work('a', true), work('b')])
  t.equal(a.status, 'rejected')
  t.equal(b.status, 'fulfilled')
  t.strictSame(steps, ['a in', 'a out', 'b in', 'b out'])
})

t.test('keys do not wait for each other', async (t) => {
  const locks = new KeyedMutex()
  const steps: string[] = []
  let release = () => {}
  const held = locks.run('x', () => new Promise<void>((resolve) => (release = resolve)))
  const waiting = locks.run('x', async () => void steps.push('x'))
  await locks.run('y', async () => void steps.push('y'))
  release()
  await Promise.all([held, waiting])
  t.strictSame(steps, ['y', 'x'])
})

t.test('a bounded map forgets what was used longest ago', async (t) => {
  const map = new LruMap<string, number>(2)
  map.set('a', 1)
  map.set('b', 2)
  t.equal(map.get('a'), 1)
  map.set('c', 3)
  t.equal(map.get('b'), undefined)
  t.equal(map.get('a'), 1)
  map.prune((_, value) => value === 1)
  t.equal(map.get('a'), undefined)
  t.equal(map.size, 1)
})
