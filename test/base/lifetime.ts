import t from 'tap'
import { Lifetime } from '../../src/base/lifetime.ts'

t.test('closes in the opposite order, once, whatever fails', async (t) => {
  const closed: string[] = []
  const life = new Lifetime()
  for (const name of ['store', 'chain', 'port'])
    life.own(name, (resource) => {
      closed.push(resource)
      if (resource === 'chain') throw new Error('chain would not close')
    })
  await t.rejects(life.stop(), { name: 'AggregateError' })
  t.strictSame(closed, ['port', 'chain', 'store'])
  await t.rejects(life.stop(), { name: 'AggregateError' }, 'the same answer again')
  t.equal(closed.length, 3)
})

t.test('a loop ends before the resources it uses close', async (t) => {
  const order: string[] = []
  const failures: unknown[] = []
  const life = new Lifetime()
  life.own('store', () => void order.push('store closed'))
  life.run(
    (signal) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          order.push('loop ended')
          resolve()
        })
      }),
    (error) => failures.push(error),
  )
  life.run(
    async () => {
      throw new Error('loop failed')
    },
    (error) => failures.push(error),
  )
  await Promise.resolve()
  await life.stop()
  t.strictSame(order, ['loop ended', 'store closed'])
  t.match(failures, [{ message: 'loop failed' }])
})
