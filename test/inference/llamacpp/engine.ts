import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../../../src/base/clock.ts'
import { startTime } from '../../../src/base/process-time.ts'
import { ms } from '../../../src/base/units.ts'
import { until } from '../../support/fake-engine.ts'
import { type BackendWishes, llamaCpp } from '../../support/llamacpp.ts'
import { ANSWERS, request, TINY_MODEL } from '../../support/tiny-model.ts'

const folder = t.testdir({})
const entry = new URL('../../../src/inference/llamacpp/engine.js', import.meta.url)
/** Keeps an engine busy, until it is killed. */
const PARENT = new URL('../../support/engine-parent.js', import.meta.url)
const signal = new AbortController().signal

/** The shipped engine with the real llama.cpp. */
async function started(t: Test, wishes: Partial<BackendWishes> = {}) {
  const backend = llamaCpp(t, { entry, recordFile: join(folder, 'engine.json'), ...wishes })
  await backend.start()
  return backend
}

/** Whether a process is gone within the two seconds that graphics memory may stay taken. */
async function isGone(pid: number): Promise<boolean> {
  const limit = systemClock.monotonic() + 2_000
  while ((await startTime(pid)) !== undefined && systemClock.monotonic() < limit)
    await systemClock.sleep(ms(10))
  return (await startTime(pid)) === undefined
}

t.test('real answers through the process, killed in the middle, and again', async (t) => {
  const backend = await started(t, { restartDelayFirst: ms(1) })
  t.hasStrict(backend.info(), { device: 'cpu', contextSize: 256, slots: 4 })
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.kill(backend.stats().pid ?? 0, name)
  const together = await Promise.all(
    ANSWERS.map(([ask]) => backend.generate(request(ask), { signal })),
  )
  for (const [at, [question, want]] of ANSWERS.entries())
    t.equal(together[at]?.text, want, question)

  const { pid = 0 } = backend.stats()
  const heard: string[] = []
  const cut = backend.generate(request('Count from 1 to 9.'), {
    signal,
    onDelta: ({ text = '' }) => {
      if (heard.push(text) === 3) process.kill(pid, 'SIGKILL')
    },
  })
  await t.rejects(cut, { code: 'ENGINE_FAILED', retryable: true, message: /SIGKILL/ })
  const [question = '', want] = ANSWERS[1] ?? []
  t.equal(
    (await backend.generate(request(question), { signal })).text,
    want,
    'a new engine answers',
  )
  t.not(backend.stats().pid, pid)

  const controller = new AbortController()
  const aborted = backend.generate(request('Count from 1 to 9.'), {
    signal: controller.signal,
    onDelta: () => controller.abort(new Error('enough')),
  })
  await t.rejects(aborted, { message: 'enough' })
  await until(() => backend.stats().active === 0)
  const tooLong = backend.generate(request('word '.repeat(300)), { signal })
  await t.rejects(tooLong, { code: 'CONTEXT_LENGTH', data: { contextSize: 256 } })

  const last = backend.stats().pid ?? 0
  await backend.stop()
  t.equal(await startTime(last), undefined, 'gone when stop resolves')
})

t.test('probes of an idle engine do no harm', async (t) => {
  const often = { heartbeatEvery: ms(2), probeEvery: ms(2) }
  const backend = await started(t, often)
  const texts = new Set<string>()
  for (let turn = 0; turn < 5; turn++) {
    await systemClock.sleep(ms(20))
    const long = request(`${'Hello! '.repeat(60)}Who are you?`)
    const { text, usage } = await backend.generate(long, { signal })
    texts.add(text)
    t.equal(usage.cachedTokens, turn === 0 ? 0 : 128, 'what was read stays')
  }
  t.equal(texts.size, 1)
  t.equal(backend.stats().state, 'ready')
})

t.test('what cannot be loaded', async (t) => {
  const gone = started(t, { modelPath: join(folder, 'none.gguf') })
  await t.rejects(gone, { code: 'MODEL_LOAD', retryable: false })
  const refusing = started(t, { chatTemplate: `{{ raise_exception('never') }}` })
  await t.rejects(refusing, { code: 'MODEL_LOAD', message: /chat template.*never/ })
  const library = 'file:///nowhere/node-llama-cpp/dist/index.js'
  await t.rejects(started(t, { library }), { code: 'ENGINE_MISSING' })
})

function parent(): ChildProcess {
  const options = {
    model: 'tiny-chat',
    modelPath: TINY_MODEL,
    // So many random answers, so long, that nothing ends soon by itself.
    slots: 64,
    contextSize: 1024,
    defaults: { temperature: 9, topP: 1, topK: 0, minP: 0 },
    gpu: false,
    threadsMax: 1,
    environment: {},
    recordFile: join(folder, 'parent.json'),
  }
  return fork(PARENT, [JSON.stringify(options)], { execArgv: [] })
}

t.test('the engine ends with its supplier, in the middle of its work', async (t) => {
  const supplier = parent()
  t.teardown(() => supplier.kill('SIGKILL'))
  const [pid] = (await once(supplier, 'message')) as [number]
  t.type(await startTime(pid), 'string', 'it runs')
  supplier.kill('SIGKILL')
  await once(supplier, 'exit')
  t.equal(await isGone(pid), true)
})
