/**
 * A process of its own that records relays until it is killed: `path lanes prefix`. It prints
 * `open`, then a line for each answer: `ok NAME` once the relay `NAME` is on disk, `failed CODE`.
 */
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { ms } from '../../src/base/units.ts'
import { openStore } from '../../src/store/db.ts'
import { StoreError } from '../../src/store/errors.ts'
import { incompressible, sessionKey } from './store.ts'

// Node itself ignores this signal, and the write fails; the test runner's loader would end the process.
process.on('SIGXFSZ', () => {})

const [path = '', lanes = '1', prefix = ''] = process.argv.slice(2)
const store = await openStore(path, { log: silentLog(), clock: systemClock })
process.stdout.write('open\n')

async function lane(lane: number): Promise<void> {
  for (let n = 0; ; n++) {
    const name = `${prefix}-${lane}-${n}`
    try {
      await store.relays.record(sessionKey(), incompressible(name, 2_000))
      process.stdout.write(`ok ${name}\n`)
    } catch (error) {
      process.stdout.write(`failed ${error instanceof StoreError ? error.code : error}\n`)
      await systemClock.sleep(ms(5))
    }
  }
}

await Promise.all(Array.from({ length: Number(lanes) }, (_, n) => lane(n)))
