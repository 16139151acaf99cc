/**
 * `pokt-supplier pause` and `resume`: the owner's brake. A running daemon is told and answers when the machine is
 * free; where none runs, the file that the daemon reads is written, so that the next start is paused.
 * Tests: test/cli/pause.ts.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from 'commander'
import { z } from 'zod'
import { BaseError } from '../base/errors.ts'
import { withDeadline } from '../base/retry.ts'
import { type Ms, ms } from '../base/units.ts'
import { duration } from '../config/values.ts'
import { spoken } from '../gpu/reasons.ts'
import { parseSchedule } from '../gpu/schedule.ts'
import { pausesIn } from '../node/watch.ts'
import { OpsError, type PauseWish, tellDaemon } from '../ops/admin.ts'
import { type Context, EXIT_HELP } from './context.ts'
import { CliError } from './errors.ts'
import { flag } from './flags.ts'
import { WallClock } from './gpu-text.ts'
import { type OwnerSettings, ownerSettings } from './owner.ts'

const DAY = 24 * 3_600_000
const DAYS_MAX = 30

/** As other durations, and also whole days: `3d`. */
const pauseFor = z.string().transform((text, context): Ms => {
  const days = Number(/^(\d{1,2})d$/.exec(text)?.[1])
  if (days >= 1 && days <= DAYS_MAX) return ms(days * DAY)
  const read = duration('1s').safeParse(text)
  if (Number.isNaN(days) && read.success) return read.data
  context.addIssue(`write 1s to ${DAYS_MAX}d, such as 90m, 2h or 3d, not "${text}"`)
  return z.NEVER
})

/** `18:00`, or with a day: `mon 18:00`. What comes out is an entry of a schedule that begins then. */
const pauseUntil = z.string().transform((text, context): string => {
  const match = /^(?:([a-z]{3})\s+)?(\d{1,2}):(\d{2})$/i.exec(text.trim())
  const [hour, minute] = [Number(match?.[2]), Number(match?.[3])]
  const end = minute === 59 ? `${hour + 1}:00` : `${hour}:${String(minute + 1).padStart(2, '0')}`
  const entry = `${match?.[1] ?? 'daily'} ${hour}:${match?.[3]}-${end}`
  if (match !== null && isEntry(entry)) return entry
  context.addIssue(`write a time such as 18:00, or with a day "mon 18:00", not "${text}"`)
  return z.NEVER
})

function isEntry(text: string): boolean {
  try {
    parseSchedule([text])
    return true
  } catch {
    return false
  }
}

const note = z.string().min(1, 'write a few words').max(200, 'write at most 200 characters')

interface Options {
  config?: string
  for?: Ms
  until?: string
  note?: string
  json?: boolean
}

/** What tests put in the place of the owner's home. */
interface Seams {
  readonly home?: string
}

export function pauseCommand(context: Context, { home }: Seams = {}): Command {
  return new Command('pause')
    .description('give the machine to its owner now; sessions that were served are still claimed')
    .option('-c, --config <file>', 'the configuration (default: ./supplier.yaml)')
    .option('--for <duration>', 'such as 90m, 2h or 3d; by default until `resume`', flag(pauseFor))
    .option('--until <time>', 'the next 18:00, or "mon 18:00"', flag(pauseUntil))
    .option('--note <text>', 'why, for `gpu` and `status`', flag(note))
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `
It ends when the graphics memory is free: running answers have \`machine.yieldGrace\` to end.
Examples:
  pokt-supplier pause
  pokt-supplier pause --for 2h --note "a film"
  pokt-supplier pause --until 18:00
${EXIT_HELP}`,
    )
    .action(async (options: Options) => {
      const owner = await ownerSettings(context, options.config, home)
      await pause(context, owner, options)
    })
}

export function resumeCommand(context: Context, { home }: Seams = {}): Command {
  return new Command('resume')
    .description('end a pause; it serves as soon as nothing else speaks against it')
    .option('-c, --config <file>', 'the configuration (default: ./supplier.yaml)')
    .option('--json', 'one JSON object instead of text')
    .addHelpText('after', `\nExample:\n  pokt-supplier resume\n${EXIT_HELP}`)
    .action(async (options: Options) => {
      const owner = await ownerSettings(context, options.config, home)
      await resume(context, owner, options)
    })
}

async function pause(context: Context, owner: OwnerSettings, options: Options): Promise<void> {
  if (options.for !== undefined && options.until !== undefined)
    throw new CliError('USAGE', '--for and --until do not go together: name one of them')
  const { clock } = context
  const until = endOf(options, clock.now(), owner.machine.timeZone)
  const wish: PauseWish = {
    ...(until === undefined ? {} : { until }),
    ...(options.note === undefined ? {} : { note: options.note }),
  }
  const told = await tell(context, owner, 'pause', wish)
  // The daemon reads it within a second, even one that does not answer.
  if (told.is !== 'done') {
    await mkdir(owner.dataDir, { recursive: true, mode: 0o700 })
    await pausesIn(owner.dataDir, clock).pause(until, options.note)
  }
  if (told.is === 'failed') throw told.error
  const { tookMs } = told
  const end = endText(until, clock.now(), owner)
  const said =
    told.is === 'done'
      ? `paused ${end}; the machine was free after ${(tookMs / 1_000).toFixed(1)} s`
      : `no daemon runs; the next start is paused ${end}`
  const data = { paused: true, running: told.is === 'done', tookMs, ...wish }
  context.print(options.json === true ? JSON.stringify(data) : said)
}

async function resume(context: Context, owner: OwnerSettings, options: Options): Promise<void> {
  const pauses = pausesIn(owner.dataDir, context.clock)
  const { pause: before } = await pauses.current()
  const told = await tell(context, owner, 'resume', {})
  if (told.is !== 'done') await pauses.resume()
  if (told.is === 'failed') throw told.error
  const isRunning = told.is === 'done'
  const data = { paused: false, running: isRunning, wasPaused: before !== undefined }
  const rest = spoken(owner.machine.resumeAfter)
  const said = isRunning
    ? `resumed; it serves after ${rest} in which nothing else speaks against it (see: pokt-supplier gpu)`
    : `no daemon runs; ${before === undefined ? 'there was no pause' : 'the next start serves'}`
  context.print(options.json === true ? JSON.stringify(data) : said)
}

type Told =
  | { readonly is: 'done' | 'absent'; readonly tookMs: number }
  | { readonly is: 'failed'; readonly error: OpsError }

/** Beside the grace: an engine is ended, and a slow disk is written to. */
const ANSWER_WAIT = ms(30_000)

/** @throws `signal.reason` */
async function tell(
  { clock, signal, say }: Context,
  { dataDir, machine }: OwnerSettings,
  what: 'pause' | 'resume',
  wish: PauseWish,
): Promise<Told> {
  const started = clock.monotonic()
  const over = new AbortController()
  if (what === 'pause') {
    const grace = spoken(machine.yieldGrace)
    clock.sleep(ms(1_000), AbortSignal.any([signal, over.signal])).then(
      () => say(`running answers may take up to ${grace} to end`),
      () => {},
    )
  }
  const limit = ms(machine.yieldGrace + ANSWER_WAIT)
  try {
    const runFile = join(dataDir, 'run.json')
    await withDeadline(clock, limit, signal, (both) => tellDaemon(runFile, what, wish, both))
    return { is: 'done', tookMs: Math.round(clock.monotonic() - started) }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof OpsError && error.code === 'NOT_RUNNING')
      return { is: 'absent', tookMs: 0 }
    if (error instanceof OpsError) return { is: 'failed', error }
    if (!(error instanceof BaseError)) throw error
    const text = `the daemon was told to ${what} and has not answered within ${limit / 1_000} s`
    return { is: 'failed', error: new OpsError('STATUS_UNREADABLE', text, { cause: error }) }
  } finally {
    over.abort('over')
  }
}

/** By `clock.now()`; absent: until it is resumed. */
function endOf(options: Options, now: Ms, zone: string | undefined): Ms | undefined {
  if (options.for !== undefined) return ms(now + options.for)
  if (options.until === undefined) return undefined
  const times = parseSchedule([options.until], zone)
  const change = times.nextChange(now)
  // It is that minute now: then the next one is meant.
  return change !== undefined && times.isOpen(now) ? times.nextChange(change) : change
}

function endText(until: Ms | undefined, now: Ms, { machine }: OwnerSettings): string {
  if (until === undefined) return 'until you resume it'
  return `until ${new WallClock(machine.timeZone).at(until, now)}`
}
