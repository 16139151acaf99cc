import { toBech32 } from '@cosmjs/encoding'
import fc from 'fast-check'
import t from 'tap'
import { unhex } from '../../src/base/bytes.ts'
import { addressBytes, addressOf, decodeAddress, parseAddress } from '../../src/protocol/address.ts'
import { json, rows } from '../support/vectors.ts'

interface Named {
  pub: string
  address: string
}

const documented = json<{ keys: Record<string, { publicKey: string; address: string }> }>(
  'documented.json',
)

t.test('the address of a public key', async (t) => {
  for (const [name, key] of Object.entries(documented.keys))
    t.equal(addressOf(unhex(key.publicKey)), key.address, name)
  const [row] = rows<{ keys: Record<string, Named> }>('relay.jsonl', 'keys')
  const people = Object.entries(row?.keys ?? {}).filter(([name]) => name !== 'placeholder')
  t.equal(people.length, 5)
  for (const [name, { pub, address }] of people) t.equal(addressOf(unhex(pub)), address, name)
})

t.test('an address has one text only', async (t) => {
  const good = toBech32('pokt', new Uint8Array(20).fill(7))
  t.equal(parseAddress(good), good)
  const wrong: Record<string, string> = {
    'upper case': good.toUpperCase(),
    'mixed case': good.replace('q', 'Q'),
    'a changed letter': good.replace(/.$/, (last) => (last === 'q' ? 'p' : 'q')),
    'a space behind': `${good} `,
    'another prefix': toBech32('cosmos', new Uint8Array(20).fill(7)),
    'a prefix that begins alike': toBech32('poktvaloper', new Uint8Array(20).fill(7)),
    '19 bytes': toBech32('pokt', new Uint8Array(19).fill(7)),
    '32 bytes': toBech32('pokt', new Uint8Array(32).fill(7)),
    empty: '',
    blank: ' ',
    'no bech32': 'pokt1',
  }
  for (const [what, text] of Object.entries(wrong))
    t.throws(() => parseAddress(text), { code: 'ADDRESS' }, what)
})

t.test('the looser check of the chain takes 1 to 255 bytes', async (t) => {
  for (const length of [1, 19, 20, 255])
    t.equal(decodeAddress(toBech32('pokt', new Uint8Array(length), 1023)).length, length)
  for (const length of [0, 256])
    t.throws(() => decodeAddress(toBech32('pokt', new Uint8Array(length), 1023)), {
      code: 'ADDRESS',
    })
})

t.test('bytes and text are two forms of one address', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), (bytes) => {
      const address = parseAddress(toBech32('pokt', bytes))
      return Buffer.compare(addressBytes(address), bytes) === 0
    }),
  )
})
