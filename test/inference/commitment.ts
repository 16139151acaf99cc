import fc from 'fast-check'
import t from 'tap'
import { concat, hex, sha256, unhex, utf8 } from '../../src/base/bytes.ts'
import {
  COMMITTED_TOP_MAX,
  Commitment,
  Openings,
  readLeaf,
  readOpening,
  verifyOpening,
} from '../../src/inference/commitment.ts'
import { Committer } from '../../src/inference/committer.ts'
import type { Delta, GenerationRequest, TokenScore } from '../../src/inference/request.ts'

function score(text: string, logprob: number | null, top: [string, number][] = []): TokenScore {
  return {
    text,
    bytes: utf8(text),
    logprob,
    top: top.map(([name, one]) => ({ text: name, bytes: utf8(name), logprob: one })),
  }
}
const scores = (count: number) =>
  Array.from({ length: count }, (_, at) => score(`t${at}`, -at / 7, [['x', -at / 9]]))

t.test('the root of two tokens is as written down', async (t) => {
  const leaves = [
    '0000000000000000' + '00000001' + '61' + 'fffffb2e' + '01' + '00000001' + '62' + 'ffffffff',
    '0000000000000001' + '00000000' + '80000000' + '00',
  ].map(unhex)
  const nodes = leaves.map((leaf) => sha256(concat(Uint8Array.of(0), leaf)))
  const inner = sha256(concat(Uint8Array.of(1), ...nodes))
  const count = unhex('0000000000000002')
  const { root } = new Commitment([score('a', -1.2341, [['b', -0.0012]]), score('', null)])
  t.equal(hex(root), hex(sha256(concat(Uint8Array.of(2), count, inner))))
  t.match(readLeaf(leaves[0] as Uint8Array), {
    position: 0,
    text: 'a',
    logprob: -1.234,
    top: [{ text: 'b', logprob: -0.001 }],
  })
  t.equal(readLeaf(leaves[1] as Uint8Array).logprob, null)
})

t.test('every position can be opened, and only as it was', async (t) => {
  for (const count of [1, 2, 3, 4, 5, 7, 8, 9, 33]) {
    const commitment = new Commitment(scores(count))
    for (let position = 0; position < count; position++) {
      const opening = commitment.open(position)
      const name = `${position} of ${count}`
      t.ok(verifyOpening(commitment.root, opening), name)
      const wrong = {
        'another place': { ...opening, position: (position + 1) % (count + 1) },
        'another count': { ...opening, count: count + 1 },
        'a longer path': { ...opening, path: [...opening.path, commitment.root] },
        'a shorter path': { ...opening, path: opening.path.slice(1), count: count + 0 },
        'another leaf': { ...opening, leaf: concat(opening.leaf.slice(0, -1), Uint8Array.of(7)) },
      }
      for (const [how, one] of Object.entries(wrong))
        if (count > 1 || how !== 'a shorter path')
          t.notOk(verifyOpening(commitment.root, one), `${name}: ${how}`)
    }
    t.throws(() => commitment.open(count), { code: 'NOT_FOUND' })
    t.throws(() => commitment.open(-1), { code: 'NOT_FOUND' })
    t.throws(() => commitment.open(0.5), { code: 'NOT_FOUND' })
  }
})

t.test('never verifies what was not committed to', async () => {
  const one = fc.record({
    text: fc.string({ maxLength: 3 }),
    logprob: fc.option(fc.double({ min: -20, max: 0, noNaN: true })),
  })
  const list = fc.array(one, { minLength: 1, maxLength: 12 })
  const read = (all: { text: string; logprob: number | null }[]) =>
    new Commitment(all.map(({ text, logprob }) => score(text, logprob)))
  fc.assert(
    fc.property(list, list, fc.nat(), (a, b, at) => {
      const [mine, other] = [read(a), read(b)]
      const opening = other.open(at % b.length)
      const isSame = hex(mine.root) === hex(other.root)
      return verifyOpening(mine.root, opening) === isSame && verifyOpening(other.root, opening)
    }),
  )
})

t.test('numbers are bound to a thousandth, alternatives up to a limit', async (t) => {
  const root = (logprob: number) => hex(new Commitment([score('a', logprob)]).root)
  t.equal(root(-1.0001), root(-1))
  t.not(root(-1.001), root(-1))
  t.equal(root(Number.NEGATIVE_INFINITY), root(-9e9), 'the impossible is as low as can be')
  const many: [string, number][] = Array.from({ length: 20 }, (_, at) => [`${at}`, -at])
  const { leaf } = new Commitment([score('a', 0, many)]).open(0)
  t.equal(readLeaf(leaf).top.length, COMMITTED_TOP_MAX)
  t.equal(new Commitment([]).count, 0, 'an answer without tokens has a root, too')
})

t.test('kept openings', async (t) => {
  await t.test('are given with what proves them', async (t) => {
    const openings = new Openings()
    const root = openings.commit('cmpl-1', scores(5))
    const body = JSON.parse(JSON.stringify(openings.open('cmpl-1', 3)))
    t.match(body, {
      id: 'cmpl-1',
      logprob_root: root,
      position: 3,
      count: 5,
      token: 't3',
      bytes: [...utf8('t3')],
      logprob: -0.429,
      top_logprobs: [{ token: 'x', logprob: -0.333 }],
    })
    const read = readOpening(body)
    t.equal(hex(read.root), root)
    t.ok(verifyOpening(read.root, read.opening))
    t.throws(() => openings.open('cmpl-1', 5), { code: 'NOT_FOUND' })
    t.throws(() => openings.open('cmpl-2', 0), { code: 'NOT_FOUND' })
    for (const broken of [null, {}, { ...body, leaf: 'x' }, { ...body, path: ['zz'] }])
      t.throws(() => readOpening(broken), { code: 'BAD_REQUEST' })
    for (const leaf of ['', '00', `${body.leaf}00`, body.leaf.replace(/^.{16}.{8}/, '$&ffffffff')])
      t.throws(() => readLeaf(unhex(leaf)), { code: 'BAD_REQUEST' })
  })

  await t.test('are bounded, and go in the order in which they were asked for', async (t) => {
    const openings = new Openings({ answersMax: 2 })
    for (const id of ['a', 'b']) openings.commit(id, scores(2))
    openings.open('a', 0)
    openings.commit('c', scores(2))
    t.throws(() => openings.open('b', 0), { code: 'NOT_FOUND' }, 'longest not asked for')
    t.ok(openings.open('a', 0))
    t.ok(openings.open('c', 0))
    openings.commit('a', scores(3))
    t.match(openings.open('a', 2), { count: 3 }, 'the same id again takes the place of the first')
    const { bytes } = new Commitment(scores(10))
    const small = new Openings({ bytesMax: bytes * 2 })
    for (const id of ['a', 'b', 'c']) small.commit(id, scores(10))
    t.throws(() => small.open('a', 0), { code: 'NOT_FOUND' }, 'by their size')
    t.ok(small.open('b', 9))
    small.commit('d', scores(100))
    t.throws(() => small.open('d', 0), { code: 'NOT_FOUND' }, 'what is too large is not kept')
  })
})

t.test('a committer', async (t) => {
  const top: [string, number][] = ['x', 'y', 'z', 'u', 'v', 'w'].map((name, at) => [name, -at])
  const { signal } = new AbortController()

  async function setUp(topLogprobs: number | undefined) {
    const asked: GenerationRequest[] = []
    const openings = new Openings()
    const committer = new Committer({
      openings,
      generate: async (request, { onDelta }) => {
        asked.push(request)
        const one = score('a', -1, top.slice(0, request.topLogprobs))
        onDelta?.({ text: 'a', scores: [one] })
        onDelta?.({ reasoning: 'hm' })
        const usage = { promptTokens: 1, completionTokens: 1 }
        const scores = [one, score(`${asked.length}`, -2, top.slice(0, request.topLogprobs))]
        return { text: 'a', toolCalls: [], finishReason: 'stop', usage, scores, fingerprint: 'f' }
      },
    })
    const deltas: Delta[] = []
    const request: GenerationRequest = {
      kind: 'completion',
      prompt: 'x',
      echo: false,
      stop: [],
      ...(topLogprobs === undefined ? {} : { topLogprobs }),
    }
    const run = () =>
      committer.generate(request, { signal, onDelta: (delta) => deltas.push(delta) })
    return { asked, openings, committer, deltas, choices: [await run(), await run()] }
  }

  await t.test('asks for scores and hides them where nobody asked', async (t) => {
    const { asked, openings, committer, deltas, choices } = await setUp(undefined)
    t.equal(asked[0]?.topLogprobs, 4)
    for (const piece of [...deltas, ...choices]) t.notOk('scores' in piece)
    t.strictSame(deltas.slice(0, 2), [{ text: 'a' }, { reasoning: 'hm' }])
    const root = committer.commit('id', choices)
    t.match(openings.open('id', 3), { logprob_root: root, count: 4, token: '2', logprob: -2 })
    t.equal(Object(openings.open('id', 0)['top_logprobs']).length, 4)
  })

  await t.test('shows as many alternatives as were asked for', async (t) => {
    for (const topLogprobs of [0, 2, 6]) {
      const { asked, deltas, choices } = await setUp(topLogprobs)
      t.equal(asked[0]?.topLogprobs, Math.max(4, topLogprobs))
      t.equal(choices[0]?.scores?.[0]?.top.length, topLogprobs)
      t.equal(deltas[0]?.scores?.[0]?.top.length, topLogprobs)
    }
  })

  await t.test('commits to the choices that are shown, in their order', async (t) => {
    const { openings, committer, choices } = await setUp(1)
    const [first, second] = choices
    if (first === undefined || second === undefined) throw new Error('two were made')
    committer.commit('id', [second])
    t.match(openings.open('id', 1), { count: 2, token: '2' })
    t.not(committer.commit('a', [first, second]), committer.commit('b', [second, first]))
  })
})
