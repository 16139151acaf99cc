/**
 * Relays of sessions that are invented, over, still to come, or somebody else's; each rightly signed by
 * the application, so that only the session can be what is wrong. At height 15, in the session 11 to 20,
 * with a grace period of one block.
 */
import { toBech32 } from '@cosmjs/encoding'
import { utf8 } from '../../src/base/bytes.ts'
import { addressOf } from '../../src/protocol/address.ts'
import type { RelayRequest, SessionHeader } from '../../src/protocol/relay.ts'
import type { Hostile } from './hostile.ts'
import type { Bench } from './relay-bench.ts'
import { keys, operator, signed } from './relay-gateway.ts'

const SESSION = 'relay_authenticator 1'
const INVALID = 'service 1111'
const UNKNOWN = 'query 3'
const SUPPLIER = 'relayer_proxy 9'
const SERVICE = 'relayer_proxy 3'
const stranger = addressOf(keys.stranger.publicKey)

type Over = Partial<SessionHeader> | ((b: Bench) => Partial<SessionHeader>)

function headed(name: string, over: Over, outcome: string, asks = 0): Hostile {
  const make = (b: Bench) => {
    const changed = typeof over === 'function' ? over(b) : over
    return signed(b.draft({ ...b.header(), ...changed }))
  }
  return { name, make, outcome, asks }
}

function supplied(name: string, supplier: (b: Bench) => string, outcome: string): Hostile {
  const make = (b: Bench): RelayRequest => {
    const { meta, payload } = b.draft()
    const sessionHeader = meta?.sessionHeader
    const signature = new Uint8Array(0)
    return signed({
      meta: { sessionHeader, signature, supplierOperatorAddress: supplier(b) },
      payload,
    })
  }
  return { name: `supplier: ${name}`, make, outcome }
}

const session = (name: string, over: (own: string) => string, outcome = SESSION) =>
  headed(`session id: ${name}`, (b) => ({ sessionId: over(b.header().sessionId) }), outcome)
const app = (name: string, over: (own: string) => string, outcome = INVALID, asks = 0) =>
  headed(
    `application: ${name}`,
    (b) => ({ applicationAddress: over(b.application) }),
    outcome,
    asks,
  )
const service = (name: string, serviceId: string, outcome = INVALID, asks = 0) =>
  headed(`service: ${name}`, { serviceId }, outcome, asks)
const heights = (start: bigint, end: bigint, outcome = SESSION, asks = 0) =>
  headed(
    `heights ${start} to ${end}`,
    { sessionStartBlockHeight: start, sessionEndBlockHeight: end },
    outcome,
    asks,
  )

const MAX = 2n ** 63n - 1n

export const SESSIONS: readonly Hostile[] = [
  session('invented', () => 'ab'.repeat(32)),
  session('in capitals', (own) => own.toUpperCase()),
  session('one character less', (own) => own.slice(1)),
  session('one character more', (own) => `${own}0`),
  session('a line end behind', (own) => `${own}\n`),
  session('a NUL behind', (own) => `${own}\0`),
  session('a NUL only', () => '\0'),
  session('a space', () => ' '),
  session('a byte order mark before', (own) => `\ufeff${own}`),
  session('full width digits', () => '\uff11'.repeat(64)),
  session('of a miner for trials', () => 'simv1:1750000000:0123abcd'),
  session('a path', () => '../../../../etc/passwd'),
  session('a megabyte', () => 'a'.repeat(1_000_000)),
  session('none', () => '', INVALID),
  headed('the id of the session after', (b) => ({ sessionId: b.header(21).sessionId }), SESSION),
  headed('the id of the session before', (b) => ({ sessionId: b.header(5).sessionId }), SESSION),
  headed(
    'the heights of the session before, with this id',
    (b) => ({ ...b.header(5), sessionId: b.header().sessionId }),
    SESSION,
    1,
  ),
  headed(
    'the heights of the session after, with this id',
    (b) => ({ ...b.header(25), sessionId: b.header().sessionId }),
    SESSION,
  ),
  headed(
    'the id of another service',
    (b) => ({ sessionId: b.chain.header(b.application, 15, 'other').sessionId }),
    SESSION,
  ),
  headed(
    'the id of another application',
    (b) => ({ sessionId: b.chain.header(stranger, 15).sessionId }),
    SESSION,
  ),

  app('not staked', () => stranger, UNKNOWN, 1),
  app('the supplier', () => operator.address, UNKNOWN, 1),
  app('in capitals', (own) => own.toUpperCase(), UNKNOWN, 1),
  app('of 32 bytes', () => toBech32('pokt', new Uint8Array(32).fill(7)), UNKNOWN, 1),
  app('of 255 bytes', () => toBech32('pokt', new Uint8Array(255).fill(7), 1_023), UNKNOWN, 1),
  app('of no bytes', () => toBech32('pokt', new Uint8Array(0))),
  app('of 256 bytes', () => toBech32('pokt', new Uint8Array(256).fill(7), 1_023)),
  app('of another chain', () => toBech32('cosmos', new Uint8Array(20).fill(7))),
  app('of a validator', () => toBech32('poktvaloper', new Uint8Array(20).fill(7))),
  app('capitals and not', (own) => own.replace('q', 'Q').replace('p', 'P')),
  app('one letter wrong', (own) => own.replace(/.$/, (last) => (last === 'q' ? 'p' : 'q'))),
  app('a space behind', (own) => `${own} `),
  app('a NUL behind', (own) => `${own}\0`),
  app('a NUL before', (own) => `\0${own}`),
  app('spaces', () => '   '),
  app('none', () => ''),
  app('the prefix alone', () => 'pokt1'),
  app('a megabyte', () => `pokt1${'q'.repeat(1_000_000)}`),

  service('of ours, not that of the application', 'other', UNKNOWN, 1),
  service('not ours', 'nope', SERVICE),
  service('ours in capitals', 'TEXT', SERVICE),
  service('a name that every object has', '__proto__', SERVICE),
  service('as long as may be', 'a'.repeat(42), SERVICE),
  service('one longer', 'a'.repeat(43)),
  service('a megabyte', 'a'.repeat(1_000_000)),
  service('none', ''),
  service('a slash', 'te/xt'),
  service('a NUL behind', 'text\0'),
  service('a line end behind', 'text\n'),
  service('a space behind', 'text '),
  service('letters of another script', 't\u0435xt'),
  service('a dot', '.'),

  supplied('another', () => stranger, SUPPLIER),
  supplied('the application', (b) => b.application, SUPPLIER),
  supplied('ours in capitals', () => operator.address.toUpperCase(), SUPPLIER),
  supplied('a NUL behind', () => `${operator.address}\0`, SUPPLIER),
  supplied('two at once', () => `${operator.address},${operator.address}`, SUPPLIER),
  supplied('a megabyte', () => 'p'.repeat(1_000_000), SUPPLIER),
  supplied('a name that every object has', () => 'constructor', SUPPLIER),
  supplied('none', () => '', INVALID),

  heights(12n, 20n),
  heights(10n, 20n),
  heights(11n, 19n),
  heights(11n, 21n),
  heights(11n, 30n),
  heights(15n, 16n),
  heights(14n, 15n),
  heights(11n, 15n),
  heights(1n, 20n),
  heights(2n, 10n),
  heights(1n, 14n, SESSION, 1),
  heights(16n, 25n),
  heights(16n, 17n),
  heights(16n, 20n),
  heights(16n, MAX),
  heights(21n, 30n),
  heights(31n, 40n),
  heights(1_000_011n, 1_000_020n),
  heights(11n, MAX),
  heights(MAX - 9n, MAX),
  heights(2n ** 53n - 10n, 2n ** 53n - 1n),
  heights(2n ** 32n + 11n, 2n ** 32n + 20n),
  heights(11n, 11n, INVALID),
  heights(20n, 11n, INVALID),
  heights(0n, 10n, INVALID),
  heights(-9n, 0n, INVALID),
  heights(-1n, 20n, INVALID),
  heights(11n, -1n, INVALID),
  heights(-MAX - 1n, MAX, INVALID),
  heights(1n, 2n, SESSION, 1),
  headed('the session before, rightly named', (b) => b.header(5), SESSION),
  headed('the session after, rightly named', (b) => b.header(21), SESSION),
  headed('a session far ahead, rightly named', (b) => b.header(100_001), SESSION),
  {
    name: 'no header',
    make: (b) => {
      const { meta, payload } = b.draft()
      const supplierOperatorAddress = meta?.supplierOperatorAddress ?? ''
      const signature = utf8('s')
      return { meta: { sessionHeader: undefined, signature, supplierOperatorAddress }, payload }
    },
    outcome: INVALID,
  },
]
