/**
 * The disk: one LevelDB, one process, one schema.
 *
 * Every sublevel is named here, once, with its encodings; a name is never used again for another
 * encoding. Session key: see keys.ts. Tested by test/store/db.ts.
 */
import { resolve } from 'node:path'
import { Level } from 'level'
import { utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { type Database, Disk, type Table } from './disk.ts'
import { StoreError, storeError } from './errors.ts'
import { prepareFolder, readPid, unreadableBytes, writePid } from './folder.ts'
import { RELAY_STORE_DEFAULTS, type RelayStoreOptions } from './relays.ts'
import { OpenStore, type Store } from './store.ts'

export type { Store } from './store.ts'

const MAGIC = 'pokt-supplier'
const SCHEMA = '1'

export interface Tables {
  /** 'magic', 'schema', 'created' (UTF-8) -> 'pokt-supplier', schema version, ISO time (UTF-8). */
  readonly meta: Table
  /** session key || leaf path (32 bytes) -> leaf digest: hash (32), sum (8), count (8). */
  readonly leaves: Table
  /** session key || leaf path (32 bytes) -> dehydrated relay, protobuf. */
  readonly relays: Table
  /** session key || replay key (32 bytes) -> nothing. */
  readonly replays: Table
  /** session key -> session record, see encoding.ts; 0xff || session key -> one that could not be read. */
  readonly sessions: Table
  /** session key -> ledger entry, see encoding.ts. */
  readonly ledger: Table
  /** day || service id -> what it did and drew, see energy.ts. */
  readonly energy: Table
}

export function tablesOf(disk: Disk): Tables {
  return {
    meta: disk.table('meta'),
    leaves: disk.table('leaves'),
    relays: disk.table('relays'),
    replays: disk.table('replays'),
    sessions: disk.table('sessions'),
    ledger: disk.table('ledger'),
    energy: disk.table('energy'),
  }
}

export interface StoreDeps {
  readonly log: Log
  readonly clock: Pick<Clock, 'now'>
}

export interface StoreOptions extends RelayStoreOptions {
  readonly cacheBytes: number
  /** What LevelDB keeps in memory and in its log before it sorts it into a file. */
  readonly writeBufferBytes: number
}

export const STORE_DEFAULTS: StoreOptions = {
  ...RELAY_STORE_DEFAULTS,
  cacheBytes: 8 << 20,
  writeBufferBytes: 16 << 20,
}

/**
 * Opens the database in the folder `path`, or makes it. Who opens it closes it.
 * @throws StoreError LOCKED (data.pid, if known), FOREIGN, VERSION, CORRUPT, DISK
 */
export async function openStore(
  path: string,
  deps: StoreDeps,
  options: StoreOptions = STORE_DEFAULTS,
): Promise<Store> {
  const folder = resolve(path)
  const log = deps.log.child({ component: 'store' })
  await prepareFolder(folder)
  const level = await openLevel(folder, options)
  const disk = new Disk({ level, log })
  try {
    const unreadable = await unreadableBytes(folder)
    if (unreadable > 0) log.warn({ path: folder, bytes: unreadable }, 'database log was damaged')
    const tables = tablesOf(disk)
    await identify(folder, disk, tables, deps.clock)
    const store = new OpenStore({ folder, disk, tables, log }, options)
    await store.recover()
    await writePid(folder).catch((err) => log.warn({ err }, 'pid file not written'))
    return store
  } catch (error) {
    await disk.close()
    throw error
  }
}

async function openLevel(folder: string, options: StoreOptions): Promise<Database> {
  const level = new Level<Uint8Array, Uint8Array>(folder, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    cacheSize: options.cacheBytes,
    writeBufferSize: options.writeBufferBytes,
  })
  try {
    await level.open()
    return level
  } catch (cause) {
    const error = storeError(cause)
    const pid = error.code === 'LOCKED' ? await readPid(folder) : undefined
    const by = pid === undefined ? '' : ` (by process ${pid})`
    throw new StoreError(error.code, `${error.message}${by}: ${folder}`, {
      data: { path: folder, ...(pid !== undefined && { pid }) },
      retryable: error.retryable,
      cause,
    })
  }
}

/** Makes sure that the database is ours and of this schema; signs a new one. */
async function identify(
  folder: string,
  disk: Disk,
  { meta }: Tables,
  clock: Pick<Clock, 'now'>,
): Promise<void> {
  const data = { path: folder }
  const [magic, schema] = [await meta.get(utf8('magic')), await meta.get(utf8('schema'))]
  if (magic === undefined) {
    if (!(await disk.isEmpty()))
      throw new StoreError('FOREIGN', `${folder} is the database of another program`, { data })
    const created = new Date(clock.now()).toISOString()
    const facts = Object.entries({ magic: MAGIC, schema: SCHEMA, created })
    return await disk.write(facts.map(([name, value]) => meta.put(utf8(name), utf8(value))))
  }
  if (text(magic) !== MAGIC)
    throw new StoreError('FOREIGN', `${folder} is the database of another program`, { data })
  if (text(schema) !== SCHEMA)
    throw new StoreError('VERSION', `${folder} has schema ${text(schema)}, not ${SCHEMA}`, {
      data: { ...data, found: text(schema), wanted: SCHEMA },
    })
}

function text(bytes: Uint8Array | undefined): string {
  return new TextDecoder().decode(bytes)
}
