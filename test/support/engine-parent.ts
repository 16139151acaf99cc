/** A process that keeps an engine busy until it is killed; tells its engine's pid once that is at work. */

import { systemClock } from '../../src/base/clock.ts'
import { assert } from '../../src/base/errors.ts'
import { silentLog } from '../../src/base/log.ts'
import { LlamaCppBackend } from '../../src/inference/llamacpp/host.ts'
import { LLAMACPP_DEFAULTS } from '../../src/inference/llamacpp/options.ts'
import { request } from './tiny-model.ts'

const backend = new LlamaCppBackend(
  { clock: systemClock, log: silentLog(), random: Math.random },
  { ...LLAMACPP_DEFAULTS, ...JSON.parse(process.argv[2] ?? '{}') },
)
await backend.start()
let pieces = 0
const onDelta = () => {
  if (++pieces === 500) process.send?.(backend.stats().pid)
}
const { signal } = new AbortController()
const work = async () => {
  for (;;) await backend.generate(request('Count from 0 to 15.'), { signal, onDelta })
}
const info = backend.info()
assert(info !== undefined, 'a started engine tells what it is')
for (let slot = 0; slot < info.slots; slot++) void work()
