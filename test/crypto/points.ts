import fc from 'fast-check'
import t from 'tap'
import { hex, unhex } from '../../src/base/bytes.ts'
import {
  compress,
  hashToCurve,
  INFINITY,
  type Point,
  readPoint,
  sum,
  sumWithGenerator,
  sumWithGeneratorSlowly,
} from '../../src/crypto/points.ts'
import { FIELD, ORDER } from '../../src/crypto/scalar.ts'
import { loadCurve } from '../../src/crypto/secp256k1.ts'
import { type Affine, GENERATOR, lift, plus, text, times } from '../support/affine.ts'

const CURVES = [loadCurve('native'), loadCurve('wasm')]

function point(curve: (typeof CURVES)[number], affine: Affine): Point {
  const read = readPoint(curve, unhex(text(affine)))
  if (read === undefined) throw new TypeError('not a point')
  return read
}

const scalar = fc.oneof(
  fc.bigInt({ min: 0n, max: ORDER - 1n }),
  fc.constantFrom(0n, 1n, 2n, ORDER - 1n, ORDER - 2n),
)

for (const curve of CURVES) {
  t.test(`${curve.kind}: keys hash to the points of the reference`, async (t) => {
    const rows: [key: string, hashed: string][] = [
      [
        '0397896e9b106df70124a856861cc9be52fac9980e2c7a118a36c19d0198692cc5',
        '02f72a1f27fa696323f979f608a525372567ad7c532736465db78c7d7118ce46e0',
      ],
      [
        '02bbbf99abdcddac27350bca272d7146187c091aacfc1c6f90819c9b6daf4fe846',
        '02703716bd1d384b39442d0fe0a121ef050bd663d6a2a297902db45fd5874e0ed2',
      ],
      [
        '03fac56675fc03038ccd0b5a3b263d05fe2fdc68d02f5d932366a70a3b6e262f38',
        '027489c69d6844db42e7a642c33c1c5bec99af809f3ebe9b20cba77c7ad9e6e797',
      ],
      [
        '021066f293709356a33e9c13017867586baf52513e845bc4335233a15ed1e00baf',
        '0271a09f91c545489b1548dab73fdc8bf98e10bda644949d27036362e807bcec66',
      ],
    ]
    for (const [key, hashed] of rows) {
      const result = hashToCurve(curve, unhex(key))
      t.equal(result && hex(compress(result.uncompressed)), hashed, key)
    }
  })

  t.test(`${curve.kind}: both sums are those of plain arithmetic`, async () => {
    fc.assert(
      fc.property(scalar, scalar, scalar, scalar, (a, b, k, l) => {
        const A = times(k === 0n ? 1n : k, GENERATOR)
        const B = times(l === 0n ? 1n : l, GENERATOR)
        const expected = text(plus(times(a, A), times(b, B)))
        const joint = text(plus(times(a, GENERATOR), times(b, B)))
        return (
          hex(sum(curve, a, point(curve, A), b, point(curve, B))) === expected &&
          hex(sumWithGenerator(curve, a, b, point(curve, B))) === joint &&
          hex(sumWithGeneratorSlowly(curve, a, b, point(curve, B))) === joint
        )
      }),
      { numRuns: 20 },
    )
  })

  t.test(`${curve.kind}: what adds up to nothing is infinity, however it is written`, async (t) => {
    const two = point(curve, times(2n, GENERATOR))
    const one = point(curve, GENERATOR)
    const infinity = hex(INFINITY)
    t.equal(infinity, text(undefined))
    t.equal(hex(sumWithGenerator(curve, 0n, 0n, two)), infinity, '0G + 0P')
    t.equal(hex(sumWithGenerator(curve, ORDER - 2n, 1n, two)), infinity, '-2G + 2G by recovery')
    t.equal(hex(sumWithGeneratorSlowly(curve, ORDER - 2n, 1n, two)), infinity, 'the slow way')
    t.equal(hex(sum(curve, 0n, one, 0n, two)), infinity, '0A + 0B')
    t.equal(hex(sum(curve, ORDER - 2n, one, 1n, two)), infinity, '-2G + 2G by addition')
    t.equal(hex(sum(curve, 2n, one, 1n, two)), text(times(4n, GENERATOR)), '2G + 2G is a doubling')
    t.equal(hex(sum(curve, 0n, one, 3n, two)), text(times(6n, GENERATOR)), '0A + bB')
    t.equal(hex(sumWithGenerator(curve, 0n, 3n, two)), text(times(6n, GENERATOR)), '0G + cP')
    t.equal(hex(sumWithGenerator(curve, 7n, 0n, two)), text(times(7n, GENERATOR)), 'sG + 0P')
  })

  t.test(`${curve.kind}: a key whose x is N or above takes the slow way`, async (t) => {
    let checked = 0
    for (let x = ORDER; checked < 6 && x < ORDER + 100n; x++) {
      for (const isOdd of [false, true]) {
        const affine = lift(x, isOdd)
        if (affine === undefined) continue
        const expected = text(plus(times(5n, GENERATOR), times(9n, affine)))
        t.equal(hex(sumWithGenerator(curve, 5n, 9n, point(curve, affine))), expected, `x = ${x}`)
        checked++
      }
    }
    t.equal(checked, 6)
  })

  t.test(`${curve.kind}: only canonical compressed points are read`, async (t) => {
    const good = text(GENERATOR)
    const x = good.slice(2)
    t.equal(hex(compress(point(curve, GENERATOR).uncompressed)), good)
    const offCurve = [5n, 7n, FIELD - 1n].find((candidate) => lift(candidate, false) === undefined)
    const bad = {
      empty: '',
      'x alone': x,
      'no prefix of a compressed point': `04${x}`,
      'hybrid prefix': `06${x}`,
      'zero prefix': `00${x}`,
      'one byte short': good.slice(0, -2),
      'one byte long': `${good}00`,
      uncompressed: hex(point(curve, GENERATOR).uncompressed),
      'not on the curve': `02${(offCurve ?? 0n).toString(16).padStart(64, '0')}`,
      'x is zero': `02${'00'.repeat(32)}`,
      'x is p': `02${FIELD.toString(16)}`,
      'x is p + 1, which is 1': `02${(FIELD + 1n).toString(16)}`,
      'all ff': 'ff'.repeat(33),
    }
    t.not(offCurve, undefined)
    for (const [what, bytes] of Object.entries(bad))
      t.equal(readPoint(curve, unhex(bytes)), undefined, what)
  })
}
