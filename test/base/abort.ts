import { getEventListeners } from 'node:events'
import t from 'tap'
import { following } from '../../src/base/abort.ts'

t.test('follows the first that is aborted, with its reason', async (t) => {
  const [a, b] = [new AbortController(), new AbortController()]
  const both = following(a.signal, undefined, b.signal)
  t.equal(both.signal.aborted, false)
  b.abort('stopped')
  t.equal(both.signal.reason, 'stopped')
  a.abort('later')
  t.equal(both.signal.reason, 'stopped')
  t.equal(following(a.signal).signal.reason, 'later', 'also one that was aborted before')
})

t.test('lets go when it is disposed of, and when it is over', async (t) => {
  const long = new AbortController()
  const listeners = () => getEventListeners(long.signal, 'abort').length
  {
    using held = following(long.signal)
    t.equal(listeners(), 1)
    held.abort('enough')
    t.equal(held.signal.reason, 'enough')
  }
  t.equal(listeners(), 0)
  const short = new AbortController()
  const both = following(long.signal, short.signal)
  short.abort()
  t.equal(listeners(), 0)
  long.abort('end')
  t.not(both.signal.reason, 'end')
})
