import { Writable } from 'node:stream'
import t from 'tap'
import { BaseError } from '../../src/base/errors.ts'
import { createLog } from '../../src/base/log.ts'

t.test('amounts are exact, secrets hidden, errors flat', async (t) => {
  const lines: Record<string, unknown>[] = []
  const sink = new Writable({
    write(chunk, _, done) {
      lines.push(JSON.parse(String(chunk)))
      done()
    },
  })
  const log = createLog('info', sink).child({ component: 'miner' })
  const err = new BaseError('DEADLINE', 'late', {
    data: { upokt: 2n ** 60n },
    cause: new Error('x'),
  })
  log.warn(
    { upokt: 12345678901234567890n, prompt: 'my secret', mnemonic: 'a b c', err },
    'claim refused',
  )
  log.debug('not shown')
  t.equal(lines.length, 1)
  t.match(lines[0], {
    level: 'warn',
    component: 'miner',
    upokt: '12345678901234567890',
    prompt: '[hidden]',
    mnemonic: '[hidden]',
    err: { code: 'DEADLINE', message: 'late', upokt: (2n ** 60n).toString(), cause: 'x' },
    msg: 'claim refused',
  })
})
