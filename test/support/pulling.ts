/** A hostile server, an empty library, and pulls from the one into the other in small chunks. */
import { join } from 'node:path'
import type { Test } from 'tap'
import { systemClock } from '../../src/base/clock.ts'
import { ms } from '../../src/base/units.ts'
import { Digests } from '../../src/models/digest.ts'
import { type Disk, systemDisk } from '../../src/models/disk.ts'
import { HTTP_DEFAULTS, Http } from '../../src/models/http.ts'
import { type Pulled, pull } from '../../src/models/pull.ts'
import { PULL_DEFAULTS, type PullOptions } from '../../src/models/pull-options.ts'
import type { Resolved, ResolvedFile } from '../../src/models/resolved.ts'
import { HostileServer, sha256, weights } from './hostile-server.ts'

export const CHUNK = 32 * 1024

export const QUICK: PullOptions = {
  ...PULL_DEFAULTS,
  chunkBytes: CHUNK,
  marginBytes: 0,
  retry: { attemptsMax: 4, delayFirst: ms(1), delayMax: ms(4), retryAfterMax: ms(1_500) },
}

export function httpFor(t: Test, idle = 2_000): Http {
  const options = { ...HTTP_DEFAULTS, answerWait: ms(idle), idle: ms(idle) }
  const http = new Http({ clock: systemClock }, options)
  t.teardown(() => http[Symbol.asyncDispose]())
  return http
}

export async function startServer(
  t: Test,
  files: Readonly<Record<string, Buffer>> = {},
): Promise<HostileServer> {
  const server = await HostileServer.start(files)
  t.teardown(() => server.stop())
  return server
}

export interface Scene {
  readonly server: HostileServer
  readonly data: Buffer
  /** Of the library. */
  readonly models: string
  readonly file: ResolvedFile
  readonly blob: string
  readonly http: Http
  readonly notices: string[]
  pull(more?: PullMore): Promise<Pulled>
}

export interface PullMore {
  readonly options?: Partial<PullOptions>
  readonly files?: readonly ResolvedFile[]
  readonly disk?: Disk
  readonly signal?: AbortSignal
  readonly models?: string
}

export async function scene(
  t: Test,
  { bytes = 8 * CHUNK + 77, idle = 2_000 } = {},
): Promise<Scene> {
  const data = weights(bytes)
  const server = await startServer(t, { '/m.gguf': data })
  const http = httpFor(t, idle)
  const folder = t.testdir()
  const models = join(folder, 'models')
  const notices: string[] = []
  const file: ResolvedFile = {
    fileName: 'm.gguf',
    bytes,
    sha256: sha256(data),
    urls: [`${server.url}/m.gguf`],
  }
  const digests = new Digests({ cacheFile: join(folder, 'digests.json') })
  return {
    server,
    data,
    models,
    file,
    blob: join(models, 'blobs', `sha256-${sha256(data)}`),
    http,
    notices,
    pull: ({ options, files = [file], disk = systemDisk, signal, models: to } = {}) => {
      const resolved: Resolved = { name: 'm', source: file.urls[0] ?? '', files }
      const deps = { clock: systemClock, random: Math.random, http, disk, digests }
      const onNotice = (text: string) => notices.push(text)
      const all = { ...QUICK, onNotice, ...options }
      return pull(deps, to ?? models, resolved, all, signal ?? new AbortController().signal)
    },
  }
}
