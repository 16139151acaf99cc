import t from 'tap'
import {
  RELAY_ERRORS,
  type RelayCode,
  RelayError,
  WIRE,
  wireError,
} from '../../src/relay/errors.ts'
import { BAD_WORDS } from '../support/relay-gateway.ts'

/** Codespaces, codes and texts as poktroll registers them. */
const REGISTERED: Record<string, string> = {
  'relayer_proxy 3': 'service endpoint not handled by relayer proxy',
  'relayer_proxy 5': 'internal error',
  'relayer_proxy 7': 'offchain rate limit hit by relayer proxy',
  'relayer_proxy 9': 'supplier(s) not reachable',
  'relayer_proxy 10': 'relayer proxy request timed out',
  'relayer_proxy 13': 'request limit exceed',
  'relayer_proxy 14': 'failed to unmarshal relay request',
  'relay_authenticator 1': 'invalid session in relayer request',
  'relay_authenticator 2': 'supplier does not belong to session',
  'relay_authenticator 4': 'invalid relay request',
  'rings 2': 'invalid relay request',
  'rings 3': 'invalid relay request signature',
  'query 3': 'error while trying to retrieve a session',
  'service 1111': 'invalid relay request',
}

t.test(
  'every code has a registered codespace, code and text, and all of these are in use',
  async (t) => {
    const used = new Set<string>()
    for (const code of Object.keys(RELAY_ERRORS) as RelayCode[]) {
      const { codespace, code: number, description } = WIRE[code]
      t.equal(description, REGISTERED[`${codespace} ${number}`], code)
      used.add(`${codespace} ${number}`)
    }
    t.strictSame([...used].sort(), Object.keys(REGISTERED).sort())
    t.strictSame(Object.keys(WIRE).sort(), Object.keys(RELAY_ERRORS).sort())
  },
)

t.test('no text looks like a broken connection to a gateway', async (t) => {
  for (const [code, { description }] of Object.entries(WIRE))
    for (const word of BAD_WORDS) t.notOk(description.includes(word), `${code} says ${word}`)
})

t.test('the context stands before the registered text', async (t) => {
  t.strictSame(wireError('FOREIGN_SERVICE', 'service "foo" not configured'), {
    codespace: 'relayer_proxy',
    code: 3,
    description: 'service endpoint not handled by relayer proxy',
    message: 'service "foo" not configured: service endpoint not handled by relayer proxy',
  })
  t.equal(wireError('FOREIGN_SUPPLIER', '').message, 'supplier(s) not reachable')
  t.equal(wireError('INVALID', 'invalid relay request').message, 'invalid relay request', 'once')
})

t.test('a stranger does not get back all that he sent', async (t) => {
  const { message } = wireError('INVALID', 'x'.repeat(1_000_000))
  t.ok(message.length < 1_000, `${message.length} characters`)
  t.ok(message.endsWith(': invalid relay request'))
})

t.test('an error keeps its code, its cause and whether to try again', async (t) => {
  const cause = new TypeError('why')
  t.match(new RelayError('CHAIN_SILENT', 'later', { cause, retryable: true }), {
    name: 'RelayError',
    code: 'CHAIN_SILENT',
    retryable: true,
    cause,
  })
})
