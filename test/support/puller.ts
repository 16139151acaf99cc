/**
 * A process of its own that pulls one file until it is done or killed: a JSON argument
 * `{ models, url, bytes, sha256, chunkBytes, parallel }`. It prints `start`, then `waits`, then `done`.
 */
import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import { errorText } from '../../src/base/errors.ts'
import { Digests } from '../../src/models/digest.ts'
import { systemDisk } from '../../src/models/disk.ts'
import { Http } from '../../src/models/http.ts'
import { pull } from '../../src/models/pull.ts'

const { models, url, bytes, sha256, chunkBytes, parallel } = JSON.parse(process.argv[2] ?? '{}')
const deps = {
  clock: systemClock,
  random: Math.random,
  http: new Http({ clock: systemClock }),
  disk: systemDisk,
  digests: new Digests({ cacheFile: join(models, 'digests.json') }),
}
const files = [{ fileName: 'm.gguf', bytes, sha256, urls: [url] }]
process.stdout.write('start\n')
const options = {
  chunkBytes,
  parallel,
  marginBytes: 0,
  onNotice: () => void process.stdout.write('waits\n'),
}
try {
  const resolved = { name: 'm', source: url, files }
  await using _pulled = await pull(deps, models, resolved, options, new AbortController().signal)
  process.stdout.write('done\n')
} catch (error) {
  process.stdout.write(`failed ${errorText(error)}\n`)
}
await deps.http[Symbol.asyncDispose]()
