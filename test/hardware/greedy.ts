/** Whether an answer without chance depends on its neighbours: on a card sums change with the size of a step. */
import t, { type Test } from 'tap'
import type { LlamaCppBackend } from '../../src/inference/llamacpp/host.ts'
import { findHardware, greedy, Hardware, textOf } from '../support/hardware.ts'

const QUESTIONS = 8
const ROUNDS = 3
const TOKENS = 64

const found = await findHardware()
if (typeof found === 'string') t.plan(0, found)
else {
  t.setTimeout(600_000)
  await onCard(t, await Hardware.open(found, t))
}

async function onCard(t: Test, machine: Hardware): Promise<void> {
  t.comment(machine.name)
  const size = { contextSize: 2_048, slots: QUESTIONS }
  await t.test('exclusive: the same alone and under load', async (t) => {
    const backend = machine.backend({ ...size, exclusive: true })
    await backend.start()
    t.equal(backend.info().facts.repeatable, true)
    const alone = await oneByOne(backend)
    t.equal(new Set(alone).size, QUESTIONS, 'different questions, different answers')
    for (let round = 0; round < ROUNDS; round++) {
      const answers = await together(backend, true)
      t.strictSame(answers, alone, `round ${round}`)
    }
    await backend.stop()
  })
  await t.test('without it, how many differ is told and not judged', async (t) => {
    const backend = machine.backend(size)
    await backend.start()
    t.equal(backend.info().facts.repeatable, false, 'it is not promised')
    const alone = await oneByOne(backend)
    let differ = 0
    for (let round = 0; round < ROUNDS; round++)
      for (const [at, answer] of (await together(backend, false)).entries())
        if (answer !== alone[at]) differ++
    t.comment(`${differ} of ${ROUNDS * QUESTIONS} answers under load differ from those alone`)
    await backend.stop()
  })
}

async function oneByOne(backend: LlamaCppBackend): Promise<string[]> {
  const answers: string[] = []
  for (let at = 0; at < QUESTIONS; at++) answers.push(await textOf(backend, greedy(at, TOKENS)))
  return answers
}

/** @param withChance others that are answered by chance are asked in between */
async function together(backend: LlamaCppBackend, withChance: boolean): Promise<string[]> {
  const asked: Promise<string>[] = []
  const others: Promise<string>[] = []
  for (let at = 0; at < QUESTIONS; at++) {
    asked.push(textOf(backend, greedy(at, TOKENS)))
    if (withChance) others.push(textOf(backend, { ...greedy(at, TOKENS), temperature: 1 }))
  }
  await Promise.all(others)
  return await Promise.all(asked)
}
