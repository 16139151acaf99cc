import t from 'tap'
import {
  AssertionError,
  assert,
  BaseError,
  errorText,
  isAbort,
  unreachable,
} from '../../src/base/errors.ts'

t.test('an error carries its code, its data and whether another try is worth it', async (t) => {
  const cause = new Error('below')
  const error = new BaseError('DEADLINE', 'late', { data: { limitMs: 5 }, retryable: true, cause })
  t.equal(error.code, 'DEADLINE')
  t.strictSame(error.data, { limitMs: 5 })
  t.equal(error.retryable, true)
  t.equal(error.cause, cause)
  t.equal(error.name, 'BaseError')
  t.equal(new BaseError('DEADLINE', 'late').retryable, false, 'not worth it unless said')
  t.equal(errorText(error), 'DEADLINE: late')
  t.equal(errorText(cause), 'below')
  t.equal(errorText('text'), 'text')
})

t.test('a false statement about our own code is another kind of error', async (t) => {
  t.throws(() => assert(false, 'never'), AssertionError)
  t.doesNotThrow(() => assert(1, 'fine'))
  t.throws(() => unreachable('x' as never), /unreachable: x/)
})

t.test('an abort is told from a failure', async (t) => {
  const controller = new AbortController()
  const reason = new Error('client gone')
  t.equal(isAbort(reason, controller.signal), false)
  controller.abort(reason)
  t.equal(isAbort(reason, controller.signal), true)
  t.equal(isAbort(new Error('other'), controller.signal), false)
  t.equal(isAbort(new Error('wrapped', { cause: reason }), controller.signal), true)
  t.equal(isAbort(new DOMException('x', 'AbortError'), undefined), true)
})
