/**
 * How fast ring signatures are verified: the native and the portable library, with and without what
 * `crypto/points.ts` does for speed.
 *
 * Run with `npx tsc && node dist/scripts/bench/ring.js [members]`. The candidates take turns in short
 * slices and are compared slice by slice, so that a machine which is busy elsewhere slows all alike:
 * believe the ratios first, the times second.
 */
import { randomBytes } from 'node:crypto'
import { concat, hex } from '../../src/base/bytes.ts'
import { assert } from '../../src/base/errors.ts'
import {
  hashToCurve,
  readPoint,
  sum,
  sumWithGenerator,
  sumWithGeneratorSlowly,
} from '../../src/crypto/points.ts'
import { parseRing, type Ring, RingVerifier, signRing } from '../../src/crypto/ring.ts'
import { hashToScalar, readInteger, reduce } from '../../src/crypto/scalar.ts'
import { type Curve, loadCurve } from '../../src/crypto/secp256k1.ts'

const MEMBERS = 2
const SIGNATURES = 24
const SLICES = 40

interface Signed {
  readonly message: Uint8Array
  readonly bytes: Uint8Array
}
interface Candidate {
  readonly name: string
  readonly verify: (message: Uint8Array, ring: Ring) => boolean
}

/** Every point is made ready for every signature again. */
function verifyUncached(
  curve: Curve,
  sumOfGenerator: typeof sumWithGenerator,
): Candidate['verify'] {
  return (message, { c0, keyImage, members }) => {
    const image = readPoint(curve, keyImage)
    const first = reduce(readInteger(c0))
    let c = first
    for (const { s, key } of members) {
      const point = readPoint(curve, key)
      const hashed = hashToCurve(curve, key)
      if (point === undefined || hashed === undefined || image === undefined) return false
      const answer = reduce(readInteger(s))
      const left = sumOfGenerator(curve, answer, c, point)
      c = hashToScalar(concat(message, left, sum(curve, answer, hashed, c, image)))
    }
    return c === first
  }
}

function candidates(curve: Curve): Candidate[] {
  const verifier = new RingVerifier({ curve })
  return [
    { name: `${curve.kind}, as it runs`, verify: (m, ring) => verifier.verify(m, ring) },
    { name: `${curve.kind}, no cache`, verify: verifyUncached(curve, sumWithGenerator) },
    {
      name: `${curve.kind}, no cache, no recovery`,
      verify: verifyUncached(curve, sumWithGeneratorSlowly),
    },
  ]
}

/** Of one application and its gateways, as most relays of a session are. */
function makeSignatures(curve: Curve, members: number): Signed[] {
  const keys = Array.from({ length: members }, () => randomBytes(32))
  const publicKeys = keys.map((key) => curve.publicKey(key))
  return Array.from({ length: SIGNATURES }, () => {
    const message = randomBytes(32)
    const signer = keys.at(-1)
    assert(signer !== undefined, 'a ring has members')
    return { message, bytes: signRing({ curve, randomBytes }, message, publicKeys, signer) }
  })
}

/** Milliseconds for one signature, parsing included. */
function measure({ name, verify }: Candidate, signatures: readonly Signed[]): number {
  const start = process.hrtime.bigint()
  for (const { message, bytes } of signatures)
    assert(verify(message, parseRing(bytes)), `${name} refused ${hex(bytes)}`)
  return Number(process.hrtime.bigint() - start) / 1e6 / signatures.length
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

function main(members: number): void {
  const curves = [loadCurve('native'), loadCurve('wasm')] as const
  const signatures = makeSignatures(curves[0], members)
  const all = curves.flatMap((curve) => candidates(curve))
  for (const candidate of all) measure(candidate, signatures)
  const slices = Array.from({ length: SLICES }, () =>
    all.map((candidate) => measure(candidate, signatures)),
  )
  process.stdout.write(`ring of ${members}, ${SLICES} slices of ${SIGNATURES} signatures\n`)
  for (const [i, { name }] of all.entries()) {
    const times = slices.map((slice) => slice[i] ?? Number.NaN)
    const ratios = slices.map((slice) => (slice[i] ?? Number.NaN) / (slice[0] ?? Number.NaN))
    const middle = median(times)
    const columns = [
      name.padEnd(32),
      `${middle.toFixed(3)} ms`,
      `best ${Math.min(...times).toFixed(3)} ms`,
      `${Math.round(1_000 / middle)} verify/s`.padStart(14),
      `x ${median(ratios).toFixed(2)}`,
    ]
    process.stdout.write(`${columns.join('  ')}\n`)
  }
}

main(Number(process.argv[2] ?? MEMBERS))
